// Package page keeps account of the KV pages of a device: which are free, which hold the KV of a running request, and which
// belong to the prefix cache. Nothing is counted by references: a page has one owner at a time, and free + held + cached is
// always the total. The scheduler takes pages and gives them back; the radix tree keeps some in between.
package page

import "fmt"

// Owner says who may use a page.
type Owner uint8

const (
	Free   Owner = iota // nobody
	Held                // a request, or a step in flight that still reads what a request has left
	Cached              // the radix tree
)

func (o Owner) String() string { return [...]string{"free", "held", "cached"}[o] }

// A Pool knows the owner of each page. Pages are numbers in [0, Total).
type Pool struct {
	owner  []Owner
	free   []int32 // a stack: the page freed last is taken first
	counts [3]int
}

// NewPool returns a pool in which all pages are free.
func NewPool(total int) *Pool {
	p := &Pool{owner: make([]Owner, total), free: make([]int32, total)}
	for i := range p.free {
		p.free[i] = int32(total - 1 - i)
	}
	p.counts[Free] = total
	return p
}

// Total is the number of pages there are.
func (p *Pool) Total() int { return len(p.owner) }

// Count is the number of pages with this owner.
func (p *Pool) Count(o Owner) int { return p.counts[o] }

// Owner returns the owner of a page.
func (p *Pool) Owner(page int32) Owner { return p.owner[page] }

// Take moves a page from Free to Held. It reports false if none is free.
func (p *Pool) Take() (page int32, ok bool) {
	if len(p.free) == 0 {
		return 0, false
	}
	page = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.move(page, Free, Held)
	return page, true
}

// Cache moves a page from Held to Cached.
func (p *Pool) Cache(page int32) { p.move(page, Held, Cached) }

// Release moves a page from Held to Free.
func (p *Pool) Release(page int32) {
	p.move(page, Held, Free)
	p.free = append(p.free, page)
}

// Evict moves a page from Cached to Free.
func (p *Pool) Evict(page int32) {
	p.move(page, Cached, Free)
	p.free = append(p.free, page)
}

// move changes a page's owner. A wrong owner is a bug in the caller that would give one page to two requests, and the
// answers of both would be wrong without a sign; so it panics.
func (p *Pool) move(page int32, from, to Owner) {
	if p.owner[page] != from {
		panic(fmt.Sprintf("page %d is %v, not %v, and cannot become %v", page, p.owner[page], from, to))
	}
	p.owner[page] = to
	p.counts[from]--
	p.counts[to]++
}

// Check recounts everything and returns what does not add up.
func (p *Pool) Check() error {
	var counts [3]int
	for _, o := range p.owner {
		counts[o]++
	}
	if counts != p.counts {
		return fmt.Errorf("pages: counted free, held, cached = %v, on the books %v", counts, p.counts)
	}
	if len(p.free) != counts[Free] {
		return fmt.Errorf("pages: %d are free, the free list has %d", counts[Free], len(p.free))
	}
	seen := make(map[int32]bool, len(p.free))
	for _, page := range p.free {
		if p.owner[page] != Free || seen[page] {
			return fmt.Errorf("pages: the free list has page %d, which is %v (listed before: %v)", page, p.owner[page], seen[page])
		}
		seen[page] = true
	}
	return nil
}

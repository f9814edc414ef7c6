package radix

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"minisgl/scheduler/page"
)

// take returns n pages of the pool.
func take(t testing.TB, pool *page.Pool, n int) []int32 {
	t.Helper()
	pages := make([]int32, n)
	for i := range pages {
		p, ok := pool.Take()
		if !ok {
			t.Fatal("no page left")
		}
		pages[i] = p
	}
	return pages
}

func TestMatchIsToTheToken(t *testing.T) {
	pool := page.NewPool(16)
	tree := New(4, pool)
	tree.Insert([]int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, take(t, pool, 3), nil) // pages 0, 1, 2
	tree.Insert([]int32{1, 2, 3, 4, 5, 6, 0, 0}, take(t, pool, 2), nil)                // page 4 behind page 0; 3 is a duplicate
	for _, c := range []struct {
		name   string
		tokens []int32
		want   int
		pages  []int32
		tail   int32 // -1: none
	}{
		{"nothing", []int32{7, 7}, 0, nil, -1},
		{"no tokens", nil, 0, nil, -1},
		{"one token", []int32{1, 9}, 1, nil, 0},
		{"a page", []int32{1, 2, 3, 4, 9}, 4, []int32{0}, -1},
		{"all", []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 12, []int32{0, 1, 2}, -1},
		{"ends inside the last page", []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 11, []int32{0, 1}, 2},
		{"parts inside a page", []int32{1, 2, 3, 4, 5, 6, 7, 0, 0}, 7, []int32{0}, 1},
		{"the other child is nearer", []int32{1, 2, 3, 4, 5, 6, 0, 1}, 7, []int32{0}, 4},
		{"both children are as near", []int32{1, 2, 3, 4, 5, 6}, 6, []int32{0}, -2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tree.Prefix(c.tokens); got != c.want {
				t.Errorf("Prefix is %d, want %d", got, c.want)
			}
			m, pages := tree.Match(c.tokens, nil)
			if m.Tokens != c.want || !slices.Equal(pages, c.pages) {
				t.Errorf("matched %d tokens, pages %v; want %d, %v", m.Tokens, pages, c.want, c.pages)
			}
			switch {
			case (m.Tail != nil) != (c.tail != -1):
				t.Errorf("tail is %v, want page %d", m.Tail, c.tail)
			case c.tail >= 0 && m.TailPage != c.tail:
				t.Errorf("tail is on page %d, want %d", m.TailPage, c.tail)
			}
			if err := tree.Check(map[*Node]int{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInsertReplacesDuplicates(t *testing.T) {
	pool := page.NewPool(8)
	tree := New(2, pool)
	tree.Insert([]int32{1, 2, 3, 4}, take(t, pool, 2), nil)
	pages := take(t, pool, 3)
	_, duplicates := tree.Insert([]int32{1, 2, 3, 4, 5, 6}, pages, nil)
	if !slices.Equal(pages, []int32{0, 1, 4}) || !slices.Equal(duplicates, []int32{2, 3}) {
		t.Errorf("pages %v, duplicates %v; want [0 1 4], [2 3]", pages, duplicates)
	}
	if got := pool.Count(page.Cached); got != 3 {
		t.Errorf("%d pages are cached, want 3", got)
	}
}

func TestLockCountsTheNodeAndItsAncestors(t *testing.T) {
	pool := page.NewPool(8)
	tree := New(2, pool)
	tree.Insert([]int32{1, 2}, take(t, pool, 1), nil)
	lower, _ := tree.Insert([]int32{1, 2, 3, 4, 5, 6}, append([]int32{0}, take(t, pool, 2)...), nil)
	tree.Insert([]int32{9, 9}, take(t, pool, 1), nil)
	tree.Lock(lower)
	if tree.Protected() != 3 || tree.Evictable() != 1 {
		t.Errorf("protected %d, evictable %d; want 3 and 1", tree.Protected(), tree.Evictable())
	}
	tree.Match([]int32{1, 2, 3, 4}, nil) // splits the locked node
	if got := tree.Evict(8); got != 1 {
		t.Errorf("evicted %d pages, want only the unlocked one", got)
	}
	if err := tree.Check(map[*Node]int{lower: 1}); err != nil {
		t.Error(err)
	}
	tree.Unlock(lower)
	if got := tree.Evict(8); got != 3 || pool.Count(page.Free) != 8 {
		t.Errorf("evicted %d pages, %d are free; want 3 and 8", got, pool.Count(page.Free))
	}
}

func TestEvictionOrder(t *testing.T) {
	pool := page.NewPool(8)
	tree := New(1, pool)
	tree.Insert([]int32{1, 2, 3}, take(t, pool, 3), nil)
	tree.Insert([]int32{4, 5}, take(t, pool, 2), nil)
	tree.Insert([]int32{6}, take(t, pool, 1), nil)
	tree.Match([]int32{1, 2}, nil) // node 3 is now the oldest, then 4-5, 6, and 1-2
	var order []string
	for _, tokens := range [][]int32{{1, 2, 3}, {4, 5}, {4}, {6}, {1, 2}, {1}} {
		if got := tree.Prefix(tokens); got != len(tokens) {
			t.Errorf("%v went too early, at %v", tokens, order)
		}
		tree.Evict(1)
		if got := tree.Prefix(tokens); got != len(tokens)-1 {
			t.Errorf("after %v: %d of %v are left", order, got, tokens)
		}
		order = append(order, fmt.Sprint(tokens))
	}
}

// TestAgainstModel compares the tree with a map from prefixes to pages under random operations.
func TestAgainstModel(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 0))
		size := []int{1, 2, 3, 16}[rng.IntN(4)]
		pool := page.NewPool(40)
		tree := New(size, pool)
		model := map[string]int32{} // prefix of whole pages → its last page
		key := func(tokens []int32) string { return fmt.Sprint(tokens) }
		locks := map[*Node]int{}
		var held []*Node
		var inserted [][]int32
		sequence := func() []int32 {
			var tokens []int32
			if len(inserted) > 0 && rng.IntN(3) > 0 {
				tokens = inserted[rng.IntN(len(inserted))]
				tokens = slices.Clone(tokens[:rng.IntN(len(tokens)+1)])
			}
			for range rng.IntN(3 * size) {
				tokens = append(tokens, int32(rng.IntN(3)))
			}
			return tokens
		}
		for op := range 300 {
			fail := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("seed %d, operation %d: %s", seed, op, fmt.Sprintf(format, args...))
			}
			switch rng.IntN(5) {
			case 0, 1:
				tokens := sequence()
				n := len(tokens) / size
				if n > pool.Count(page.Free) {
					break
				}
				tokens = tokens[:n*size]
				pages := take(t, pool, n)
				_, duplicates := tree.Insert(tokens, pages, nil)
				for _, p := range duplicates {
					pool.Release(p)
				}
				for i, p := range pages {
					k := key(tokens[:(i+1)*size])
					if have, ok := model[k]; ok && have != p {
						fail("prefix %v has page %d, Insert says %d", k, have, p)
					}
					model[k] = p
				}
				inserted = append(inserted, tokens)
			case 2:
				tokens := sequence()
				want := 0
				for _, other := range inserted {
					for cut := size; cut <= len(other); cut += size {
						if _, ok := model[key(other[:cut])]; ok {
							want = max(want, CommonPrefix(tokens, other[:cut]))
						}
					}
				}
				m, pages := tree.Match(tokens, nil)
				if m.Tokens != want || len(pages) != want/size || (m.Tail != nil) != (want%size > 0) {
					fail("Match(%v) = %d tokens, pages %v, tail %v; want %d", tokens, m.Tokens, pages, m.Tail, want)
				}
				for i, p := range pages {
					if model[key(tokens[:(i+1)*size])] != p {
						fail("Match(%v): page %d is %d", tokens, i, p)
					}
				}
				if rng.IntN(2) == 0 {
					tree.Lock(m.Node)
					locks[m.Node]++
					held = append(held, m.Node)
				}
			case 3:
				if len(held) > 0 {
					i := rng.IntN(len(held))
					tree.Unlock(held[i])
					locks[held[i]]--
					held = slices.Delete(held, i, i+1)
				}
			case 4:
				want := rng.IntN(6)
				evictable := tree.Evictable()
				if got := tree.Evict(want); got != min(want, evictable) {
					fail("evicted %d of %d, evictable were %d", got, want, evictable)
				}
				for k, p := range model {
					if pool.Owner(p) == page.Free {
						delete(model, k)
					}
				}
			}
			nodes := map[*Node]int{}
			for n, k := range locks {
				if k > 0 {
					nodes[n] = k
				}
			}
			if err := tree.Check(nodes); err != nil {
				fail("%v", err)
			}
			if len(model) != pool.Count(page.Cached) {
				fail("%d prefixes, %d pages in the tree", len(model), pool.Count(page.Cached))
			}
		}
	}
}

// grown returns a tree with n leaves of two pages: all below one node, or in groups with a common prefix.
func grown(b *testing.B, n, group int) (*Tree, func(i int) []int32) {
	const size = 16
	pool := page.NewPool(4 * n)
	tree := New(size, pool)
	tokens := func(i int) []int32 {
		list := make([]int32, 3*size)
		list[size-1] = int32(i / group)
		list[2*size-1] = int32(i * 7919 % 100_003)
		return list
	}
	for i := range n {
		_, duplicates := tree.Insert(tokens(i), take(b, pool, 3), nil)
		for _, p := range duplicates {
			pool.Release(p)
		}
	}
	return tree, tokens
}

// BenchmarkEvict evicts a leaf of a tree with 50,000 leaves and inserts another.
func BenchmarkEvict(b *testing.B) {
	for _, group := range []int{1, 100, 50_000} {
		b.Run(fmt.Sprintf("50000 leaves, %d a parent", group), func(b *testing.B) {
			const leaves = 50_000
			tree, tokens := grown(b, leaves, group)
			next := leaves
			b.ResetTimer()
			for range b.N {
				if len(tree.leaves) < leaves*9/10 {
					b.StopTimer()
					for len(tree.leaves) < leaves {
						_, duplicates := tree.Insert(tokens(next), take(b, tree.pool, 3), nil)
						for _, p := range duplicates {
							tree.pool.Release(p)
						}
						next++
					}
					b.StartTimer()
				}
				tree.Evict(2)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	tree, tokens := grown(b, 50_000, 50_000)
	var list [64][]int32
	for i := range list {
		list[i] = tokens(i * 701)
	}
	pages := make([]int32, 0, 8)
	for i := 0; b.Loop(); i++ {
		if m, _ := tree.Match(list[i%len(list)], pages[:0]); m.Tokens != 48 {
			b.Fatal("no match")
		}
	}
}

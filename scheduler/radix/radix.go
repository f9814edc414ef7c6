// Package radix is the prefix cache: a tree over token sequences whose edges carry the KV pages of their tokens. The scheduler
// matches a prompt against it before it computes anything, and gives it the pages of what has been computed.
//
// A node holds whole pages only: pages and, for each of them, pageSize tokens. So nodes are split at page borders, and what
// a request shares with the tree are pages that nobody writes. Two children of a node may begin with the same tokens as long
// as their first pages differ somewhere; they stand in the order of their tokens (a treap), and a search for a prompt passes by both of
// its neighbours in that order, one of which shares the most tokens with it. That is how a match is found to the token:
// where it ends inside a page, Match names that page, and the scheduler copies the tail.
//
// A node that is locked, directly or through a descendant, is protected; all others are evictable. Evictable leaves stand in a heap
// by last use. A protected node's ancestors are protected, so evicting leaves from the heap, each of which may make its
// parent a leaf, reaches every evictable page.
package radix

import (
	"container/heap"
	"fmt"
	"slices"

	"minisgl/scheduler/page"
)

// A Tree maps token sequences to pages. It owns the pages it holds: in the pool they are page.Cached.
type Tree struct {
	pageSize  int
	pool      *page.Pool
	root      Node
	leaves    leaves // the evictable ones
	clock     uint64 // counts uses
	ranks     uint32
	protected int // pages
	evictions uint64
}

// A Node stands for the tokens on the way from the root to it, itself included. Holding one is safe only while it is
// locked.
type Node struct {
	parent *Node
	tokens []int32 // len(pages)·pageSize of them
	pages  []int32
	locks  int // requests and steps that have locked this node or one below it

	children    *Node // root of their treap
	left, right *Node // in the parent's treap, ordered by tokens
	rank        uint32

	used uint64 // the clock when it was last matched, inserted or unlocked
	leaf int    // index in Tree.leaves, or -1
}

// New returns an empty tree.
func New(pageSize int, pool *page.Pool) *Tree {
	t := &Tree{pageSize: pageSize, pool: pool}
	t.root.leaf = -1
	return t
}

// Protected is the number of pages that locks keep in the tree.
func (t *Tree) Protected() int { return t.protected }

// Evictable is the number of pages that Evict could free.
func (t *Tree) Evictable() int { return t.pool.Count(page.Cached) - t.protected }

// Evictions is the number of pages evicted since the start.
func (t *Tree) Evictions() uint64 { return t.evictions }

// A Match is the longest prefix of a sequence that the tree has.
type Match struct {
	Node   *Node // its path holds the whole pages of the match
	Tokens int   // length of the match

	// Tail is nil if the match ends at a page border. Else it is a node whose page TailPage holds the rest: the KV of the match's last
	// Tokens mod pageSize tokens, in front. Who copies it keeps Tail locked until that is done.
	Tail     *Node
	TailPage int32
}

// Match finds the longest prefix and appends its whole pages to pages.
func (t *Tree) Match(tokens, pages []int32) (Match, []int32) {
	n, rest := &t.root, tokens
	var m Match
	for len(rest) > 0 {
		child, common := t.nearest(n, rest)
		if common == 0 {
			break
		}
		whole := common / t.pageSize
		if whole < len(child.pages) {
			if common%t.pageSize > 0 {
				m.Tail, m.TailPage = child, child.pages[whole]
			}
			if whole > 0 {
				n = t.split(child, whole)
				pages = append(pages, n.pages...)
			}
			rest = rest[common:]
			break
		}
		n, rest = child, rest[common:]
		pages = append(pages, n.pages...)
	}
	m.Node, m.Tokens = n, len(tokens)-len(rest)
	t.touch(n)
	if m.Tail != nil {
		t.touch(m.Tail)
	}
	return m, pages
}

// Prefix is the length of the longest prefix that the tree has. Unlike Match it leaves the tree as it is.
func (t *Tree) Prefix(tokens []int32) int {
	n, rest := &t.root, tokens
	for len(rest) > 0 {
		child, common := t.nearest(n, rest)
		rest = rest[common:]
		if child == nil || common < len(child.tokens) {
			break
		}
		n = child
	}
	return len(tokens) - len(rest)
}

// Insert adds a sequence of whole pages and returns its node. The tree takes over the pages it lacks. Where it has a page for
// the same tokens already, that one replaces the caller's in pages, and the caller's is appended to duplicates.
func (t *Tree) Insert(tokens, pages, duplicates []int32) (*Node, []int32) {
	n := &t.root
	for len(pages) > 0 {
		child, common := t.nearest(n, tokens)
		whole := common / t.pageSize
		if whole == 0 {
			n = t.grow(n, tokens, pages)
			break
		}
		if whole < len(child.pages) {
			child = t.split(child, whole)
		}
		for i, have := range child.pages {
			if pages[i] != have {
				duplicates = append(duplicates, pages[i])
				pages[i] = have
			}
		}
		n, tokens, pages = child, tokens[len(child.tokens):], pages[whole:]
	}
	t.touch(n)
	return n, duplicates
}

// Lock protects a node and its ancestors from eviction. Each Lock needs an Unlock.
func (t *Tree) Lock(n *Node) {
	for ; n.parent != nil; n = n.parent {
		if n.locks == 0 {
			t.protected += len(n.pages)
			t.dropLeaf(n)
		}
		n.locks++
	}
}

// Unlock takes back a Lock.
func (t *Tree) Unlock(n *Node) {
	t.touch(n)
	for ; n.parent != nil; n = n.parent {
		if n.locks--; n.locks == 0 {
			t.protected -= len(n.pages)
			t.addLeaf(n)
		}
	}
}

// Evict frees up to want pages, those of the least recently used leaves first and of a leaf the last first. It returns how
// many it freed.
func (t *Tree) Evict(want int) (freed int) {
	for freed < want && len(t.leaves) > 0 {
		n := t.leaves[0]
		keep := max(0, len(n.pages)-(want-freed))
		for _, p := range n.pages[keep:] {
			t.pool.Evict(p)
		}
		freed += len(n.pages) - keep
		if keep == 0 {
			t.dropLeaf(n)
			link := t.link(n)
			*link = merge(n.left, n.right)
			t.addLeaf(n.parent)
		}
		n.pages, n.tokens = n.pages[:keep], n.tokens[:keep*t.pageSize]
	}
	t.evictions += uint64(freed)
	return freed
}

// nearest returns the child of n that has the most leading tokens in common with key, and how many.
func (t *Tree) nearest(n *Node, key []int32) (best *Node, common int) {
	for c := n.children; c != nil; {
		k := CommonPrefix(c.tokens[:t.pageSize], key)
		if k > common {
			best, common = c, k
		}
		switch {
		case k == t.pageSize:
			return c, k + CommonPrefix(c.tokens[k:], key[k:])
		case k == len(key):
			return best, common
		case key[k] < c.tokens[k]:
			c = c.left
		default:
			c = c.right
		}
	}
	return best, common
}

// grow hangs a new leaf under n.
func (t *Tree) grow(n *Node, tokens, pages []int32) *Node {
	t.ranks = t.ranks*1664525 + 1013904223 // Numerical Recipes' generator: a treap wants its ranks in no order
	child := &Node{parent: n, tokens: slices.Clone(tokens), pages: slices.Clone(pages), rank: t.ranks, leaf: -1}
	for _, p := range pages {
		t.pool.Cache(p)
	}
	t.dropLeaf(n)
	left, right := t.cut(n.children, tokens[:t.pageSize])
	n.children = merge(merge(left, child), right)
	t.addLeaf(child)
	return child
}

// split cuts a node in two behind its first pages and returns the new upper part. The lower one keeps its identity: whoever has
// locked it has now locked both.
func (t *Tree) split(n *Node, pages int) *Node {
	link, tokens := t.link(n), pages*t.pageSize
	upper := &Node{parent: n.parent, tokens: n.tokens[:tokens:tokens], pages: n.pages[:pages:pages], locks: n.locks,
		children: n, left: n.left, right: n.right, rank: n.rank, used: n.used, leaf: -1}
	*link = upper
	n.parent, n.tokens, n.pages, n.left, n.right = upper, n.tokens[tokens:], n.pages[pages:], nil, nil
	return upper
}

// touch makes a node and its ancestors the most recently used.
func (t *Tree) touch(n *Node) {
	t.clock++
	for ; n.parent != nil; n = n.parent {
		n.used = t.clock
		if n.leaf >= 0 {
			heap.Fix(&t.leaves, n.leaf)
		}
	}
}

func (t *Tree) addLeaf(n *Node) {
	if n.parent != nil && n.locks == 0 && n.children == nil {
		heap.Push(&t.leaves, n)
	}
}

func (t *Tree) dropLeaf(n *Node) {
	if n.leaf >= 0 {
		heap.Remove(&t.leaves, n.leaf)
	}
}

// leaves is a heap by last use.
type leaves []*Node

func (l leaves) Len() int           { return len(l) }
func (l leaves) Less(i, j int) bool { return l[i].used < l[j].used }
func (l leaves) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].leaf, l[j].leaf = i, j
}

func (l *leaves) Push(x any) {
	n := x.(*Node)
	n.leaf = len(*l)
	*l = append(*l, n)
}

func (l *leaves) Pop() any {
	last := len(*l) - 1
	n := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	n.leaf = -1
	return n
}

// Check walks the tree and returns what does not add up. locks has how often each node should be locked directly.
func (t *Tree) Check(locks map[*Node]int) error {
	cached, protected, evictable, met := 0, 0, 0, 0
	var visit func(n *Node) (int, error)
	visit = func(n *Node) (int, error) {
		below := locks[n]
		if locks[n] > 0 {
			met++
		}
		var last *Node
		err := inOrder(n.children, func(c *Node) error {
			if c.parent != n || len(c.pages) == 0 || len(c.tokens) != len(c.pages)*t.pageSize {
				return fmt.Errorf("radix: node %v: %d tokens, %d pages of %d", c.tokens, len(c.tokens), len(c.pages), t.pageSize)
			}
			if last != nil && slices.Compare(last.tokens[:t.pageSize], c.tokens[:t.pageSize]) >= 0 {
				return fmt.Errorf("radix: children %v and %v are out of order", last.tokens, c.tokens)
			}
			last = c
			for _, p := range c.pages {
				if t.pool.Owner(p) != page.Cached {
					return fmt.Errorf("radix: page %d in the tree is %v", p, t.pool.Owner(p))
				}
			}
			k, err := visit(c)
			below += k
			return err
		})
		if err != nil || n == &t.root {
			return below, err
		}
		cached += len(n.pages)
		if n.locks != below {
			return 0, fmt.Errorf("radix: node %v has %d locks, its holders and children %d", n.tokens, n.locks, below)
		}
		if n.locks > 0 {
			protected += len(n.pages)
		}
		if leaf := n.locks == 0 && n.children == nil; leaf != (n.leaf >= 0) {
			return 0, fmt.Errorf("radix: node %v: evictable leaf is %v, in the heap %v", n.tokens, leaf, n.leaf >= 0)
		} else if leaf {
			evictable++
		}
		return below, nil
	}
	if _, err := visit(&t.root); err != nil {
		return err
	}
	delete(locks, &t.root)
	switch {
	case cached != t.pool.Count(page.Cached):
		return fmt.Errorf("radix: %d pages in the tree, the pool says %d", cached, t.pool.Count(page.Cached))
	case protected != t.protected:
		return fmt.Errorf("radix: %d pages are protected, on the books %d", protected, t.protected)
	case evictable != len(t.leaves):
		return fmt.Errorf("radix: %d evictable leaves, %d in the heap", evictable, len(t.leaves))
	}
	return nil
}

package radix

import "slices"

// The children of a node form a treap (Seidel and Aragon 1996): a search tree by tokens, a heap by random rank, and so of
// logarithmic depth whatever order the children come in.

// link returns the pointer in the parent's treap that leads to n.
func (t *Tree) link(n *Node) **Node {
	at := &n.parent.children
	for *at != n {
		if slices.Compare(n.tokens[:t.pageSize], (*at).tokens[:t.pageSize]) < 0 {
			at = &(*at).left
		} else {
			at = &(*at).right
		}
	}
	return at
}

// cut parts a treap into the nodes before key and the others.
func (t *Tree) cut(n *Node, key []int32) (before, behind *Node) {
	switch {
	case n == nil:
		return nil, nil
	case slices.Compare(n.tokens[:t.pageSize], key) < 0:
		n.right, behind = t.cut(n.right, key)
		return n, behind
	default:
		before, n.left = t.cut(n.left, key)
		return before, n
	}
}

// merge joins two treaps; all of a comes before all of b.
func merge(a, b *Node) *Node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.rank > b.rank:
		a.right = merge(a.right, b)
		return a
	default:
		b.left = merge(a, b.left)
		return b
	}
}

func inOrder(n *Node, f func(*Node) error) error {
	if n == nil {
		return nil
	}
	if err := inOrder(n.left, f); err != nil {
		return err
	}
	if err := f(n); err != nil {
		return err
	}
	return inOrder(n.right, f)
}

// CommonPrefix is the number of leading tokens that a and b share.
func CommonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

package tokenizer

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"sync/atomic"
)

// bpe merges a word's bytes into tokens: again and again the adjacent pair of lowest rank, the leftmost of equals.
type bpe struct {
	ofByte [256]int32 // -1: the vocabulary lacks that byte, and it is left out
	unk    int32      // stands for such bytes if it is not -1,
	fuse   bool       // once for a run of them
	pairs  pairTable
	words  map[string]int32 // tokens that a word is looked up in before it is merged (ignore_merges); nil: none

	seed  maphash.Seed
	cache []atomic.Pointer[cachedWord] // by hash; a newer word takes an older one's place
}

type cachedWord struct {
	word string
	ids  []int32
}

const (
	cacheSize     = 1 << 14
	longestCached = 40 // bytes of a word
)

func newBPE(v *vocabulary, merges int) bpe {
	b := bpe{unk: -1, pairs: newPairTable(merges), seed: maphash.MakeSeed(), cache: make([]atomic.Pointer[cachedWord], cacheSize)}
	for c := range b.ofByte {
		b.ofByte[c] = -1
		if id, ok := v.byBytes[string([]byte{byte(c)})]; ok {
			b.ofByte[c] = id
		}
	}
	return b
}

// append adds a word's ids to dst.
func (b *bpe) append(dst []int32, word string, s *scratch) []int32 {
	if len(word) > longestCached {
		return b.merge(dst, word, s)
	}
	slot := &b.cache[maphash.String(b.seed, word)%cacheSize]
	if hit := slot.Load(); hit != nil && hit.word == word {
		return append(dst, hit.ids...)
	}
	from := len(dst)
	dst = b.merge(dst, word, s)
	slot.Store(&cachedWord{strings.Clone(word), append([]int32(nil), dst[from:]...)})
	return dst
}

// A scratch is what merge works in. Encodes take turns with them.
type scratch struct {
	symbols []symbol
	heap    minHeap
}

// A symbol is a token of the word that is being merged, in a doubly linked list.
type symbol struct {
	id         int32
	prev, next int32 // -1 at the ends
	rank       uint32
	merged     int32 // what it becomes together with next, at that rank
}

const keptSymbols = 1 << 17

func (b *bpe) merge(dst []int32, word string, s *scratch) []int32 {
	if id, ok := b.words[word]; ok {
		return append(dst, id)
	}
	symbols, heap := b.symbols(s.symbols[:0], word), s.heap[:0]
	for i := range symbols {
		if b.link(symbols, int32(i)) {
			heap = append(heap, symbols[i].key(int32(i)))
		}
	}
	heap.init()
	for len(heap) > 0 {
		key := heap.pop()
		i := int32(uint32(key))
		left := &symbols[i]
		if left.key(i) != key { // a neighbour was merged since
			continue
		}
		right := &symbols[left.next]
		left.id, left.next = left.merged, right.next
		right.rank = noRank
		if left.next >= 0 {
			symbols[left.next].prev = i
		}
		if b.link(symbols, i) {
			heap.push(left.key(i))
		}
		if before := left.prev; before >= 0 && b.link(symbols, before) {
			heap.push(symbols[before].key(before))
		}
	}
	if len(symbols) > 0 {
		for i := int32(0); i >= 0; i = symbols[i].next {
			dst = append(dst, symbols[i].id)
		}
	}
	if len(symbols) <= keptSymbols {
		s.symbols, s.heap = symbols, heap
	}
	return dst
}

func (b *bpe) symbols(symbols []symbol, word string) []symbol {
	fused := false
	for i := 0; i < len(word); i++ {
		id := b.ofByte[word[i]]
		unknown := id < 0
		if unknown {
			if id = b.unk; id < 0 || fused && b.fuse {
				continue
			}
		}
		fused = unknown
		n := int32(len(symbols))
		symbols = append(symbols, symbol{id: id, prev: n - 1, next: n + 1})
	}
	if n := len(symbols); n > 0 {
		symbols[n-1].next = -1
	}
	return symbols
}

// link notes what symbol i and its next one merge to, and reports whether they do.
func (b *bpe) link(symbols []symbol, i int32) bool {
	s := &symbols[i]
	s.rank = noRank
	if s.next >= 0 {
		s.rank, s.merged = b.pairs.get(s.id, symbols[s.next].id)
	}
	return s.rank != noRank
}

// key orders merges by rank, then by place.
func (s *symbol) key(i int32) uint64 { return uint64(s.rank)<<32 | uint64(uint32(i)) }

// A minHeap is a binary heap; container/heap would box every key.
type minHeap []uint64

func (h minHeap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *minHeap) push(key uint64) {
	*h = append(*h, key)
	for i := len(*h) - 1; i > 0; {
		parent := (i - 1) / 2
		if (*h)[parent] <= key {
			break
		}
		(*h)[i], (*h)[parent] = (*h)[parent], key
		i = parent
	}
}

func (h *minHeap) pop() uint64 {
	least, last := (*h)[0], len(*h)-1
	(*h)[0] = (*h)[last]
	*h = (*h)[:last]
	h.down(0)
	return least
}

func (h minHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

const noRank = ^uint32(0)

// A pairTable maps two tokens to the one that they merge to and the rank of that merge: open addressing, at most half full.
type pairTable struct {
	slots []pairSlot
	shift int
}

type pairSlot struct {
	key    uint64 // the pair plus one; 0: free
	rank   uint32
	merged int32
}

func newPairTable(n int) pairTable {
	log := bits.Len(uint(2*n + 1))
	return pairTable{slots: make([]pairSlot, 1<<log), shift: 64 - log}
}

func (t *pairTable) slot(a, b int32) (*pairSlot, uint64) {
	key := uint64(uint32(a))<<32 + uint64(uint32(b)) + 1
	i := key * 0x9E3779B97F4A7C15 >> t.shift
	for t.slots[i].key != key && t.slots[i].key != 0 {
		i = (i + 1) % uint64(len(t.slots))
	}
	return &t.slots[i], key
}

// put overwrites an earlier merge of the same pair, as Hugging Face's map does.
func (t *pairTable) put(a, b, merged int32, rank uint32) {
	slot, key := t.slot(a, b)
	*slot = pairSlot{key, rank, merged}
}

func (t *pairTable) get(a, b int32) (rank uint32, merged int32) {
	slot, _ := t.slot(a, b)
	if slot.key == 0 {
		return noRank, 0
	}
	return slot.rank, slot.merged
}

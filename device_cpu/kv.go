package cpu

import (
	"math"

	"minisgl/device"
	"minisgl/tensor"
)

// keyTile is the number of positions of a block.
const keyTile = 16

// int8Group is the number of elements of a key or value that share a scale in a cache of int8.
const int8Group = 32

// kvTypes are the types that the cache can have, the default first. int8 is symmetric: an element is its byte times its group's scale, which
// is the group's largest magnitude over 127.
var kvTypes = []tensor.DType{tensor.BF16, tensor.F32, tensor.I8}

// A kvCache holds keys and values in pages, a page's layers one behind the other, so that memory of pages never used is never
// touched, and a layer's heads. There, positions lie in blocks of 16 where the page size is a multiple of 16, else of 1. In a
// block of n positions come the keys, then the values in panels of 32 of a head's elements:
//
//	            a block's keys                          a panel of its values
//	float32     (headDim, n)                            (n, 32)
//	bfloat16    (headDim/2, n, 2)                       (n, 32), elements j and j+16 side by side (bf16Place)
//	int8        for each group of 32 elements:          scales (n) in float32, (n, 32)
//	            scales (n) in float32, (32, n)
//
// Kernels read blocks of 16. Pages of other sizes are gathered into such blocks, which costs a transposition.
type kvCache struct {
	dtype    tensor.DType
	data     []byte
	pageSize int
	pages    int
	layers   int
	heads    int
	headDim  int
	lanes    int // positions of a block: 16 or 1
	panels   int // of a head's values, the last one filled up with zeros
	// broken stands for the key and the value of a position whose value is not finite: NaN and 0. Whoever sees the position
	// becomes NaN by its key; whoever does not may multiply its value by 0.
	broken []float32

	stored blockLayout // of blocks of as many positions as lanes
	read   blockLayout // of blocks of 16
}

// A blockLayout says where things are in a block, in bytes.
type blockLayout struct {
	lanes  int
	values int // where the values begin
	panel  int // bytes of a panel
	bytes  int
}

// int8GroupBytes is the room of 32 elements of n positions and their scales.
func int8GroupBytes(n int) int { return (4 + int8Group) * n }

func (c *kvCache) layout(lanes int) blockLayout {
	l := blockLayout{lanes: lanes}
	switch c.dtype {
	case tensor.F32:
		l.values, l.panel = 4*c.headDim*lanes, 4*panelWidth*lanes
	case tensor.BF16:
		l.values, l.panel = 2*c.headDim*lanes, 2*panelWidth*lanes
	case tensor.I8:
		l.values, l.panel = ceil(c.headDim, int8Group)*int8GroupBytes(lanes), int8GroupBytes(lanes)
	}
	if lanes == keyTile {
		l.values = roundUp(l.values, cacheLine)
	}
	l.bytes = l.values + c.panels*l.panel
	return l
}

func newKVCache(p *device.Program, dtype tensor.DType, pageSize, pages int) *kvCache {
	c := &kvCache{dtype: dtype, pageSize: pageSize, pages: pages, layers: p.Layers, heads: p.KVHeads, headDim: p.HeadDim,
		lanes: 1, panels: ceil(p.HeadDim, panelWidth), broken: make([]float32, 2*p.HeadDim)}
	for i := range p.HeadDim {
		c.broken[i] = float32(math.NaN())
	}
	if pageSize%keyTile == 0 {
		c.lanes = keyTile
	}
	c.stored, c.read = c.layout(c.lanes), c.layout(keyTile)
	return c
}

// headBytes is the memory of a page's positions of one layer and head.
func (c *kvCache) headBytes() int { return c.pageSize / c.lanes * c.stored.bytes }

// pageBytes is the memory of one page.
func (c *kvCache) pageBytes() int64 {
	return int64(c.layers*c.heads) * int64(roundUp(c.headBytes(), cacheLine))
}

// head returns the blocks of a page, layer and head.
func (c *kvCache) head(page int32, layer, head int) []byte {
	room := roundUp(c.headBytes(), cacheLine)
	return c.data[((int(page)*c.layers+layer)*c.heads+head)*room:][:room]
}

// store writes a position's key and value.
func (c *kvCache) store(page int32, offset, layer, head int, key, value []float32) {
	block := &c.head(page, layer, head)[offset/c.lanes*c.stored.bytes]
	key, value = key[:c.headDim], value[:c.headDim]
	if c.dtype == tensor.BF16 && !finiteBF16(value) {
		key, value = c.broken[:c.headDim], c.broken[c.headDim:]
	}
	c.storeKey(block, offset%c.lanes, key[:c.headDim])
	for panel := range c.panels {
		first := panel * panelWidth
		c.storeValue(block, c.stored.values+panel*c.stored.panel, offset%c.lanes, value[first:min(first+panelWidth, c.headDim)])
	}
}

// storeRounded writes a position's key and value to a cache of bfloat16.
func (c *kvCache) storeRounded(page int32, offset, layer, head int, key, value []uint16) {
	block := &c.head(page, layer, head)[offset/c.lanes*c.stored.bytes]
	n, lane := c.lanes, offset%c.lanes
	keys := elements[uint32](block, 4*lane, len(key)/2*n-lane)
	for i := range len(key) / 2 {
		keys[i*n] = uint32(key[2*i]) | uint32(key[2*i+1])<<16
	}
	for panel := range c.panels {
		out := elements[uint16](block, c.stored.values+panel*c.stored.panel, panelWidth*n)[lane*panelWidth:][:panelWidth]
		for j, v := range value[panel*panelWidth : min((panel+1)*panelWidth, len(value))] {
			out[bf16Place(j)] = v
		}
	}
}

func (c *kvCache) storeKey(block *byte, lane int, key []float32) {
	n := c.lanes
	switch c.dtype {
	case tensor.F32:
		out := elements[float32](block, 0, len(key)*n)
		for d, v := range key {
			out[d*n+lane] = v
		}
	case tensor.BF16:
		out := elements[uint32](block, 0, len(key)/2*n)
		for i := range len(key) / 2 {
			out[i*n+lane] = uint32(tensor.Float32ToBF16(key[2*i])) | uint32(tensor.Float32ToBF16(key[2*i+1]))<<16
		}
	case tensor.I8:
		for group := 0; group*int8Group < len(key); group++ {
			elementsOfGroup := key[group*int8Group : min((group+1)*int8Group, len(key))]
			at := group * int8GroupBytes(n)
			scale, inverse := int8Scale(elementsOfGroup)
			elements[float32](block, at, n)[lane] = scale
			out := elements[int8](block, at+4*n, len(elementsOfGroup)*n)
			for d, v := range elementsOfGroup {
				out[d*n+lane] = roundInt8(v * inverse)
			}
		}
	}
}

func (c *kvCache) storeValue(block *byte, at, lane int, value []float32) {
	n := c.lanes
	switch c.dtype {
	case tensor.F32:
		copy(elements[float32](block, at, panelWidth*n)[lane*panelWidth:], value)
	case tensor.BF16:
		out := elements[uint16](block, at, panelWidth*n)[lane*panelWidth:]
		for j, v := range value {
			out[bf16Place(j)] = tensor.Float32ToBF16(v)
		}
	case tensor.I8:
		scale, inverse := int8Scale(value)
		elements[float32](block, at, n)[lane] = scale
		out := elements[int8](block, at+4*n, panelWidth*n)[lane*panelWidth:]
		for j, v := range value {
			out[j] = roundInt8(v * inverse)
		}
	}
}

// finiteBF16 reports whether values are finite as bfloat16 numbers.
func finiteBF16(values []float32) bool {
	for _, v := range values {
		const exponent = 0x7f80
		if tensor.Float32ToBF16(v)&exponent == exponent {
			return false
		}
	}
	return true
}

// int8Scale is the scale of a group and its inverse. A value that is not finite makes the scale one, and the group with it.
func int8Scale(values []float32) (scale, inverse float32) {
	var largest float32
	for _, v := range values {
		largest = max(largest, float32(math.Abs(float64(v)))) // NaN if either is
	}
	switch {
	case largest != largest || largest > math.MaxFloat32:
		return float32(math.NaN()), 0
	case largest < 1e-30: // its inverse would overflow
		return 0, 0
	}
	return largest / 127, 127 / largest
}

func roundInt8(v float32) int8 {
	if v != v {
		return 0
	}
	return int8(math.RoundToEven(float64(v)))
}

// block returns the block of 16 positions from 16·number on, for pages of whole blocks.
func (c *kvCache) block(pages []int32, layer, head, number int) *byte {
	position := number * keyTile
	return &c.head(pages[position/c.pageSize], layer, head)[position%c.pageSize/keyTile*c.stored.bytes]
}

// gather makes a block of 16 positions of those from 16·number on, count of which are there, out of blocks of one.
func (c *kvCache) gather(dst []byte, pages []int32, layer, head, number, count int) *byte {
	block := &dst[0]
	for lane := range min(count, keyTile) {
		position := number*keyTile + lane
		source := &c.head(pages[position/c.pageSize], layer, head)[position%c.pageSize*c.stored.bytes]
		switch c.dtype {
		case tensor.F32, tensor.BF16:
			transpose[uint32](block, source, 0, 0, c.stored.values/4, lane)
			for p := range c.panels {
				to := elements[byte](block, c.read.values+p*c.read.panel+lane*c.stored.panel, c.stored.panel)
				copy(to, elements[byte](source, c.stored.values+p*c.stored.panel, c.stored.panel))
			}
		case tensor.I8:
			for first := 0; first < c.headDim; first += int8Group {
				to, from := first/int8Group*int8GroupBytes(keyTile), first/int8Group*int8GroupBytes(1)
				transpose[uint32](block, source, to, from, 1, lane)
				transpose[byte](block, source, to+4*keyTile, from+4, min(int8Group, c.headDim-first), lane)
			}
			for p := range c.panels {
				to, from := c.read.values+p*c.read.panel, c.stored.values+p*c.stored.panel
				transpose[uint32](block, source, to, from, 1, lane)
				copy(elements[byte](block, to+4*keyTile+lane*panelWidth, panelWidth), elements[byte](source, from+4, panelWidth))
			}
		}
	}
	return block
}

// transpose spreads n elements of one position over a block of 16.
func transpose[T any](block, source *byte, to, from, n, lane int) {
	out := elements[T](block, to, n*keyTile)
	for i, v := range elements[T](source, from, n) {
		out[i*keyTile+lane] = v
	}
}

// copyPage copies the first positions of a page. The rest of the target is undefined.
func (c *kvCache) copyPage(p device.PageCopy) {
	if p.Src == p.Dst {
		return
	}
	bytes := ceil(int(p.Tokens), c.lanes) * c.stored.bytes
	for layer := range c.layers {
		for head := range c.heads {
			copy(c.head(p.Dst, layer, head), c.head(p.Src, layer, head)[:bytes])
		}
	}
}

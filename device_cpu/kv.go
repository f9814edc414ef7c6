package cpu

import "minisgl/device"

// keyTile is the number of positions whose keys lie together where the page size allows it.
const keyTile = panelWidth / 2

// A kvCache holds keys and values in pages, a page's layers one behind the other, so that memory of pages never used is never
// touched. In a page, each layer and head has its keys and then its values:
//
//   - keys, where the page size is a multiple of 16, in tiles of 16 positions: (headDim, 16), half a panel of the product q·Kᵀ.
//     Otherwise one position after the other: (pageSize, headDim); reading them then costs a transposition.
//   - values: (pageSize, valueWidth), the panels of the product with the probabilities.
//
// Keys and values are float32. Another type would be expanded where readers ask for tiles: keys and values below.
type kvCache struct {
	data     []float32
	pageSize int
	pages    int
	layers   int
	heads    int
	headDim  int
	tiled    bool

	valueWidth int // headDim, rounded up to whole panels
	keyRoom    int // values that the keys of a page, layer and head take
	headRoom   int // the same with its values
}

func newKVCache(p *device.Program, pageSize, pages int) *kvCache {
	c := &kvCache{pageSize: pageSize, pages: pages, layers: p.Layers, heads: p.KVHeads, headDim: p.HeadDim,
		tiled: pageSize%keyTile == 0, valueWidth: roundUp(p.HeadDim, panelWidth)}
	c.keyRoom = roundUp(pageSize*c.headDim, cacheLine/4)
	c.headRoom = c.keyRoom + pageSize*c.valueWidth
	return c
}

// pageBytes is the memory of one page.
func (c *kvCache) pageBytes() int64 { return 4 * int64(c.layers*c.heads) * int64(c.headRoom) }

// at returns the keys and values of a page, layer and head.
func (c *kvCache) at(page int32, layer, head int) (keys, values []float32) {
	start := ((int(page)*c.layers+layer)*c.heads + head) * c.headRoom
	all := c.data[start : start+c.headRoom]
	return all[:c.keyRoom], all[c.keyRoom:]
}

// store writes a position's key and value.
func (c *kvCache) store(page int32, offset, layer, head int, key, value []float32) {
	keys, values := c.at(page, layer, head)
	copy(values[offset*c.valueWidth:], value[:c.headDim])
	if !c.tiled {
		copy(keys[offset*c.headDim:], key[:c.headDim])
		return
	}
	tile := keys[offset/keyTile*keyTile*c.headDim+offset%keyTile:]
	for d, v := range key[:c.headDim] {
		tile[d*keyTile] = v
	}
}

// keys returns the tile (headDim, 16) of the keys of positions 16·tile and up, of which count are there. scratch is used where
// pages do not hold whole tiles.
func (c *kvCache) keys(pages []int32, layer, head, tile, count int, scratch []float32) []float32 {
	position := tile * keyTile
	if c.tiled {
		keys, _ := c.at(pages[position/c.pageSize], layer, head)
		return keys[position%c.pageSize*c.headDim:][:keyTile*c.headDim]
	}
	var rows [keyTile][]float32
	for lane := range rows {
		at := position + min(lane, count-1) // what stands in the lanes behind the last is not used
		keys, _ := c.at(pages[at/c.pageSize], layer, head)
		rows[lane] = keys[at%c.pageSize*c.headDim:][:c.headDim]
	}
	for d := range c.headDim {
		out := (*[keyTile]float32)(scratch[d*keyTile:])
		for lane := range out {
			out[lane] = rows[lane][d]
		}
	}
	return scratch
}

// values returns the values (count, valueWidth) of the positions from position on that lie in one page, at most limit of them.
func (c *kvCache) values(pages []int32, layer, head, position, limit int) (values []float32, count int) {
	_, all := c.at(pages[position/c.pageSize], layer, head)
	offset := position % c.pageSize
	count = min(limit, c.pageSize-offset)
	return all[offset*c.valueWidth:][:count*c.valueWidth], count
}

// gatherValues copies the values of count positions one behind the other.
func (c *kvCache) gatherValues(dst []float32, pages []int32, layer, head, position, count int) {
	for count > 0 {
		values, n := c.values(pages, layer, head, position, count)
		dst = dst[copy(dst, values):]
		position, count = position+n, count-n
	}
}

// copyPage copies the first positions of a page. The rest of the target is undefined.
func (c *kvCache) copyPage(p device.PageCopy) {
	if p.Src == p.Dst {
		return
	}
	tokens := int(p.Tokens)
	keyCount := tokens * c.headDim
	if c.tiled {
		keyCount = roundUp(tokens, keyTile) * c.headDim
	}
	for layer := range c.layers {
		for head := range c.heads {
			fromKeys, fromValues := c.at(p.Src, layer, head)
			toKeys, toValues := c.at(p.Dst, layer, head)
			copy(toKeys, fromKeys[:keyCount])
			copy(toValues, fromValues[:tokens*c.valueWidth])
		}
	}
}

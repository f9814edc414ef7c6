package cpu

import (
	"unsafe"

	"minisgl/tensor"
)

// A kvKernel is a path's products of attention for one type of the KV cache. Blocks are as kv.go lays them out; behind the
// blocks that a call reads, its list goes on with lookBlocks others, those to be read next: they are prefetched.
//
// As everywhere, a sum runs over its inputs (scores) or positions (weigh) in ascending order in one lane.
type kvKernel struct {
	// scores multiplies rows of x by the keys of n blocks: c[r][16·i : 16·i+16] = x[r][0:dim] · keys of block i. It may write
	// 16 values behind the last.
	scores func(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int)
	// weigh multiplies rows of probabilities by one panel of values, positions from to end of the list of blocks:
	// c[r][0:32] = x[r][from:end] · values, on top of what c holds if add is not 0.
	weigh func(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int)
}

// attentionKernels are a path's kernels for attention.
type attentionKernels struct {
	float32, bfloat16, int8 kvKernel
	// blend: sum = a·sum + b·x, for rows whose length is a multiple of 16.
	blend func(sum, x []float32, a, b float32)
}

func (k *attentionKernels) of(dtype tensor.DType) *kvKernel {
	switch dtype {
	case tensor.BF16:
		return &k.bfloat16
	case tensor.I8:
		return &k.int8
	}
	return &k.float32
}

var genericAttention = attentionKernels{
	float32:  genericKV(float32Block{}),
	bfloat16: genericKV(bfloat16Block{}),
	int8:     genericKV(int8Block{}),
	blend:    blendGeneric,
}

// A blockReader expands the keys and values of a block of 16 positions to float32.
type blockReader interface {
	key(block *byte, d int) [keyTile]float32             // of all positions
	value(panel *byte, position int) [panelWidth]float32 // of a panel
}

// genericKV is the twin of the assembly in plain Go.
func genericKV(reader blockReader) kvKernel {
	return kvKernel{
		scores: func(c []float32, ldc int, x []float32, ldx int, blocks []*byte, n, dim, rows int) {
			for i := range n {
				for r := range rows {
					clear(c[r*ldc+i*keyTile:][:keyTile])
				}
				for d := range dim {
					key := reader.key(blocks[i], d)
					for r := range rows {
						sums := (*[keyTile]float32)(c[r*ldc+i*keyTile:])
						for j, k := range key {
							sums[j] += float32(x[r*ldx+d] * k)
						}
					}
				}
			}
		},
		weigh: func(c []float32, ldc int, x []float32, ldx int, blocks []*byte, from, end, rows, add int) {
			clearTile(c, ldc, rows, add)
			for position := from; position < end; position++ {
				value := reader.value(blocks[position/keyTile], position%keyTile)
				addOuter(c, ldc, x[position:], ldx, &value, rows)
			}
		},
	}
}

// elements returns n values of a type at an offset from a block's start, in bytes.
func elements[T any](block *byte, offset, n int) []T {
	return unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(block), offset)), n)
}

type float32Block struct{}

func (float32Block) key(block *byte, d int) (out [keyTile]float32) {
	copy(out[:], elements[float32](block, 4*d*keyTile, keyTile))
	return out
}

func (float32Block) value(panel *byte, position int) (out [panelWidth]float32) {
	copy(out[:], elements[float32](panel, 4*position*panelWidth, panelWidth))
	return out
}

type bfloat16Block struct{}

func (bfloat16Block) key(block *byte, d int) (out [keyTile]float32) {
	for i, pair := range elements[uint32](block, 4*(d/2)*keyTile, keyTile) {
		out[i] = tensor.BF16ToFloat32(uint16(pair >> (d % 2 * 16)))
	}
	return out
}

func (bfloat16Block) value(panel *byte, position int) (out [panelWidth]float32) {
	values := elements[uint16](panel, 2*position*panelWidth, panelWidth)
	for j := range out {
		out[j] = tensor.BF16ToFloat32(values[bf16Place(j)])
	}
	return out
}

type int8Block struct{}

func (int8Block) key(block *byte, d int) (out [keyTile]float32) {
	group := int8GroupBytes(keyTile) * (d / int8Group)
	scales := elements[float32](block, group, keyTile)
	for i, q := range elements[int8](block, group+4*keyTile+d%int8Group*keyTile, keyTile) {
		out[i] = float32(q) * scales[i]
	}
	return out
}

func (int8Block) value(panel *byte, position int) (out [panelWidth]float32) {
	scale := elements[float32](panel, 4*position, 1)[0]
	for j, q := range elements[int8](panel, 4*keyTile+position*panelWidth, panelWidth) {
		out[j] = float32(q) * scale
	}
	return out
}

func blendGeneric(sum, x []float32, a, b float32) {
	for i, v := range x[:len(sum)] {
		sum[i] = float32(a*sum[i]) + float32(b*v)
	}
}

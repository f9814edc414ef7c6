package cpu

// spreadKernels lay keys and values of a bfloat16 cache out as panels of 32 outputs that a product of bfloat16 numbers reads
// (rounded.go). Keys have positions as outputs and elements as inputs; values have elements as outputs and positions as inputs.
//
// A panel goes by pairs of inputs. A pair has 16 words for the lower outputs and 16 for the upper, a word for each output's two
// inputs. Pairs are pairStride numbers apart, but each 16 pairs begin spreadGroup numbers behind those before; the upper outputs
// are halfStride numbers behind the lower.
//
// Both take the two blocks at the start of a list, or only the first, whose values then stand for the other's, too. They
// prefetch blocks further down the list, as kvKernel says.
type spreadKernels struct {
	keys   func(dst []uint16, blocks []*byte, pairs, pairStride, halfStride, both int)
	values func(dst []uint16, blocks []*byte, pairStride, halfStride, both int)
}

// spreadGroup is how many numbers 16 pairs of inputs take.
const spreadGroup = 16 * 2 * panelWidth

var spreadGeneric = spreadKernels{keys: spreadKeysGeneric, values: spreadValuesGeneric}

func spreadKeysGeneric(dst []uint16, blocks []*byte, pairs, pairStride, halfStride, both int) {
	for half := range 2 {
		source := elements[uint16](blocks[half*both], 0, 2*keyTile*pairs)
		for pair := range pairs {
			at := pair/16*spreadGroup + pair%16*pairStride + half*halfStride
			copy(dst[at:at+2*keyTile], source[2*keyTile*pair:])
		}
	}
}

func spreadValuesGeneric(dst []uint16, blocks []*byte, pairStride, halfStride, both int) {
	for position := range panelWidth {
		source := elements[uint16](blocks[position/keyTile*both], 2*panelWidth*(position%keyTile), panelWidth)
		for j := range panelWidth {
			dst[position/2*pairStride+j/16*halfStride+2*(j%16)+position%2] = source[bf16Place(j)]
		}
	}
}

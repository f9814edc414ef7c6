package layout

// Activations that tiles multiply by quantised weights lie in blocks of 16 rows and 32 inputs, for each 16 rows the blocks of all
// inputs:
//
//	numbers  of each row the lower bytes of its 16-bit numbers, then the upper, which have the sign; each four inputs in the order
//	         of the weights, 0, 2, 1, 3
//	scales   of each row, float32
//	sums     of each row, scale·Σ of its 32 numbers; then those of the first 16 inputs, and those of the second
const (
	TileRows    = 16
	TileNumbers = 2 * Sub // bytes of a row
	TileScales  = TileRows * TileNumbers
	TileSums    = TileScales + 4*TileRows
	TileBlock   = TileSums + 3*4*TileRows
)

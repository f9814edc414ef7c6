//go:build cuda

package kernels

import (
	"errors"

	"minisgl/device_cuda/driver"
)

// An Epilogue is what happens to the outputs of a matrix product before they are stored.
type Epilogue int

const (
	Store    Epilogue = iota // Out (float32) = sum + bias
	Residual                 // Out (float32) += sum + bias
	SiLU                     // outputs 2i, 2i+1 are gate and up: Out (Element) column i = silu(gate)·up
	Rotate                   // outputs are Qwen2's q, k, v with the pairs of q and k beside each other (RotateOrder): rotated, q to Out, k and v to the cache
)

// A Linear is a matrix product: rows of X times a packed weight.
type Linear struct {
	Out, In  int        // outputs and inputs
	Weight   driver.Ptr // as Pack left it: element (n, k) at ((n/8)·(K/32) + k/32)·256 + (n%8)·32 + k%32, K = In rounded up to 32, n padded to 8; zeros in the padding
	Bias     driver.Ptr // (Out) float32, in packed order; 0: none
	X        driver.Ptr // Elements, rows of XStride, readable and zero up to K. With Norm: float32, rows of XStride
	XStride  int        // values
	Result   driver.Ptr
	Stride   int // values of a row of Result
	Epilogue Epilogue
	Rows     driver.Ptr // int32 on the card: how many rows there are
	FirstRow int        // of Rows, the first to be computed; X and Result begin with it (chunks of outputs)

	Norm     driver.Ptr // (In) float32 weight of an RMSNorm that is applied to X first (only where NormFused says so); 0: none
	Eps      float32
	Selected driver.Ptr // int32: row of X for each row, with Norm only; 0: the same

	// For Rotate.
	Positions, Cells driver.Ptr
	CosSin           driver.Ptr // (MaxPositions, HeadDim) float32: HeadDim/2 cosines, then as many sines
	Keys, Values     driver.Ptr // the layer's cache, see attention.go
}

// NormFused says whether Linear applies an RMSNorm itself in steps of at most maxRows rows; in larger steps every block would
// repeat the norm of many rows, and a kernel of its own is quicker.
func NormFused(maxRows int) bool { return maxRows <= 16 }

// Linear is the launch that computes l for at most maxRows rows.
func (s *Set) Linear(l Linear, maxRows int) (driver.Launch, error) {
	return driver.Launch{}, errors.New("linear: to come")
}

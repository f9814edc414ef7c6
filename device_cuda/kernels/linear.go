//go:build cuda

package kernels

import (
	"fmt"
	"unsafe"

	"minisgl/device_cuda/driver"
	"minisgl/tensor"
)

// An Epilogue is what happens to the outputs of a matrix product before they are stored.
type Epilogue int

const (
	Store    Epilogue = iota // Out (float32) = sum + bias
	Residual                 // Out (float32) += sum + bias
	SiLU                     // outputs 2i, 2i+1 are gate and up: Out (Element) column i = silu(gate)·up
	Rotate                   // outputs are Qwen2's q, k, v with the pairs of q and k beside each other (RotateOrder): rotated, q to Out, k and v to the cache
)

// A Linear is a matrix product: rows of X times a packed weight. What the step's upload brings (Rows, Selected, Positions, Cells) is
// read before the kernels that came earlier have ended, so no kernel may write it.
type Linear struct {
	Out, In  int        // outputs and inputs
	Weight   driver.Ptr // as Pack left it
	Bias     driver.Ptr // (Out) float32, in packed order; 0: none
	X        driver.Ptr // Elements, rows of XStride, readable and zero up to In rounded up to 32; begin at multiples of 16 bytes. With Norm: float32
	XStride  int        // values
	Result   driver.Ptr
	Stride   int // values of a row of Result
	Epilogue Epilogue
	Rows     driver.Ptr // int32 on the card: how many rows there are
	FirstRow int        // of Rows, the first to be computed; X and Result begin with it (chunks of outputs)

	Norm     driver.Ptr // (In) float32 weight of an RMSNorm that is applied to X first (only where NormFused says so); 0: none
	Eps      float32
	Selected driver.Ptr // int32: row of X for each of Rows, with Norm only; 0: the same

	// For Rotate.
	Positions, Cells driver.Ptr // int32 for each of Rows
	CosSin           driver.Ptr // (MaxPositions, HeadDim) float32: HeadDim/2 cosines, then as many sines
	Keys, Values     driver.Ptr // the layer's cache, see attention.go
}

// linearParams is LinearParams in linear.cuh.
type linearParams struct {
	Weight, Bias, X, Result, Rows, Norm, Selected, Positions, Cells, CosSin, Keys, Values driver.Ptr

	Out, In, XStride, Stride, FirstRow, Epilogue, Wide, Blocks, Split, Resident, Held int32

	Eps float32
}

// A LinearVariant is one of the kernels that compute matrix products. All give the same bits.
type LinearVariant struct {
	Kernel        string
	Module        string
	Rows, Outputs int  // of a block
	Depth         int  // linear.cu: blocks of inputs that are loaded at a time
	Norm          bool // applies Linear.Norm
	Threads       int
	Shared        int // linear_tile: bytes of a block
}

// LinearVariants lists the kernels for an Element type.
func LinearVariants(element tensor.DType) []LinearVariant {
	if element == tensor.F32 {
		return []LinearVariant{
			{Kernel: "linear_reference", Module: "linear", Rows: 16, Outputs: 8, Threads: streamThreads},
			{Kernel: "linear_reference_norm", Module: "linear", Rows: 16, Outputs: 8, Threads: streamThreads, Norm: true},
		}
	}
	var variants []LinearVariant
	for _, outputs := range []int{8, 16, 24, 32} {
		variants = append(variants,
			LinearVariant{Kernel: fmt.Sprintf("linear_few_%d", outputs), Module: "linear", Rows: fewRows, Outputs: outputs, Depth: 1, Threads: streamThreads},
			LinearVariant{Kernel: fmt.Sprintf("linear_few_norm_%d", outputs), Module: "linear", Rows: fewRows, Outputs: outputs, Depth: 1, Threads: streamThreads, Norm: true})
	}
	for _, v := range [][3]int{{16, 8, 4}, {16, 24, 2}, {16, 32, 4}, {32, 16, 2}, {32, 32, 2}, {64, 16, 1}, {64, 32, 1}} {
		variants = append(variants, LinearVariant{
			Kernel: fmt.Sprintf("linear_stream_%dx%dx%d", v[0], v[1], v[2]), Module: "linear", Rows: v[0], Outputs: v[1], Depth: v[2], Threads: streamThreads,
		})
	}
	for _, v := range []struct{ rows, outputs, warps, step, stages int }{
		{64, 32, 4, 4, 4}, {64, 64, 4, 2, 4}, {64, 128, 8, 2, 4}, {128, 128, 8, 2, 4},
	} {
		variants = append(variants, LinearVariant{
			Kernel: fmt.Sprintf("linear_tile_%dx%d", v.rows, v.outputs), Module: "linear_tile", Rows: v.rows, Outputs: v.outputs, Threads: 32 * v.warps,
			Shared: v.stages * v.step * (v.rows + v.outputs) * 64,
		})
	}
	return variants
}

const (
	streamThreads = 256 // of a block of linear.cu: a warp for each of
	linearSplits  = 8
	fewRows       = 8 // of linear_few
)

// NormFused says whether Linear applies an RMSNorm itself in steps of at most maxRows rows; in larger steps every block would
// repeat the norm of many rows, and a kernel of its own is quicker.
func NormFused(maxRows int) bool { return maxRows <= fewRows }

// Linear is the launch that computes l for at most maxRows rows.
func (s *Set) Linear(l Linear, maxRows int) (driver.Launch, error) {
	if l.Out <= 0 || l.In <= 0 || maxRows <= 0 {
		return driver.Launch{}, fmt.Errorf("linear: %d outputs, %d inputs, %d rows: want at least one of each", l.Out, l.In, maxRows)
	}
	if l.Norm != 0 && !NormFused(maxRows) {
		return driver.Launch{}, fmt.Errorf("linear: a norm within the product is for few rows, not %d", maxRows)
	}
	if (l.Epilogue == SiLU || l.Epilogue == Rotate) && l.Out%2 != 0 {
		return driver.Launch{}, fmt.Errorf("linear: %d outputs, want pairs", l.Out)
	}
	return s.LinearWith(l, maxRows, s.chooseLinear(l, maxRows))
}

// LinearWith is Linear with a kernel of the caller's choice.
func (s *Set) LinearWith(l Linear, maxRows int, v LinearVariant) (driver.Launch, error) {
	if v.Norm != (l.Norm != 0) {
		return driver.Launch{}, fmt.Errorf("linear: kernel %s for a product with norm: %t", v.Kernel, l.Norm != 0)
	}
	p := linearParams{
		Weight: l.Weight, Bias: l.Bias, X: l.X, Result: l.Result, Rows: l.Rows, Norm: l.Norm, Selected: l.Selected,
		Positions: l.Positions, Cells: l.Cells, CosSin: l.CosSin, Keys: l.Keys, Values: l.Values,
		Out: int32(l.Out), In: int32(l.In), XStride: int32(l.XStride), Stride: int32(l.Stride), FirstRow: int32(l.FirstRow),
		Epilogue: int32(l.Epilogue), Eps: l.Eps,
	}
	if l.Epilogue == SiLU {
		p.Wide = flag(l.Result%8 == 0 && l.Stride%4 == 0 && l.Out%8 == 0)
	} else {
		p.Wide = flag(l.Result%8 == 0 && l.Stride%2 == 0 && l.Out%2 == 0)
	}
	p.Blocks = int32(ceilDiv(l.In, 32))
	p.Split = int32(ceilDiv(int(p.Blocks), linearSplits))
	shared := v.Shared
	if v.Module == "linear" {
		var err error
		p.Held = int32(min(maxRows, fewRows))
		if p.Resident, shared, err = v.streamShared(int(p.Blocks), int(p.Split), maxRows, s.info.SharedPerBlock); err != nil {
			return driver.Launch{}, err
		}
	}
	grid := [3]int{ceilDiv(l.Out, v.Outputs), ceilDiv(maxRows, v.Rows), 1}
	return s.launch(v.Module, v.Kernel, grid, v.Threads, shared, driver.Bytes(&p)), nil
}

// streamShared says how many blocks of each split a block of linear.cu keeps in shared memory, and how many bytes it needs.
func (v LinearVariant) streamShared(blocks, split, maxRows, limit int) (resident int32, bytes int, err error) {
	groups := v.Outputs / 8
	partials := linearSplits * v.Rows * v.Outputs * int(unsafe.Sizeof(float32(0)))
	if v.Depth == 0 { // the variant of float32
		return 0, partials + v.Rows*4, nil
	}
	if v.Rows == fewRows {
		held := min(maxRows, fewRows)
		partials += fewRows * 4
		if v.Norm {
			partials += blocks*32*4 + held*(blocks*32+4)*4
		} else {
			partials += linearSplits * held * (split | 1) * 64
		}
	}
	each := linearSplits * groups * 512 // bytes of a block of each split
	room := limit - partials
	overlay := v.Rows > 16
	if overlay {
		room = limit
	}
	n := split
	if n > room/each {
		n = room / each / v.Depth * v.Depth
	}
	if n < 1 {
		return 0, 0, fmt.Errorf("linear: kernel %s and %d inputs need more than %d bytes of shared memory", v.Kernel, blocks*32, limit)
	}
	if overlay {
		return int32(n), max(partials, n*each), nil
	}
	return int32(n), partials + n*each, nil
}

func (s *Set) chooseLinear(l Linear, maxRows int) LinearVariant {
	byName := make(map[string]LinearVariant)
	for _, v := range LinearVariants(s.Element) {
		byName[v.Kernel] = v
	}
	return byName[linearKernel(s.Element, l.Out, l.In, l.Norm != 0, maxRows, s.info.Multiprocessors)]
}

// linearKernel names the quickest kernel for a shape, as measured on an H100.
func linearKernel(element tensor.DType, out, in int, norm bool, maxRows, multiprocessors int) string {
	if element == tensor.F32 {
		if norm {
			return "linear_reference_norm"
		}
		return "linear_reference"
	}
	many := out/8 > 2*multiprocessors // more groups of outputs than blocks that run at a time
	few := "linear_few_"
	if norm {
		few = "linear_few_norm_"
	}
	switch {
	case maxRows <= fewRows && many:
		return few + "24"
	case maxRows <= fewRows:
		return few + "8"
	case maxRows <= 16 && many:
		return "linear_stream_16x32x4"
	case maxRows <= 16:
		return "linear_stream_16x8x4"
	case maxRows <= 32 && many:
		return "linear_stream_32x32x2"
	case maxRows <= 32:
		return "linear_stream_32x16x2"
	case maxRows <= 64 && many:
		return "linear_tile_64x64"
	case maxRows <= 64:
		return "linear_stream_64x16x1"
	}
	tiles := func(rows, outputs int) int { return ceilDiv(maxRows, rows) * ceilDiv(out, outputs) }
	switch {
	case tiles(128, 128) >= multiprocessors:
		return "linear_tile_128x128"
	case tiles(64, 128) >= multiprocessors:
		return "linear_tile_64x128"
	case tiles(64, 64) >= multiprocessors:
		return "linear_tile_64x64"
	}
	return "linear_tile_64x32"
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

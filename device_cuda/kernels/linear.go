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

	Out, In, XStride, Stride, FirstRow, Epilogue, Wide, Blocks, Split, Resident int32

	Eps float32
	_   int32
}

// A LinearVariant is one of the kernels that compute matrix products. All give the same bits.
type LinearVariant struct {
	Kernel        string
	Module        string
	Rows, Outputs int  // of a block
	Depth         int  // linear.cu: blocks of inputs that are loaded at a time
	Norm          bool // applies Linear.Norm
	Threads       int
	Shared        int  // tiles: bytes of a block
	Hopper        bool // wgmma: blocks stay and take tile after tile
}

var wgmmaKernel = LinearVariant{
	Kernel: "linear_wgmma_128x128", Module: "linear_wgmma", Rows: 128, Outputs: 128, Threads: 384, Shared: 6*2*(128+128)*64 + 128, Hopper: true,
}

// LinearVariants lists the kernels for an Element type.
func LinearVariants(element tensor.DType) []LinearVariant {
	if element == tensor.F32 {
		return []LinearVariant{
			{Kernel: "linear_reference", Module: "linear", Rows: 16, Outputs: 8, Threads: streamThreads},
			{Kernel: "linear_reference_norm", Module: "linear", Rows: 16, Outputs: 8, Threads: streamThreads, Norm: true},
		}
	}
	variants := []LinearVariant{{Kernel: "linear_normed_8x32", Module: "linear", Rows: 8, Outputs: 32, Depth: 2, Threads: streamThreads, Norm: true}}
	for _, v := range [][3]int{{8, 8, 10}, {8, 16, 4}, {8, 24, 4}, {16, 8, 4}, {16, 24, 2}, {32, 16, 2}, {64, 16, 1}, {64, 32, 1}} {
		variants = append(variants, LinearVariant{
			Kernel: fmt.Sprintf("linear_stream_%dx%dx%d", v[0], v[1], v[2]), Module: "linear", Rows: v[0], Outputs: v[1], Depth: v[2], Threads: streamThreads,
		})
	}
	for _, v := range []struct{ rows, outputs, warps, step, stages int }{
		{64, 32, 4, 4, 4}, {64, 64, 4, 2, 4}, {64, 128, 8, 2, 4},
	} {
		variants = append(variants, LinearVariant{
			Kernel: fmt.Sprintf("linear_tile_%dx%d", v.rows, v.outputs), Module: "linear_tile", Rows: v.rows, Outputs: v.outputs, Threads: 32 * v.warps,
			Shared: v.stages * v.step * (v.rows + v.outputs) * 64,
		})
	}
	return append(variants, wgmmaKernel)
}

const (
	streamThreads = 256 // of a block of linear.cu: a warp for each of
	linearSplits  = 8
	normRows      = 8 // at most so many are normalised within a product
)

// NormFused says whether Linear applies an RMSNorm itself in steps of at most maxRows rows; in larger steps every block would
// repeat the norm of many rows, and a kernel of its own is quicker.
func NormFused(maxRows int) bool { return maxRows <= normRows }

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
		if p.Resident, shared, err = v.streamShared(int(p.Blocks), int(p.Split), maxRows, s.info.SharedPerBlock); err != nil {
			return driver.Launch{}, err
		}
	}
	grid := [3]int{ceilDiv(l.Out, v.Outputs), ceilDiv(maxRows, v.Rows), 1}
	if v.Hopper {
		grid = [3]int{min(grid[0]*grid[1], s.info.Multiprocessors), 1, 1}
	}
	return s.launch(v.Module, v.Kernel, grid, v.Threads, shared, driver.Bytes(&p)), nil
}

// streamShared says how many blocks of each split a block of linear.cu keeps in shared memory, and how many bytes it needs.
func (v LinearVariant) streamShared(blocks, split, maxRows, limit int) (resident int32, bytes int, err error) {
	groups := v.Outputs / 8
	partials := linearSplits * v.Rows * v.Outputs * int(unsafe.Sizeof(float32(0)))
	if v.Depth == 0 { // the variant of float32
		return 0, partials + v.Rows*4, nil
	}
	if v.Norm { // scales, the norm's weight, rows
		partials += v.Rows*4 + blocks*32*4 + min(maxRows, v.Rows)*(blocks*32+4)*4
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
	weights := ceilDiv(blocks, split) * n * groups * 512
	if overlay {
		return int32(n), max(partials, weights), nil
	}
	return int32(n), partials + weights, nil
}

func (s *Set) chooseLinear(l Linear, maxRows int) LinearVariant {
	kernel := linearKernel(s.Element, l.Out, l.In, l.Norm != 0, maxRows, s.info.Multiprocessors, s.has(wgmmaKernel))
	for _, v := range LinearVariants(s.Element) {
		if v.Kernel == kernel {
			return v
		}
	}
	return LinearVariant{Kernel: kernel}
}

// has says whether the card's kernels include a variant: those for Hopper are empty elsewhere.
func (s *Set) has(v LinearVariant) bool {
	module := s.modules[v.Module]
	if module == nil {
		return false
	}
	_, err := module.Function(v.Kernel)
	return err == nil
}

// linearKernel names the quickest kernel for a shape, as measured on an H100.
func linearKernel(element tensor.DType, out, in int, norm bool, maxRows, multiprocessors int, wgmma bool) string {
	switch {
	case element == tensor.F32 && norm:
		return "linear_reference_norm"
	case element == tensor.F32:
		return "linear_reference"
	case norm:
		return "linear_normed_8x32"
	}
	narrow := out/8 <= 2*multiprocessors // groups of outputs: no more than run at a time
	huge := out/8 > 32*multiprocessors   // an LM head
	switch {
	case maxRows <= 8 && narrow && in > 2048:
		return "linear_stream_8x8x10"
	case maxRows <= 8 && narrow:
		return "linear_stream_8x16x4"
	case maxRows <= 8:
		return "linear_stream_8x24x4"
	case maxRows <= 16 && (huge || narrow && in <= 2048):
		return "linear_stream_16x24x2"
	case maxRows <= 16:
		return "linear_stream_16x8x4"
	case maxRows <= 32 && (narrow || !huge && !wgmma):
		return "linear_stream_32x16x2"
	case maxRows <= 64 && narrow:
		return "linear_stream_64x16x1"
	case maxRows <= 256 && narrow:
		return "linear_stream_64x32x1"
	case wgmma:
		return wgmmaKernel.Kernel
	}
	tiles := func(rows, outputs int) int { return ceilDiv(maxRows, rows) * ceilDiv(out, outputs) }
	switch {
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

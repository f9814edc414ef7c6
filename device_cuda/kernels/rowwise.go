//go:build cuda

package kernels

import (
	"math"

	"minisgl/device_cuda/driver"
)

// The kernels of rowwise.cu treat each row by itself. They read how many rows there are on the card; maxRows, the most that a
// plan serves, only sizes the grid.

// Threads of a block, and warps, each of which has a row of its own in Norm.
const (
	rowThreads = 256
	rowWarps   = rowThreads / 32
)

// Embed copies each token's row of the embedding table: Out[t] = Table[token of row t].
type Embed struct {
	Step   StepLayout
	Table  driver.Ptr // (vocab, Width) of Elements, packed as a Linear's weight
	Width  int
	Last   driver.Ptr // (slots) int32: the token sampled last in each slot; a negative one stands for token 0
	Out    driver.Ptr // float32, rows of Stride
	Stride int
}

type embedParams struct {
	Step, Tokens, Table, Last, Out driver.Ptr
	Width, Stride                  int32
}

// Embed describes the launch.
func (s *Set) Embed(e Embed, maxRows int) driver.Launch {
	return s.launch("rowwise", "embed", [3]int{maxRows, 1, 1}, rowThreads, 0, driver.Bytes(&embedParams{
		e.Step.Header, e.Step.Tokens, e.Table, e.Last, e.Out, int32(e.Width), int32(e.Stride)}))
}

// Norm is an RMSNorm: Out[t] = X[t] / sqrt(mean(X[t]²) + Eps) · Weight, with zeros from Width up to OutStride. Its bits are those
// of a Linear that applies the norm itself.
type Norm struct {
	Rows      driver.Ptr // int32 on the card: how many rows there are
	FirstRow  int        // of them, the first to be computed; X and Out begin with it
	Selected  driver.Ptr // int32 for each of Rows: its row in X, which then begins with the step's first; 0: the same rows
	X         driver.Ptr // float32, rows of XStride
	XStride   int
	Weight    driver.Ptr // (Width) float32
	Width     int
	Eps       float32
	Out       driver.Ptr // Elements, rows of OutStride
	OutStride int
}

type normParams struct {
	Rows, Selected, X, Weight, Out      driver.Ptr
	FirstRow, XStride, Width, OutStride int32
	Eps                                 float32
	_                                   int32
}

// Norm describes the launch.
func (s *Set) Norm(n Norm, maxRows int) driver.Launch {
	return s.launch("rowwise", "rms_norm", [3]int{ceilDiv(maxRows, rowWarps), 1, 1}, rowThreads, 0, driver.Bytes(&normParams{
		n.Rows, n.Selected, n.X, n.Weight, n.Out, int32(n.FirstRow), int32(n.XStride), int32(n.Width), int32(n.OutStride), n.Eps, 0}))
}

// Select gathers the rows that are sampled or scored: Out[k] = X[Selected[FirstRow+k]].
type Select struct {
	Step      StepLayout
	FirstRow  int        // first output
	X         driver.Ptr // float32, rows of XStride
	XStride   int
	Width     int
	Out       driver.Ptr // float32, rows of OutStride
	OutStride int
}

type selectParams struct {
	Step, Selected, X, Out              driver.Ptr
	FirstRow, XStride, Width, OutStride int32
}

// Select describes the launch; maxRows counts outputs.
func (s *Set) Select(g Select, maxRows int) driver.Launch {
	return s.launch("rowwise", "select_rows", [3]int{maxRows, 1, 1}, rowThreads, 0, driver.Bytes(&selectParams{
		g.Step.Header, g.Step.Selected, g.X, g.Out, int32(g.FirstRow), int32(g.XStride), int32(g.Width), int32(g.OutStride)}))
}

// Rotary works on rows [query heads | key heads | value heads] of float32 in place: it normalises query and key heads if there are
// weights for that (Qwen3's QK norm), rotates them by the row's position, the pairs being (i, i+HeadDim/2), and stores key and
// value in the cache.
type Rotary struct {
	Step         StepLayout
	QKV          driver.Ptr // float32, rows of Stride
	Stride       int
	CosSin       driver.Ptr // (MaxPositions, HeadDim) float32: HeadDim/2 cosines, then as many sines
	QNorm, KNorm driver.Ptr // (HeadDim) float32; 0: none
	Eps          float32
	Keys, Values driver.Ptr // the layer's cache, see attention.go
}

type rotaryParams struct {
	Step, Positions, Cells, QKV, CosSin, QNorm, KNorm, Keys, Values driver.Ptr
	Stride                                                          int32
	Eps                                                             float32
}

// Rotary describes the launch.
func (s *Set) Rotary(r Rotary, maxRows int) driver.Launch {
	return s.launch("rowwise", "rotary", [3]int{maxRows, ceilDiv(s.Heads+2*s.KVHeads, rowWarps), 1}, rowThreads, 0, driver.Bytes(&rotaryParams{
		r.Step.Header, r.Step.Positions, r.Step.Cells, r.QKV, r.CosSin, r.QNorm, r.KNorm, r.Keys, r.Values, int32(r.Stride), r.Eps}))
}

// GatedSiLU: Out[t][i] = silu(GateUp[t][i]) · GateUp[t][i+Width], with zeros from Width up to OutStride.
type GatedSiLU struct {
	Rows      driver.Ptr // int32 on the card: how many rows there are
	GateUp    driver.Ptr // float32, rows of Stride
	Stride    int
	Width     int
	Out       driver.Ptr // Elements, rows of OutStride
	OutStride int
}

type siluParams struct {
	Rows, GateUp, Out        driver.Ptr
	Stride, Width, OutStride int32
	_                        int32
}

// GatedSiLU describes the launch.
func (s *Set) GatedSiLU(g GatedSiLU, maxRows int) driver.Launch {
	return s.launch("rowwise", "silu", [3]int{maxRows, ceilDiv(g.OutStride, 4*rowThreads), 1}, rowThreads, 0, driver.Bytes(&siluParams{
		g.Rows, g.GateUp, g.Out, int32(g.Stride), int32(g.Width), int32(g.OutStride), 0}))
}

// CopyPages carries out the step's page copies: in every layer, keys and values of the first Tokens positions of page Src go to
// page Dst. Copies run side by side, so none may read what another one writes.
type CopyPages struct {
	Step   StepLayout
	Cache  driver.Ptr // one block of memory: layer after layer, each Keys, then Values, (Pages, KVHeads, PageSize, HeadDim) each
	Pages  int
	Layers int
}

type copyParams struct {
	Step, Copies, Cache driver.Ptr
	Pages, Planes       int32 // planes: keys and values of each layer
}

// CopyPages describes the launch.
func (s *Set) CopyPages(c CopyPages, maxCopies int) driver.Launch {
	return s.launch("rowwise", "copy_pages", [3]int{min(maxCopies, math.MaxUint16), 2 * c.Layers, 1}, rowThreads, 0, driver.Bytes(&copyParams{
		c.Step.Header, c.Step.Copies, c.Cache, int32(c.Pages), int32(2 * c.Layers)}))
}

package cpu

import (
	"fmt"
	"slices"
	"sync/atomic"

	"minisgl/device"
	"minisgl/tensor"
)

// defaultMemoryRatio leaves memory for the page cache, the server and whatever else runs on a machine that is not ours alone.
const defaultMemoryRatio = 0.7

// An operation is an op of the program with its weights packed.
type operation struct {
	device.Op
	weight *matrix
	vector []float32 // bias or norm weight, filled up to whole panels
	qNorm  []float32
	kNorm  []float32
	gate   *device.GatedSiLU // that a linear operation computes, too: see gated.go
}

func (d *cpuDevice) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("device %s: %w", d.spec, err)
	}
	if o.PageSize < 1 || o.Pages < 0 || o.MaxSlots < 1 || o.MaxRows < 1 || o.MemoryRatio < 0 || o.MemoryRatio > 1 {
		return nil, fmt.Errorf("device %s: impossible load options: page size %d, %d pages, %d slots, %d rows, memory ratio %v",
			d.spec, o.PageSize, o.Pages, o.MaxSlots, o.MaxRows, o.MemoryRatio)
	}
	r := &runner{program: p, kernels: d.variant.kernels, options: o}
	if err := r.load(d.threads); err != nil {
		r.release()
		return nil, fmt.Errorf("device %s: %w", d.spec, err)
	}
	r.start()
	return r, nil
}

func (r *runner) load(threads int) error {
	weights, err := r.compile()
	if err != nil {
		return err
	}
	var weightBytes int64
	for _, w := range weights {
		weightBytes += w.packed.bytes()
	}
	scratchBytes := r.layout(threads)
	if err := r.choosePages(weightBytes, scratchBytes); err != nil {
		return err
	}
	r.memory = device.MemoryUse{Weights: weightBytes, KV: int64(r.kv.pages) * r.kv.pageBytes(), Scratch: scratchBytes}
	if r.weights, err = newArena(weightBytes); err != nil {
		return fmt.Errorf("%w: weights: %w", device.ErrMemory, err)
	}
	if r.kvMemory, err = newArena(r.memory.KV); err != nil {
		return fmt.Errorf("%w: KV cache: %w", device.ErrMemory, err)
	}
	if r.activations, err = newArena(scratchBytes); err != nil {
		return fmt.Errorf("%w: activations: %w", device.ErrMemory, err)
	}
	checked := r.options
	checked.Pages = r.kv.pages
	r.checker = device.NewChecker(r.program, checked)
	r.kv.data = take[byte](r.kvMemory, int(r.memory.KV))
	r.pool = newPool(threads)
	if err := r.pack(weights); err != nil {
		return err
	}
	r.allocate()
	return nil
}

// A packing is a weight and where it goes.
type packing struct {
	source device.Matrix
	packed *matrix
}

// compile turns the program's ops into operations whose weights have yet to be packed. Weights that operations share are
// packed once.
func (r *runner) compile() ([]packing, error) {
	keep, err := newKeeping(r.kernels, &r.options)
	if err != nil {
		return nil, err
	}
	var weights []packing
	matrixOf := func(label string, w device.Matrix) (*matrix, error) {
		for _, known := range weights {
			if slices.Equal(known.source.Parts, w.Parts) {
				return known.packed, nil
			}
		}
		m, err := newMatrix(w, keep)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		weights = append(weights, packing{w, m})
		return m, nil
	}
	r.selects = len(r.program.Ops)
	for i, op := range r.program.Ops {
		c := operation{Op: op}
		var err error
		switch op := op.(type) {
		case *device.SelectRows:
			r.selects = min(r.selects, i)
		case *device.Embed:
			c.weight, err = matrixOf(op.Label(), op.Table)
		case *device.Linear:
			c.weight, err = matrixOf(op.Label(), op.Weight)
			c.vector = padded(op.Bias)
		case *device.LMHead:
			c.weight, err = matrixOf(op.Label(), op.Weight)
		case *device.RMSNorm:
			c.vector = padded(op.Weight)
		case *device.RotaryStore:
			c.qNorm, c.kNorm = op.QNorm.Float32(), op.KNorm.Float32()
		}
		if err != nil {
			return nil, err
		}
		r.ops = append(r.ops, c)
	}
	r.tail = newTail(r.ops, r.selects)
	return weights, nil
}

// padded returns a vector's values, filled up with zeros to whole panels; nil for none.
func padded(v device.Vector) []float32 {
	if v.None() {
		return nil
	}
	values := v.Float32()
	return append(values, make([]float32, roundUp(len(values), panelWidth)-len(values))...)
}

// choosePages settles the number of KV pages, and whether all fits the memory that is free now.
func (r *runner) choosePages(weights, scratch int64) error {
	o := r.options
	kv, err := o.KVType(kvTypes...)
	if err != nil {
		return err
	}
	r.kv = newKVCache(r.program, kv, o.PageSize, o.Pages)
	_, available := machineMemory()
	if available == 0 { // the system does not say
		available = 1 << 62
	}
	page := r.kv.pageBytes()
	if o.Pages > 0 {
		if need := weights + scratch + int64(o.Pages)*page; need > available || int64(o.Pages) > available/page {
			return fmt.Errorf("%w: weights %s, activations %s and %d KV pages of %d tokens %s, but %s is available",
				device.ErrMemory, megabytes(weights), megabytes(scratch), o.Pages, o.PageSize,
				megabytes(int64(o.Pages)*page), megabytes(available))
		}
		return nil
	}
	ratio := o.MemoryRatio
	if ratio == 0 {
		ratio = defaultMemoryRatio
	}
	budget := int64(ratio * float64(available))
	pages := (budget - weights - scratch) / page
	if pages < 1 {
		return fmt.Errorf("%w: weights %s, activations %s and at least one KV page of %d tokens %s, but %s is available, of which the memory ratio allows %.2f",
			device.ErrMemory, megabytes(weights), megabytes(scratch), o.PageSize, megabytes(page), megabytes(available), ratio)
	}
	if o.MaxPages > 0 {
		pages = min(pages, int64(o.MaxPages))
	}
	r.kv.pages = int(min(pages, 1<<31-1))
	return nil
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// pack fills the weights' memory, all threads at once.
func (r *runner) pack(weights []packing) error {
	scratch := make([]packScratch, r.pool.threads)
	var parts []*packed
	var total, done int
	for _, w := range weights {
		for _, p := range w.packed.parts {
			p.data = take[byte](r.weights, int(p.bytes()))
			parts = append(parts, p)
			total += p.values()
		}
	}
	for _, p := range parts {
		var tooLarge atomic.Bool
		t := task{func(panel, worker int) {
			if !p.packPanel(panel, &scratch[worker]) {
				tooLarge.Store(true)
			}
		}}
		r.pool.run(p.panels(), &t)
		if tooLarge.Load() {
			p.dtype = tensor.F32
			a, err := newArena(p.bytes())
			if err != nil {
				return fmt.Errorf("%w: weights beyond the range of f16: %w", device.ErrMemory, err)
			}
			r.large = append(r.large, a)
			r.memory.Weights += p.bytes()
			p.data = take[byte](a, int(p.bytes()))
			r.pool.run(p.panels(), &t)
		}
		done += p.values()
		if r.options.Progress != nil {
			r.options.Progress(float64(done) / float64(total))
		}
	}
	return nil
}

//go:build cuda

package cuda

import (
	"errors"
	"fmt"

	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/kernels"
	"minisgl/tensor"
)

// defaultMemoryRatio leaves a tenth of the card's free memory to others and to the driver.
const defaultMemoryRatio = 0.9

// headRows is how many outputs go through the LM head at once: it bounds the memory for logits.
const headRows = 256

// A buffer is a program's buffer on the card: rows of width values, stride apart. Padding behind the width is zero.
type buffer struct {
	ptr     driver.Ptr // 0: not needed until a step is traced
	element bool       // Elements (inputs of matrix products), else float32
	outputs bool       // behind SelectRows: a row for each output
	width   int
	stride  int
}

func (d *cudaDevice) Load(p *device.Program, o device.LoadOptions) (device.Runner, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("device %s: %w", d.spec, err)
	}
	if o.PageSize < 1 || o.Pages < 0 || o.MaxSlots < 1 || o.MaxRows < 1 || o.MemoryRatio < 0 || o.MemoryRatio > 1 {
		return nil, fmt.Errorf("device %s: impossible load options: page size %d, %d pages, %d slots, %d rows, memory ratio %v",
			d.spec, o.PageSize, o.Pages, o.MaxSlots, o.MaxRows, o.MemoryRatio)
	}
	element := d.element(p)
	if _, err := o.KVType(element); err != nil {
		return nil, fmt.Errorf("device %s: %w", d.spec, err)
	}
	if o.Weights != tensor.Invalid {
		return nil, fmt.Errorf("device %s: weights cannot be quantised to %s: this device keeps them in 16 bits", d.spec, o.Weights)
	}
	r, err := d.load(p, o, element)
	if errors.Is(err, errRange) { // float16 cannot hold the weights, bfloat16 can
		r, err = d.load(p, o, tensor.BF16)
	}
	if errors.Is(err, driver.ErrMemory) {
		err = fmt.Errorf("%w: %w", device.ErrMemory, err)
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", d.spec, err)
	}
	return r, nil
}

var errRange = errors.New("weights beyond the range of float16")

func (d *cudaDevice) load(p *device.Program, o device.LoadOptions, element tensor.DType) (_ *runner, err error) {
	r := &runner{card: d.card, program: p, options: o, free: d.card.Info().MemoryFree, progress: func(float64) {}}
	if o.Progress != nil {
		r.progress = func(done float64) { o.Progress(min(done, 0.99)) }
	}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	shape := kernels.Shape{Element: element, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim, PageSize: o.PageSize, Vocab: p.Vocab}
	if r.kernels, err = kernels.Compile(d.card, shape, func(float64) {}); err != nil {
		return nil, err
	}
	if err := r.compile(); err != nil {
		return nil, err
	}
	overflow, err := r.uploadWeights()
	if err != nil {
		return nil, err
	}
	if overflow && element == tensor.F16 {
		return nil, errRange
	}
	if err := r.allocateScratch(); err != nil {
		return nil, err
	}
	if err := r.allocateKV(); err != nil {
		return nil, err
	}
	if err := r.captureDecode(); err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress(1)
	}
	r.start()
	return r, nil
}

// alloc takes memory that lives as long as the runner.
func (r *runner) alloc(bytes int64) (driver.Ptr, error) {
	p, err := r.card.Alloc(max(bytes, 16))
	if err == nil {
		r.allocations = append(r.allocations, p)
	}
	return p, err
}

// zeroed takes memory and clears it.
func (r *runner) zeroed(bytes int64) (driver.Ptr, error) {
	p, err := r.alloc(bytes)
	if err == nil {
		r.memory.Scratch += bytes
		err = r.card.Fill(p, 0, bytes)
	}
	return p, err
}

// layout gives each of the program's buffers its type and shape.
func (r *runner) layout() {
	r.buffers = make([]buffer, len(r.program.Buffers))
	for i, info := range r.program.Buffers {
		r.buffers[i] = buffer{width: info.Width, stride: roundUp(info.Width, 32)}
	}
	behind := false
	for _, op := range r.program.Ops {
		switch op := op.(type) {
		case *device.SelectRows:
			behind = true
		case *device.Linear:
			r.buffers[op.In].element = true
		case *device.LMHead:
			r.buffers[op.In].element = true
		}
		r.buffers[op.Output()].outputs = behind
	}
}

func (r *runner) bufferBytes(b *buffer) int64 {
	rows, size := r.options.MaxRows, 4
	if b.outputs {
		rows = min(r.options.MaxRows, headRows)
	}
	if b.element && r.kernels.Element != tensor.F32 {
		size = 2
	}
	return int64(rows) * int64(b.stride) * int64(size)
}

// allocateScratch makes all but weights and KV.
func (r *runner) allocateScratch() (err error) {
	scratch := func(p *driver.Ptr, bytes int64) {
		if err == nil {
			*p, err = r.zeroed(bytes)
		}
	}
	for i := range r.buffers {
		if b := &r.buffers[i]; !r.onlyTraced(device.Buffer(i)) {
			scratch(&b.ptr, r.bufferBytes(b))
		}
	}
	outputs := min(r.options.MaxRows, headRows)
	scratch(&r.lastTokens, int64(4*r.options.MaxSlots))
	scratch(&r.history, r.kernels.HistoryBytes(r.options.MaxSlots))
	scratch(&r.sampleScratch, r.kernels.SampleScratch(outputs))
	scratch(&r.attentionScratch, r.kernels.AttentionScratch())
	if err != nil {
		return fmt.Errorf("activations of %d rows: %w", r.options.MaxRows, err)
	}
	return r.allocateUpload()
}

// pageBytes is the memory of one KV page, all layers.
func (r *runner) pageBytes() int64 {
	p := r.program
	size := int64(2)
	if r.kernels.Element == tensor.F32 {
		size = 4
	}
	return 2 * size * int64(p.Layers) * int64(p.KVHeads) * int64(r.options.PageSize) * int64(p.HeadDim)
}

// allocateKV settles the number of pages, with what is free now that all else is there, and takes them.
func (r *runner) allocateKV() error {
	o := r.options
	page := max(r.pageBytes(), 1)
	r.pages = o.Pages
	if r.pages == 0 {
		ratio := o.MemoryRatio
		if ratio == 0 {
			ratio = defaultMemoryRatio
		}
		now := r.card.Info().MemoryFree
		budget := int64(ratio*float64(r.free)) - (r.free - now)
		r.pages = int(min(budget/page, 1<<31-1))
		if o.MaxPages > 0 {
			r.pages = min(r.pages, o.MaxPages)
		}
		if r.pages < 1 {
			return fmt.Errorf("%w: %s was free, of which weights and activations take %s and the memory ratio allows %.2f: nothing is left for a KV page of %s",
				device.ErrMemory, megabytes(r.free), megabytes(r.free-now), ratio, megabytes(page))
		}
	}
	bytes := int64(r.pages) * page
	if bytes/page != int64(r.pages) {
		return fmt.Errorf("%w: %d KV pages", device.ErrMemory, r.pages)
	}
	kv, err := r.alloc(bytes)
	if err != nil {
		return fmt.Errorf("%d KV pages of %d tokens: %w", r.pages, o.PageSize, err)
	}
	r.kv = kv
	r.memory.KV = bytes
	return r.card.Fill(kv, 0, bytes)
}

// cache returns where a layer's keys and values begin.
func (r *runner) cache(layer int) (keys, values driver.Ptr) {
	half := int64(r.pages) * r.pageBytes() / int64(2*r.program.Layers)
	keys = r.kv.Offset(2 * half * int64(layer))
	return keys, keys.Offset(half)
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

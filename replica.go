package minisgl

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/klauspost/cpuid/v2"

	"minisgl/device"
	"minisgl/internal/shadow"
	"minisgl/scheduler"
	"minisgl/scheduler/engine"
	"minisgl/tensor"
)

// A replica is one device with the model on it and an engine of its own: KV pages, prefix cache, scheduler, goroutine.
type replica struct {
	name    string // the device's; where several have the same, with the replica's number: "cpu#1"
	threads int    // as given to device.Open
	device  device.Device
	info    device.Info
	runner  device.Runner
	engine  *engine.Engine
	lost    atomic.Bool // the engine has ended by itself: its device is taken out

	shadow       *shadow.Shadow // nil: none
	shadowDevice device.Device  // likewise
}

// sharedMemoryRatio is the memory ratio of engines that share a device, together, where none is asked for: the lowest of the devices'
// own defaults.
const sharedMemoryRatio = 0.7

// openDevices opens the devices that Options.Device names, with a replica for each. What is open is in l.replicas even after an error.
func (l *LLM) openDevices() error {
	specs := strings.Split(l.options.Device, ",")
	for i, spec := range specs {
		specs[i] = strings.TrimSpace(spec)
		if specs[i] == "" && len(specs) > 1 {
			return fmt.Errorf("device list %q: a name is missing", l.options.Device)
		}
	}
	for i, spec := range specs {
		if err := l.openDevice(spec, threadsOf(specs, i, l.options.Threads)); err != nil {
			return err
		}
	}
	if l.options.AllDevices && len(specs) == 1 {
		l.openOthers(specs[0])
	}
	names := make([]string, len(l.replicas))
	for i, r := range l.replicas {
		names[i] = r.info.Name
	}
	for i, r := range l.replicas {
		r.name = names[i]
		if slices.Index(names, r.name) != i || slices.Contains(names[i+1:], r.name) {
			r.name += "#" + strconv.Itoa(i)
		}
	}
	return nil
}

func (l *LLM) openDevice(spec string, threads int) error {
	d, notes, err := device.Open(spec, threads)
	for _, note := range notes {
		l.log.Warn(note)
	}
	if err != nil {
		return err
	}
	l.replicas = append(l.replicas, &replica{device: d, info: d.Info(), threads: threads})
	return nil
}

// openOthers opens all other devices of the kind that "auto" has chosen. Like "auto" itself it passes over those that are not usable.
func (l *LLM) openOthers(spec string) {
	name, variant, hasVariant := strings.Cut(spec, "+")
	if name != "auto" && name != "" {
		return
	}
	if hasVariant {
		variant = "+" + variant
	}
	first := l.replicas[0].info.Name
	kind := driverOf(first)
	for _, driver := range device.Drivers() {
		if driver.Name != kind || driver.Count == nil {
			continue
		}
		for i := range driver.Count() {
			other := kind + ":" + strconv.Itoa(i) + variant
			if other == first {
				continue
			}
			if err := l.openDevice(other, l.options.Threads); err != nil {
				l.log.Warn(fmt.Sprintf("device auto: %s is not usable: %v", other, err))
			}
		}
	}
}

// threadsOf is how many threads the i-th device gets: as many as were asked for, else its share of the cores where several devices of
// a kind are to compute on them.
func threadsOf(specs []string, i, asked int) int {
	kin, before := 0, 0
	for k, spec := range specs {
		if driverOf(spec) == driverOf(specs[i]) {
			kin++
			if k < i {
				before++
			}
		}
	}
	if asked != 0 || kin == 1 {
		return asked
	}
	cores := cores()
	return max(1, cores*(before+1)/kin-cores*before/kin)
}

// cores is how many threads can compute at full speed: the hyperthreads of a core share its arithmetic.
func cores() int {
	threads := runtime.GOMAXPROCS(0)
	if perCore := cpuid.CPU.ThreadsPerCore; perCore > 1 && threads == runtime.NumCPU() {
		threads = max(threads/perCore, 1)
	}
	return threads
}

// driverOf is "cpu" in "cpu+generic", "cuda" in "cuda:1".
func driverOf(spec string) string {
	if i := strings.IndexAny(spec, ":+"); i >= 0 {
		return spec[:i]
	}
	return spec
}

// place is the device without its variant: replicas of one place share its memory.
func (r *replica) place() string {
	place, _, _ := strings.Cut(r.info.Name, "+")
	return place
}

// load brings the model to the device and starts the engine. Those before it in l.replicas are loaded, and what they were promised of a
// memory that they share is not promised again.
func (l *LLM) load(r *replica) (err error) {
	o, program := l.options, l.checkpoint.Program
	if o.MaxStepTokens == 0 {
		o.MaxStepTokens = r.stepTokens()
	}
	pagesPerSeq := (l.maxSeqLen + o.PageSize - 1) / o.PageSize
	kv, err := parseKVDType(o.KVDType)
	if err != nil {
		return err
	}
	weights, err := parseQuantize(o.Quantize)
	if err != nil {
		return err
	}
	activations, err := parseDType(o.DType)
	if err != nil {
		return err
	}
	if activations != tensor.BF16 {
		activations = tensor.Invalid // only bfloat16 is a wish for speed
	}
	load := device.LoadOptions{
		PageSize: o.PageSize, KV: kv, Weights: weights, Activations: activations, Pages: o.NumPages, MemoryRatio: l.memoryRatio(r), MaxPages: o.MaxRunning*pagesPerSeq + 1,
		MaxSlots: o.MaxRunning, MaxRows: max(o.MaxStepTokens, o.MaxRunning), GraphMaxBatch: max(o.GraphMaxBatch, 0),
		Progress: func(done float64) { o.Progress("loading "+l.Name(), done) },
	}
	if r.runner, err = r.device.Load(program, load); err != nil {
		return fmt.Errorf("loading %s on %s: %w", l.Name(), r.name, err)
	}
	if err := l.checkSharedMemory(r); err != nil {
		return fmt.Errorf("loading %s on %s: %w", l.Name(), r.name, err)
	}
	config := scheduler.Config{
		PageSize: o.PageSize, NumPages: r.runner.Pages(), MaxRunning: o.MaxRunning, MaxStepTokens: o.MaxStepTokens,
		MaxSeqLen: l.maxSeqLen, MaxQueue: o.MaxQueue, Policy: o.Policy, Cache: o.Cache, LookPast: o.LookPast, Vocab: program.Vocab,
		Planner: o.Planner,
	}
	if err = l.startShadow(r, load); err != nil {
		return err
	}
	if r.shadow != nil {
		config.Shadow = r.shadow
	}
	r.engine, err = engine.New(r.runner, engine.Options{Scheduler: config, NoOverlap: o.NoOverlap})
	return err
}

// stepTokens is the token budget of a step where none is asked for.
func (r *replica) stepTokens() int {
	if r.info.StepTokens == 0 {
		return DefaultStepTokens
	}
	return r.info.StepTokens
}

// memoryRatio is the share of the free memory for a replica. Each of several on a device gets the same part of what was asked for, and of
// what is free when its turn comes, so that all together stay within it, whether the device takes memory when it loads (a card) or when
// it is first written to (the CPU).
func (l *LLM) memoryRatio(r *replica) float64 {
	sharers := 0
	for _, other := range l.replicas {
		if other.place() == r.place() {
			sharers++
		}
	}
	ratio := l.options.MemoryRatio
	if sharers == 1 {
		return ratio
	}
	if ratio == 0 {
		ratio = sharedMemoryRatio
	}
	return ratio / float64(sharers)
}

// checkSharedMemory finds what no device can: several engines that each fit the memory they share, but not together.
func (l *LLM) checkSharedMemory(r *replica) error {
	var taken int64
	sharers := 0
	for _, other := range l.replicas {
		if other.runner != nil && other.place() == r.place() {
			m := other.runner.Memory()
			taken += m.Weights + m.KV + m.Scratch
			sharers++
		}
	}
	if free := r.info.MemoryFree; sharers > 1 && free > 0 && taken > free {
		return fmt.Errorf("%w: %d engines on %s take %.1f MB together, and %.1f MB were free before the first", device.ErrMemory, sharers, r.place(),
			float64(taken)/1e6, float64(free)/1e6)
	}
	return nil
}

// close frees what the replica holds, whose engine has ended.
func (r *replica) close() (errs []error) {
	if r.runner != nil {
		errs = append(errs, r.runner.Close())
	}
	errs = append(errs, r.closeShadow())
	if r.device != nil {
		errs = append(errs, r.device.Close())
	}
	return errs
}

// fault puts the device's name before an error of it.
func (r *replica) fault(err error) error { return fmt.Errorf("device %s: %w", r.name, err) }

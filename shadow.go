package minisgl

import (
	"errors"
	"fmt"
	"runtime"

	"minisgl/device"
	"minisgl/internal/shadow"
)

// Shadow says what runs beside the engine and is compared with it, without changing an answer; see docs/shadow.md. The zero value is
// nothing.
type Shadow struct {
	Planner bool   // compare each step with what the planner that does not serve makes of it
	Device  string // a second device that follows the first on half as many threads, and whose greedy tokens are compared; "": none

	Report   string // file that divergences are appended to, as JSON lines
	MaxDiffs int    // divergences that are reported; 0: DefaultShadowDiffs
	EveryN   int    // each how many steps are compared; 0: all
	Queue    int    // steps that the device may be behind before it passes some over; 0: a few
}

// DefaultShadowDiffs is the default of Shadow.MaxDiffs.
const DefaultShadowDiffs = 128

// ShadowCounts is what has been compared so far, and how much of it differed.
type ShadowCounts = shadow.Counts

func (s Shadow) withDefaults() (Shadow, error) {
	for name, value := range map[string]int{"Shadow.MaxDiffs": s.MaxDiffs, "Shadow.EveryN": s.EveryN, "Shadow.Queue": s.Queue} {
		if value < 0 {
			return s, fmt.Errorf("%s is %d: it cannot be negative", name, value)
		}
	}
	setDefault(&s.MaxDiffs, DefaultShadowDiffs)
	setDefault(&s.EveryN, 1)
	return s, nil
}

// ErrShadowDevice is the error of a Shadow.Device that cannot be used.
var ErrShadowDevice = errors.New("shadow device")

// startShadow opens what is to run beside a replica's engine, and puts it between engine and runner.
func (l *LLM) startShadow(r *replica, load device.LoadOptions) error {
	o := l.options.Shadow
	if !o.Planner && o.Device == "" {
		return nil
	}
	r.shadow = shadow.New(shadow.Options{PageSize: load.PageSize, Planner: o.Planner, Primary: l.options.Planner.String(),
		Second: l.options.Planner.Other().String(), Report: o.Report, MaxDiffs: o.MaxDiffs, EveryN: o.EveryN, Logger: l.log})
	if o.Device == "" {
		return nil
	}
	threads := r.threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var err error
	if r.shadowDevice, _, err = device.Open(o.Device, max(1, threads/2)); err != nil {
		return fmt.Errorf("%w: %w", ErrShadowDevice, err)
	}
	load.Pages, load.MemoryRatio = r.runner.Pages(), 0
	second, err := r.shadowDevice.Load(l.checkpoint.Program, load)
	if err != nil {
		return fmt.Errorf("%w: loading %s on %s (with the %d KV pages of the primary): %w", ErrShadowDevice, l.Name(), o.Device, load.Pages, err)
	}
	r.runner = r.shadow.Beside(r.runner, second, shadow.MirrorOptions{Primary: r.name, Second: r.shadowDevice.Info().Name,
		MaxRows: load.MaxRows, MaxSlots: load.MaxSlots, Queue: o.Queue})
	return nil
}

// closeShadow is called when the runner has been closed.
func (r *replica) closeShadow() (err error) {
	if r.shadow == nil {
		return nil
	}
	if r.shadowDevice != nil {
		err = r.shadowDevice.Close()
	}
	return errors.Join(r.shadow.Close(), err)
}

// logShadow says at the end what was found.
func (l *LLM) logShadow() {
	if len(l.replicas) > 0 && l.replicas[0].shadow != nil {
		l.log.Info(fmt.Sprintf("Shadow complete | %v", l.ShadowCounts()))
	}
}

// ShadowCounts tells what the shadow has compared so far, beside all engines together.
func (l *LLM) ShadowCounts() (sum ShadowCounts) {
	for _, r := range l.replicas {
		if r.shadow == nil {
			continue
		}
		c := r.shadow.Counts()
		sum.Steps += c.Steps
		sum.Outputs += c.Outputs
		sum.Skipped += c.Skipped
		sum.Divergences += c.Divergences
	}
	return sum
}

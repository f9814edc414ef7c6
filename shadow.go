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

// startShadow opens what is to run beside the engine, and puts it between engine and runner.
func (l *LLM) startShadow(program *device.Program, load device.LoadOptions) error {
	o := l.options.Shadow
	if !o.Planner && o.Device == "" {
		return nil
	}
	l.shadow = shadow.New(shadow.Options{PageSize: load.PageSize, Planner: o.Planner, Primary: l.options.Planner.String(),
		Second: l.options.Planner.Other().String(), Report: o.Report, MaxDiffs: o.MaxDiffs, EveryN: o.EveryN, Logger: l.log})
	if o.Device == "" {
		return nil
	}
	threads := l.options.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var err error
	if l.shadowDevice, _, err = device.Open(o.Device, max(1, threads/2)); err != nil {
		return fmt.Errorf("shadow: %w", err)
	}
	load.Pages, load.MemoryRatio = l.runner.Pages(), 0
	second, err := l.shadowDevice.Load(program, load)
	if err != nil {
		return fmt.Errorf("loading %s on the shadow device %s (with the %d KV pages of the primary): %w", l.Name(), o.Device, load.Pages, err)
	}
	l.runner = l.shadow.Beside(l.runner, second, shadow.MirrorOptions{Primary: l.info.Name, Second: l.shadowDevice.Info().Name,
		MaxRows: load.MaxRows, MaxSlots: load.MaxSlots, Queue: o.Queue})
	return nil
}

// closeShadow is called when the runner has been closed, and says what was found.
func (l *LLM) closeShadow() (err error) {
	if l.shadow == nil {
		return nil
	}
	l.log.Info(fmt.Sprintf("Shadow complete | %v", l.shadow.Counts()))
	if l.shadowDevice != nil {
		err = l.shadowDevice.Close()
	}
	return errors.Join(l.shadow.Close(), err)
}

// ShadowCounts tells what the shadow has compared so far.
func (l *LLM) ShadowCounts() (c ShadowCounts) {
	if l.shadow != nil {
		c = l.shadow.Counts()
	}
	return c
}

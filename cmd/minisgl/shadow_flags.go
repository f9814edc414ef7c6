package main

import (
	"fmt"

	"minisgl"
	"minisgl/scheduler"
)

// shadowFlags choose the planner that serves and what runs beside it. Each flag has a variable, which counts where the flag is not given.
type shadowFlags struct {
	CPUBackend     *string `name:"cpu-backend" group:"Shadow mode" placeholder:"NAME" help:"Planner that serves: optimized or reference (MINISGL_CPU_BACKEND; rust_hotpath and python are other names for them)."`
	Shadow         *bool   `group:"Shadow mode" help:"Compare every step with what the other planner makes of it (MINISGL_CPU_BACKEND_SHADOW)."`
	ShadowReport   *string `group:"Shadow mode" placeholder:"FILE" help:"JSON lines that divergences are appended to (MINISGL_CPU_BACKEND_SHADOW_REPORT)."`
	ShadowMaxDiffs *int    `group:"Shadow mode" placeholder:"128" help:"Divergences to report at most (MINISGL_CPU_BACKEND_SHADOW_MAX_DIFFS)."`
	ShadowEveryN   *int    `name:"shadow-every-n" group:"Shadow mode" placeholder:"1" help:"Compare each N-th step (MINISGL_CPU_BACKEND_SHADOW_EVERY_N)."`
	ShadowDevice   *string `group:"Shadow mode" placeholder:"DEVICE" help:"A second device, whose greedy tokens are compared with the first one's (MINISGL_CPU_BACKEND_SHADOW_DEVICE)."`
}

const shadowVariable = "MINISGL_CPU_BACKEND_SHADOW"

// set fills in the options of the planner and the shadow.
func (f *shadowFlags) set(o *minisgl.Options, io streams) error {
	planner, where := io.getenv("MINISGL_CPU_BACKEND"), "MINISGL_CPU_BACKEND="
	if f.CPUBackend != nil {
		planner, where = *f.CPUBackend, "--cpu-backend "
	}
	var err error
	if planner != "" || f.CPUBackend != nil {
		if o.Planner, err = scheduler.ParsePlanner(planner); err != nil {
			return fmt.Errorf("%s%w", where, err)
		}
	}
	s := &o.Shadow
	s.Report, s.Device = io.getenv(shadowVariable+"_REPORT"), io.getenv(shadowVariable+"_DEVICE")
	if s.Planner, err = envBool(io, shadowVariable, false); err != nil {
		return err
	}
	if s.MaxDiffs, err = envInt(io, shadowVariable+"_MAX_DIFFS", minisgl.DefaultShadowDiffs, 1); err != nil {
		return err
	}
	if s.EveryN, err = envInt(io, shadowVariable+"_EVERY_N", 1, 1); err != nil {
		return err
	}
	override(&s.Planner, f.Shadow)
	override(&s.Report, f.ShadowReport)
	override(&s.Device, f.ShadowDevice)
	override(&s.MaxDiffs, f.ShadowMaxDiffs)
	override(&s.EveryN, f.ShadowEveryN)
	if s.MaxDiffs < 1 {
		return fmt.Errorf("--shadow-max-diffs %d: expected at least 1", s.MaxDiffs)
	}
	if s.EveryN < 1 {
		return fmt.Errorf("--shadow-every-n %d: expected at least 1", s.EveryN)
	}
	return nil
}

// shadowDeviceName is what an error about the shadow device begins with: the flag or the variable that has named it.
func (f *shadowFlags) shadowDeviceName() string {
	if f.ShadowDevice != nil {
		return "--shadow-device "
	}
	return shadowVariable + "_DEVICE="
}

func override[T any](field *T, flag *T) {
	if flag != nil {
		*field = *flag
	}
}

package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/klauspost/cpuid/v2"

	"minisgl/device"
	"minisgl/model"
)

type infoCmd struct {
	Model string `arg:"" optional:"" help:"A local folder or .gguf file to describe, too."`
}

func (c *infoCmd) Run(ctx context.Context, io streams) error {
	fmt.Fprintf(io.out, "minisgl %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(io.out, "processor: %s, %d cores, features %v\n", cpuid.CPU.BrandName, runtime.NumCPU(), cpuid.CPU.FeatureSet())
	for _, driver := range device.Drivers() {
		fmt.Fprintf(io.out, "device %s: %s\n", driver.Name, driver.Help)
		specs := []string{driver.Name}
		if driver.Count != nil {
			for i := 1; i < driver.Count(); i++ {
				specs = append(specs, fmt.Sprintf("%s:%d", driver.Name, i))
			}
		}
		for _, spec := range specs {
			if err := describe(io, spec); err != nil {
				return err
			}
		}
	}
	if c.Model == "" {
		return nil
	}
	checkpoint, err := model.Open(c.Model, model.Options{})
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	fmt.Fprintf(io.out, "model %s: %+v\n", c.Model, checkpoint.Config)
	return nil
}

// describe shows a device, or why it is not usable.
func describe(io streams, spec string) error {
	d, _, err := device.Open(spec, 0)
	if err != nil {
		fmt.Fprintf(io.out, "  not usable: %v\n", err)
		return nil
	}
	info := d.Info()
	fmt.Fprintf(io.out, "  %s: %s\n  kernels: %s\n  memory: %s free of %s\n", info.Name, info.Description, info.Kernels, gib(info.MemoryFree), gib(info.MemoryTotal))
	return d.Close()
}

func gib(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }

type versionCmd struct{}

func (versionCmd) Run(io streams) error {
	fmt.Fprintln(io.out, "minisgl", version())
	return nil
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel " + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

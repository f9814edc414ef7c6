package device

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Driver opens devices of one kind. Packages register theirs in an init function.
type Driver struct {
	Name string // "cpu"; no ':' or '+'
	Help string // one line: "CPU with SIMD kernels (variants: generic, avx2, avx512)"
	// Auto ranks the driver for the spec "auto": the highest that opens wins. 0: only by name.
	Auto int
	// Count is how many devices there are; with their indices they are "cuda:0", "cuda:1" and so on. nil: one, without index.
	Count func() int
	Open  func(OpenOptions) (Device, error)
}

// OpenOptions says which of a driver's devices to open.
type OpenOptions struct {
	Spec    string // as the user wrote it, for messages
	Index   string // what stands behind ':' in the spec: "0" in "cuda:0"; "" if nothing does
	Variant string // what stands behind '+': "generic" in "cpu+generic"; "" for the best there is
	Threads int    // 0: as many as there are cores
}

var registry struct {
	sync.Mutex
	drivers []Driver
}

// Register makes a driver available. Registering a name twice panics.
func Register(d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if slices.ContainsFunc(registry.drivers, func(o Driver) bool { return o.Name == d.Name }) {
		panic("device: driver " + d.Name + " registered twice")
	}
	registry.drivers = append(registry.drivers, d)
	slices.SortFunc(registry.drivers, func(a, b Driver) int { return strings.Compare(a.Name, b.Name) })
}

// Drivers returns the registered drivers by name.
func Drivers() []Driver {
	registry.Lock()
	defer registry.Unlock()
	return slices.Clone(registry.drivers)
}

// Open opens the device that a spec of the form name[:index][+variant] names, or the best one there is for "auto" and
// "". Notes are lines worth showing to the user: why "auto" passed over a better device.
func Open(spec string, threads int) (d Device, notes []string, err error) {
	if spec == "" {
		spec = "auto"
	}
	rest, variant, _ := strings.Cut(spec, "+")
	name, index, _ := strings.Cut(rest, ":")
	options := OpenOptions{Spec: spec, Index: index, Variant: variant, Threads: threads}
	drivers := Drivers()
	if name != "auto" {
		for _, driver := range drivers {
			if driver.Name == name {
				d, err = driver.Open(options)
				if err != nil {
					return nil, nil, fmt.Errorf("device %q: %w", spec, err)
				}
				return d, nil, nil
			}
		}
		names := []string{"auto"}
		for _, driver := range drivers {
			names = append(names, driver.Name)
		}
		return nil, nil, fmt.Errorf("unknown device %q: this build has %s", spec, strings.Join(names, ", "))
	}
	slices.SortStableFunc(drivers, func(a, b Driver) int { return b.Auto - a.Auto })
	for _, driver := range drivers {
		if driver.Auto == 0 {
			continue
		}
		if d, err = driver.Open(options); err == nil {
			return d, notes, nil
		}
		notes = append(notes, fmt.Sprintf("device auto: %s is not usable: %v", driver.Name, err))
	}
	return nil, notes, fmt.Errorf("no device is usable: %s", strings.Join(notes, "; "))
}

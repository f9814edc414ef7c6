package parity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"minisgl"
	"minisgl/scheduler"
)

// A Side is one of the two ways to run the engine that are compared.
type Side struct {
	Spec    string // as the user wrote it
	Device  string // "auto", or a device's spec
	Threads int    // 0: all cores

	planner   scheduler.Planner
	cache     scheduler.CacheKind
	noOverlap bool
	page      int // tokens of a KV page
	chunk     int // token budget of a step; 0: the profile's
	running   int // requests that run at once; 0: all
}

// ParseSide reads "NAME[,KEY=VALUE…]". NAME is a device's spec (cpu, cpu+generic, cuda:0, reference) or a planner's name
// (optimized, rust_hotpath, python); the plain planner's name, reference, is also a device's, so it is written
// planner=reference. Without NAME the device is auto. Keys are
//
//	cache=radix|naive  overlap=on|off  threads=N  page=N  chunk=N  running=N  planner=NAME
//
// chunk is the token budget of a step, so also the largest piece of a prompt; running bounds the requests in a step.
func ParseSide(spec string) (Side, error) {
	s := Side{Spec: spec, Device: "auto", page: minisgl.DefaultPageSize}
	var seen []string
	for i, part := range strings.Split(spec, ",") {
		key, value, hasValue := strings.Cut(part, "=")
		if !hasValue {
			if i > 0 || part == "" {
				return Side{}, fmt.Errorf("backend %q: %q is not KEY=VALUE", spec, part)
			}
			if _, err := scheduler.ParsePlanner(part); err != nil || part == referenceName {
				s.Device = part
				continue
			}
			key, value = "planner", part
		}
		if slices.Contains(seen, key) {
			return Side{}, fmt.Errorf("backend %q: %s is given twice", spec, key)
		}
		seen = append(seen, key)
		if err := s.set(key, value); err != nil {
			return Side{}, fmt.Errorf("backend %q: %w", spec, err)
		}
	}
	return s, nil
}

func (s *Side) set(key, value string) error {
	switch key {
	case "cache":
		return choose(&s.cache, key, value, map[string]scheduler.CacheKind{"radix": scheduler.Radix, "naive": scheduler.Naive})
	case "overlap":
		return choose(&s.noOverlap, key, value, map[string]bool{"on": false, "off": true})
	case "planner":
		var err error
		s.planner, err = scheduler.ParsePlanner(value)
		return err
	}
	numbers := map[string]*int{"threads": &s.Threads, "page": &s.page, "chunk": &s.chunk, "running": &s.running}
	field := numbers[key]
	if field == nil {
		return fmt.Errorf("unknown key %q: there are cache, overlap, threads, page, chunk, running, planner", key)
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("%s=%s: expected a whole number from 1 on", key, value)
	}
	*field = int(n)
	return nil
}

func choose[T any](field *T, key, value string, choices map[string]T) error {
	chosen, known := choices[value]
	if !known {
		var names []string
		for name := range choices {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("%s=%s: expected one of %s", key, value, strings.Join(names, ", "))
	}
	*field = chosen
	return nil
}

// apply writes what the side chooses into options.
func (s *Side) apply(o *minisgl.Options) {
	o.Device, o.Threads, o.Planner, o.Cache = s.Device, s.Threads, s.planner, s.cache
	o.NoOverlap, o.PageSize = s.noOverlap, s.page
	if s.chunk > 0 {
		o.MaxStepTokens = s.chunk
	}
	if s.running > 0 {
		o.MaxRunning = s.running
	}
}

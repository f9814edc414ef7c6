package parity

import (
	"strings"
	"testing"

	"minisgl"
	"minisgl/scheduler"
)

func TestParseSide(t *testing.T) {
	for spec, want := range map[string]minisgl.Options{
		"cpu":                   {Device: "cpu", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8},
		"cpu+avx2":              {Device: "cpu+avx2", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8},
		"cuda:0,overlap=off":    {Device: "cuda:0", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8, NoOverlap: true},
		"reference":             {Device: "reference", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8},
		"optimized":             {Device: "auto", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8},
		"rust_hotpath,page=64":  {Device: "auto", PageSize: 64, MaxStepTokens: 4096, MaxRunning: 8},
		"python":                {Device: "auto", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8, Planner: scheduler.Reference},
		"cpu,planner=reference": {Device: "cpu", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8, Planner: scheduler.Reference},
		"cache=naive":           {Device: "auto", PageSize: 16, MaxStepTokens: 4096, MaxRunning: 8, Cache: scheduler.Naive},
		"cpu,cache=radix,overlap=on,threads=1,page=1,chunk=7,running=2,planner=optimized": {Device: "cpu", Threads: 1, PageSize: 1,
			MaxStepTokens: 7, MaxRunning: 2},
	} {
		side, err := ParseSide(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		got := minisgl.Options{MaxStepTokens: 4096, MaxRunning: 8}
		side.apply(&got)
		if got.Device != want.Device || got.Threads != want.Threads || got.PageSize != want.PageSize || got.MaxStepTokens != want.MaxStepTokens ||
			got.MaxRunning != want.MaxRunning || got.Planner != want.Planner || got.Cache != want.Cache || got.NoOverlap != want.NoOverlap {
			t.Errorf("%s: got %+v, want %+v", spec, got, want)
		}
	}
}

func TestParseSideErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"":                    `"" is not KEY=VALUE`,
		"cpu,generic":         `"generic" is not KEY=VALUE`,
		"cpu,cache=lru":       "cache=lru: expected one of naive, radix",
		"cpu,overlap=yes":     "overlap=yes: expected one of off, on",
		"cpu,threads=0":       "threads=0: expected a whole number from 1 on",
		"cpu,page=2147483648": "page=2147483648: expected a whole number",
		"cpu,color=red":       `unknown key "color": there are cache`,
		"cpu,page=1,page=2":   "page is given twice",
		"cpu,planner=simple":  `"simple": expected optimized or reference`,
	} {
		_, err := ParseSide(spec)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "backend ") {
			t.Errorf("%q: error %v, want one that says %q", spec, err, want)
		}
	}
}

func FuzzParseSide(f *testing.F) {
	f.Add("cpu+avx2,cache=naive,overlap=off,threads=1,page=1,chunk=7")
	f.Add("planner=python")
	f.Add(",=,")
	f.Fuzz(func(t *testing.T, spec string) {
		side, err := ParseSide(spec)
		if err == nil && (side.Device == "" || side.page < 1 || side.Threads < 0 || side.chunk < 0 || side.running < 0) {
			t.Errorf("%q gives %+v", spec, side)
		}
	})
}

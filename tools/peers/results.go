package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
)

// A section is what --sections names; its records are written after each round.
type section struct {
	*config
	name    string
	round   int
	memory  *memory
	records []record
}

const (
	ours   = "minisgl"
	theirs = "llama.cpp"
)

// A value is what was measured of a figure. Streams are those that are decoded behind a context; 0 where memory is not the limit.
type value struct {
	figure, unit     string
	value            float64
	streams, context int
}

// A record is one value of one round.
type record struct {
	Round   int     `json:"round"`
	Run     string  `json:"run"` // weights, or the load of a server
	Figure  string  `json:"figure"`
	Who     string  `json:"who"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Read    float64 `json:"memory_bytes_per_s,omitzero"` // that memory gave just before and after
	Limit   float64 `json:"memory_limit_tok_s,omitzero"` // what a decode step's bytes allow at that rate
	Foreign float64 `json:"others_share"`                // of the machine
}

// sectionFile is DIR/SECTION.json.
type sectionFile struct {
	Section string    `json:"section"`
	Written time.Time `json:"written"`
	Machine string    `json:"machine"`
	Threads int       `json:"threads"`
	Records []record  `json:"records"`
}

func (s *section) save() error {
	file := sectionFile{Section: s.name, Written: time.Now().UTC(), Machine: processorName(), Threads: s.threads, Records: s.records}
	data, err := json.MarshalIndent(&file, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(s.name+".json"), append(data, '\n'), 0o644)
}

// load reads all sections that lie in the folder for results.
func (c *config) load() ([]sectionFile, error) {
	var files []sectionFile
	for _, name := range slices.Sorted(maps.Keys(estimates)) {
		data, err := os.ReadFile(c.path(name + ".json"))
		if os.IsNotExist(err) {
			continue
		}
		var file sectionFile
		if err == nil {
			err = json.Unmarshal(data, &file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.path(name+".json"), err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no results", filepath.Clean(c.out))
	}
	return files, nil
}

// A comparison is all rounds of a figure.
type comparison struct {
	run, figure, unit string
	ours, theirs      []record
}

// compare puts the records of a figure together, run by run, in the order in which they were measured. What one of ours is compared with has the same
// weights and perhaps another type of activations.
func compare(records []record) []comparison {
	var all []comparison
	at := map[[2]string]int{}
	for _, r := range records {
		if r.Who != ours {
			continue
		}
		key := [2]string{r.Run, r.Figure}
		i, known := at[key]
		if !known {
			i = len(all)
			at[key] = i
			all = append(all, comparison{run: r.Run, figure: r.Figure, unit: r.Unit})
		}
		all[i].ours = append(all[i].ours, r)
	}
	var runs []string
	for _, c := range all {
		if !slices.Contains(runs, c.run) {
			runs = append(runs, c.run)
		}
	}
	slices.SortStableFunc(all, func(a, b comparison) int { return slices.Index(runs, a.run) - slices.Index(runs, b.run) })
	for i := range all {
		c := &all[i]
		for _, r := range records {
			if r.Who != ours && r.Figure == c.figure && r.Run == opponent(c.run) {
				c.theirs = append(c.theirs, r)
			}
		}
	}
	return all
}

// opponent is the run of llama.cpp that one of ours is compared with: the same weights.
func opponent(run string) string {
	weights, _, _ := strings.Cut(run, ",")
	return weights
}

// ratios are ours : theirs, round by round.
func (c *comparison) ratios() []float64 {
	var ratios []float64
	for _, our := range c.ours {
		for _, their := range c.theirs {
			if our.Round == their.Round {
				ratios = append(ratios, our.Value/their.Value)
			}
		}
	}
	return ratios
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// processorName is what the processor calls itself.
func processorName() string {
	if name := cpuid.CPU.BrandName; name != "" {
		return name
	}
	return runtime.GOARCH
}

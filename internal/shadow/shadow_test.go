package shadow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"minisgl/device"
	"minisgl/internal/shadow"
	"minisgl/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tampered is a shadow whose second planner has a fault: change spoils what it makes of a step.
type tampered struct {
	*shadow.Shadow
	change func(*device.Step)
}

func (s tampered) Planned(step *device.Step, ids []string, second func(*device.Step)) {
	s.Shadow.Planned(step, ids, func(other *device.Step) {
		second(other)
		s.change(other)
	})
}

type silent struct{}

func (silent) Score(int, device.Result) {}
func (silent) Token(device.Result)      {}
func (silent) Start(int)                {}
func (silent) Finish(scheduler.Finish)  {}

// plan plans so many steps of two requests, with the prompts [5 6 7 8 9] and [3 4] in pages of 4 tokens, beside the other planner, whose
// steps change spoils, and returns what the report says. The first step has both prompts; every token drawn is 1.
func plan(t *testing.T, o shadow.Options, planner scheduler.Planner, steps int, change func(*device.Step)) ([]shadow.Record, *shadow.Shadow) {
	t.Helper()
	if o.Report == "" {
		o.Report = filepath.Join(t.TempDir(), "report.jsonl")
	}
	o.PageSize, o.Planner, o.Primary, o.Second = 4, true, planner.String(), planner.Other().String()
	o.EveryN, o.MaxDiffs = max(o.EveryN, 1), max(o.MaxDiffs, 1)
	s := shadow.New(o)
	scheduling, err := scheduler.New(scheduler.Config{PageSize: 4, NumPages: 40, MaxRunning: 4, MaxStepTokens: 64, MaxSeqLen: 60, MaxQueue: 4, Vocab: 10,
		Planner: planner, Shadow: tampered{s, change}})
	if err != nil {
		t.Fatal(err)
	}
	penalised := device.Greedy()
	penalised.PresencePenalty, penalised.Seed = 1, 77
	for _, r := range []*scheduler.Request{
		{ID: "first", Prompt: []int32{5, 6, 7, 8, 9}, MaxTokens: 40, ScoreFrom: 3, Sampling: device.Greedy(), Sink: silent{}},
		{ID: "second", Prompt: []int32{3, 4}, MaxTokens: 40, MinTokens: 1, ScoreFrom: -1, Sampling: penalised, Sink: silent{}},
	} {
		if err := scheduling.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for range steps {
		var step device.Step
		if !scheduling.Plan(&step) {
			t.Fatal("nothing is planned")
		}
		for i := range step.Results {
			step.Results[i].Token = 1
		}
		scheduling.Commit(&step, nil)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return records(t, o.Report), s
}

func records(t *testing.T, path string) (list []shadow.Record) {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var r shadow.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

func TestPlannedFaultsAreNamed(t *testing.T) {
	for _, planner := range []scheduler.Planner{scheduler.Optimized, scheduler.Reference} {
		for _, test := range []struct {
			name   string
			change func(*device.Step)
			want   []string // kind: reason
		}{
			{"no fault", func(*device.Step) {}, nil},
			{"off by one position", func(s *device.Step) { s.Sequences[1].Position++ }, []string{
				"positions: value mismatch at idx=5: 0 != 1",
				"write_pos: value mismatch at idx=5: 8 != 9",
			}},
			{"a row is missing", func(s *device.Step) { s.Tokens = s.Tokens[:6]; s.Sequences[1].Rows-- }, []string{
				"positions: shape mismatch: (7,) != (6,)",
				"input_mapping: shape mismatch: (12,) != (11,)",
				"write_req_mapping: shape mismatch: (31,) != (30,)",
				"write_pos: shape mismatch: (7,) != (6,)",
			}},
			{"another token", func(s *device.Step) { s.Tokens[2] = 3 }, []string{"input_mapping: value mismatch at idx=2: 7 != 3"}},
			{"a token that is not there yet", func(s *device.Step) { s.Tokens[6] = device.Sampled(1) }, []string{"input_mapping: value mismatch at idx=6: 4 != -2"}},
			{"another history", func(s *device.Step) { s.Resets[0].Prompt[1] = 9 }, []string{"input_mapping: value mismatch at idx=11: 4 != 9"}},
			{"no history", func(s *device.Step) { s.Resets = nil }, []string{"input_mapping: shape mismatch: (12,) != (7,)"}},
			{"another page", func(s *device.Step) { s.Sequences[0].Pages[1] = 7 }, []string{
				"input_positions: value mismatch at idx=1: 1 != 7",
				"write_pos: value mismatch at idx=4: 4 != 28",
			}},
			{"a page copied", func(s *device.Step) { s.Copies = []device.PageCopy{{Src: 8, Dst: 9, Tokens: 2}} }, []string{
				"input_positions: shape mismatch: (3,) != (5,)",
				"write_pos: shape mismatch: (7,) != (9,)",
			}},
			{"another slot", func(s *device.Step) { s.Sequences[0].Slot = 3 }, []string{"write_req_mapping: value mismatch at idx=0: 0 != 3"}},
			{"another score", func(s *device.Step) { s.Outputs[0].Target = 2 }, []string{"write_req_mapping: value mismatch at idx=9: 8 != 2"}},
			{"an output's position", func(s *device.Step) { s.Outputs[2].Position = 6 }, []string{"write_req_mapping: value mismatch at idx=22: 5 != 6"}},
			{"not suppressed", func(s *device.Step) { s.Outputs[3].Suppress = false }, []string{"write_req_mapping: value mismatch at idx=29: 1 != 0"}},
			{"another request's sampling", func(s *device.Step) { s.Outputs[3].Params = device.Greedy() }, []string{"write_req_mapping: value mismatch at idx=30: 77 != 0"}},
			{"it panics early", func(s *device.Step) { s.Sequences = nil; panic("page table of nothing") }, []string{"positions_exception: page table of nothing"}},
			{"it panics late", func(s *device.Step) { s.Outputs = s.Outputs[:1]; panic("no outputs") }, []string{"write_req_mapping_exception: no outputs"}},
			{"it panics last", func(s *device.Step) { panic("too late") }, []string{"write_pos_exception: too late"}},
			{"it makes nonsense", func(s *device.Step) { s.Sequences[0].Pages = s.Sequences[0].Pages[:1:1] }, []string{
				"input_positions_exception: runtime error: slice bounds out of range [:2] with capacity 1",
				"write_pos_exception: runtime error: index out of range [1] with length 1",
			}},
		} {
			t.Run(planner.String()+"/"+test.name, func(t *testing.T) {
				list, s := plan(t, shadow.Options{MaxDiffs: 100}, planner, 1, test.change)
				var got []string
				for _, r := range list {
					got = append(got, r.Kind+": "+r.Reason)
					if !slices.Equal(r.RequestIDs, []string{"first", "second"}) || r.PrimaryBackend != planner.String() || r.ShadowBackend != planner.Other().String() {
						t.Errorf("%+v", r)
					}
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if c := s.Counts(); c.Steps != 1 || c.Divergences != uint64(len(test.want)) {
					t.Errorf("%+v", c)
				}
			})
		}
	}
}

func TestAnExceptionIsForgotten(t *testing.T) {
	steps := 0
	list, s := plan(t, shadow.Options{MaxDiffs: 100}, scheduler.Reference, 5, func(s *device.Step) {
		if steps++; steps == 2 {
			s.Tokens = append(s.Tokens, 1)
			panic("once")
		}
	})
	if c := s.Counts(); len(list) != 1 || list[0].Kind != "input_mapping_exception" || list[0].Reason != "once" || c.Steps != 5 {
		t.Errorf("%+v, %+v", list, c)
	}
}

func TestCapsAndSampling(t *testing.T) {
	shift := func(s *device.Step) { s.Tokens[0] = 0 }
	for _, test := range []struct {
		maxDiffs, everyN               int
		records, steps, allDivergences int
	}{
		{100, 1, 12, 12, 12},
		{5, 1, 5, 12, 12},
		{100, 3, 4, 4, 4},
		{100, 5, 3, 3, 3},
		{2, 5, 2, 3, 3},
	} {
		list, s := plan(t, shadow.Options{MaxDiffs: test.maxDiffs, EveryN: test.everyN}, scheduler.Optimized, 12, shift)
		if c := s.Counts(); len(list) != test.records || int(c.Steps) != test.steps || int(c.Divergences) != test.allDivergences {
			t.Errorf("%+v: %d records, %+v", test, len(list), c)
		}
	}
}

func TestReportIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.jsonl")
	plan(t, shadow.Options{Report: path}, scheduler.Optimized, 3, func(*device.Step) {})
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without divergence there is a file: %v", err)
	}
	for range 2 {
		plan(t, shadow.Options{Report: path}, scheduler.Optimized, 1, func(s *device.Step) { s.Tokens[6] = 0 })
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%d lines, want 2:\n%s", len(lines)-1, text)
	}
	before, stamp, _ := strings.Cut(lines[0], `"timestamp_utc":"`)
	if want := `{"kind":"input_mapping","primary_backend":"optimized","reason":"value mismatch at idx=6: 4 != 0","req_uids":["first","second"],"shadow_backend":"reference",`; before != want {
		t.Errorf("got  %s\nwant %s", before, want)
	}
	when, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(stamp, "\"}\n"))
	if err != nil || time.Since(when) > time.Minute || !strings.HasSuffix(stamp, "+00:00\"}\n") {
		t.Errorf("timestamp %s: %v", stamp, err)
	}
}

func TestReportThatCannotBeWritten(t *testing.T) {
	s := shadow.New(shadow.Options{PageSize: 4, Planner: true, EveryN: 1, MaxDiffs: 2, Report: filepath.Join(t.TempDir(), "no", "such", "folder.jsonl")})
	for range 3 {
		s.Planned(&device.Step{Tokens: []int32{1}}, []string{"a"}, func(*device.Step) {})
	}
	if c := s.Counts(); c.Divergences != 3 {
		t.Errorf("%+v", c)
	}
	if err := s.Close(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "folder.jsonl") {
		t.Errorf("Close: %v", err)
	}
}

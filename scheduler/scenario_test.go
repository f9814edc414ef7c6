package scheduler

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"minisgl/device"
	"minisgl/device/fake"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios print into their files")

// TestScenarios replays testdata/*.txt. A file is a row of commands, each with what it printed below a line of dashes (as in etcd's
// raft tests). Commands:
//
//	config page-size=4 pages=8 …       starts anew; the keys are in newScenario
//	add ID prompt=1-8,20 max=3 …       queues a request; also priority=, stop=, min=, score-from=, penalised
//	plan                               plans a step and hands it to the device
//	commit                             waits for the oldest step in flight
//	step [n]                           plan and commit, n times
//	run                                plans and commits until all is quiet; two steps are in flight as long as there is work
//	abort ID
//	fail TEXT | lose | nan OUTPUT      what goes wrong with the step planned next
//	flush
//	stats
func TestScenarios(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) < 8 {
		t.Fatalf("only %d scenarios", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, strings.ReplaceAll(string(text), "\r\n", "\n"))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if want := strings.ReplaceAll(string(text), "\r\n", "\n"); got != want {
				line := 0
				a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
				for line < min(len(a), len(b)) && a[line] == b[line] {
					line++
				}
				t.Errorf("%s:%d differs (-rewrite accepts it). Got:\n%s", file, line+1, got)
			}
		})
	}
}

// replay returns the file with the output of each command in its place.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	var s *scenario
	inOutput := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case inOutput:
			if line == "" {
				inOutput = false
				out.WriteString("\n")
			}
		case line == "" || strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case line == "----":
			inOutput = true
		default:
			args := strings.Fields(line)
			if args[0] == "config" {
				s = newScenario(t, args[1:])
			} else {
				s.do(args)
			}
			if err := s.Check(); err != nil {
				s.print("%v", err)
			}
			fmt.Fprintf(&out, "%s\n----\n%s", line, s.takeOutput())
		}
	}
	return out.String()
}

// A scenario is a scheduler with a fake device; it prints what happens.
type scenario struct {
	*Scheduler
	t         *testing.T
	runner    device.Runner
	steps     [2]*device.Step
	submitted int
	faults    map[int]fake.Fault
	next      fake.Fault
	out       strings.Builder
}

func newScenario(t *testing.T, args []string) *scenario {
	v := map[string]int{"page-size": 4, "pages": 8, "running": 4, "budget": 100, "context": 1000, "queue": 10, "look-past": 0, "lpm": 0,
		"naive": 0, "growth": 0}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if _, known := v[key]; !known {
			t.Fatalf("config: unknown key %s", key)
		}
		v[key] = number(t, value)
	}
	config := Config{PageSize: v["page-size"], NumPages: v["pages"], MaxRunning: v["running"], MaxStepTokens: v["budget"], MaxSeqLen: v["context"],
		MaxQueue: v["queue"], LookPast: v["look-past"], Policy: Policy(v["lpm"]), Cache: CacheKind(v["naive"]), Vocab: 100}
	s := &scenario{t: t, faults: map[int]fake.Fault{}, steps: [2]*device.Step{{}, {}}}
	var err error
	if s.Scheduler, err = New(config); err != nil {
		t.Fatal(err)
	}
	s.growth = v["growth"]
	s.runner, err = fake.New(fake.Options{
		Run:         fake.AtWait,
		Fault:       func(step int) fake.Fault { return s.faults[step] },
		OnViolation: func(err error) { s.print("%v", err) },
	}).Load(fake.Program(config.Vocab, config.MaxSeqLen), device.LoadOptions{PageSize: config.PageSize, Pages: config.NumPages,
		MaxSlots: config.MaxRunning, MaxRows: config.MaxStepTokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.runner.Close() })
	return s
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// numbers reads "1-4,9" as 1, 2, 3, 4, 9.
func numbers(t *testing.T, text string) (list []int32) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		for n := number(t, first); n <= number(t, last); n++ {
			list = append(list, int32(n))
		}
	}
	return list
}

func (s *scenario) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *scenario) takeOutput() string {
	defer s.out.Reset()
	if s.out.Len() == 0 {
		return "ok\n"
	}
	return s.out.String()
}

func (s *scenario) do(args []string) {
	switch args[0] {
	case "add":
		s.add(args[1:])
	case "abort":
		s.Abort(args[1])
	case "plan":
		s.plan()
	case "commit":
		s.commit()
	case "step":
		n := 1
		if len(args) > 1 {
			n = number(s.t, args[1])
		}
		for range n {
			s.plan()
			s.commit()
		}
	case "run":
		for !s.Idle() {
			if s.plan() && s.inFlight < len(s.flights) {
				continue
			}
			s.commit()
		}
	case "fail":
		s.next.Err = errors.New(strings.Join(args[1:], " "))
	case "lose":
		s.next.Err = device.ErrLost
	case "nan":
		bad := number(s.t, args[1])
		s.next.NaN = func(output int) bool { return output == bad }
	case "flush":
		s.print("nothing was running: %v", s.FlushCache())
	case "stats":
		st := s.Stats()
		s.print("running %s, waiting %s", ids(s.running), ids(s.waiting))
		s.print("pages: %d free, %d cached, %d held", st.FreePages, st.CachedPages, st.HeldPages)
	default:
		s.t.Fatalf("unknown command %v", args)
	}
}

func ids(list []*request) string {
	names := []string{}
	for _, r := range list {
		names = append(names, r.ID)
	}
	return fmt.Sprint(names)
}

func (s *scenario) add(args []string) {
	p := device.Greedy()
	r := &Request{ID: args[0], MaxTokens: 1, ScoreFrom: -1, Sampling: p}
	c := &printer{s: s, request: r}
	r.Sink = c
	for _, arg := range args[1:] {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "prompt":
			r.Prompt = numbers(s.t, value)
		case "max":
			r.MaxTokens = number(s.t, value)
		case "min":
			r.MinTokens = number(s.t, value)
		case "priority":
			r.Priority = number(s.t, value)
		case "score-from":
			r.ScoreFrom = number(s.t, value)
		case "stop":
			r.StopIDs = numbers(s.t, value)
			p.Suppress = r.StopIDs
		case "penalised":
			p.PresencePenalty = 1
		default:
			s.t.Fatalf("add: unknown argument %s", arg)
		}
	}
	if err := s.Add(r); err != nil {
		s.print("%v", err)
	}
}

func (s *scenario) plan() bool {
	step := s.steps[s.inFlight]
	retracted := s.counters.Retractions
	planned := s.Plan(step)
	if planned {
		s.print("plan %d:", s.submitted)
	} else {
		s.print("plan: nothing")
	}
	if n := s.counters.Retractions - retracted; n > 0 {
		s.print("  %d retracted", n)
	}
	if !planned {
		return false
	}
	for _, c := range step.Copies {
		s.print("  copy %d tokens of page %d to page %d", c.Tokens, c.Src, c.Dst)
	}
	for _, r := range step.Resets {
		s.print("  reset slot %d: prompt %v, output %v", r.Slot, r.Prompt, r.Output)
	}
	for i, p := range s.flights[s.inFlight-1].pieces {
		q := step.Sequences[i]
		what := fmt.Sprintf("[%d, %d)", q.Position, q.Position+q.Rows)
		if token := step.Tokens[q.First]; token < 0 {
			what += " of the token in flight"
		}
		if p.scores > 0 {
			what += fmt.Sprintf(", scores %d", p.scores)
		}
		if p.draws {
			what += ", draws"
		}
		s.print("  %s: %s, pages %v", p.request.ID, what, q.Pages)
	}
	s.faults[s.submitted], s.next = s.next, fake.Fault{}
	s.runner.Submit(step)
	s.submitted++
	return true
}

func (s *scenario) commit() {
	if s.inFlight == 0 {
		s.print("commit: nothing is in flight")
		return
	}
	step := s.steps[0]
	s.print("commit %d:", s.submitted-s.inFlight)
	s.Commit(step, s.runner.Wait(step))
	s.steps[0], s.steps[1] = s.steps[1], step
}

// A printer is the sink of a scenario's request.
type printer struct {
	s       *scenario
	request *Request
	got     []int32
}

func (p *printer) Score(index int, r device.Result) {
	p.s.print("  %s: scored %d at %d", p.request.ID, r.Token, index)
}

func (p *printer) Token(r device.Result) {
	p.got = append(p.got, r.Token)
	p.s.print("  %s: token %d", p.request.ID, r.Token)
}

func (p *printer) Start(int) {}

func (p *printer) Finish(f Finish) {
	line := fmt.Sprintf("  %s: %v, prompt %d, cached %d, output %d", p.request.ID, f.Reason, f.Prompt, f.Cached, f.Output)
	if f.Err != nil {
		line += ": " + f.Err.Error()
	}
	p.s.print("%s", line)
	if want := fake.ContinueMin(p.request.Prompt, len(p.got), p.request.MinTokens, 100, p.request.Sampling); !slices.Equal(p.got, want) {
		p.s.print("  %s: WRONG TOKENS: %v, want %v", p.request.ID, p.got, want)
	}
}

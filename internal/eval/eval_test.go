package eval

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minisgl"
	"minisgl/device"
	"minisgl/internal/goldens"
	_ "minisgl/internal/parity/faults"
)

// run runs the goldens of tiny-tied, which transformers computed, on a device.
func run(t *testing.T, spec string, change func(*minisgl.Options)) *Report {
	t.Helper()
	g, err := Read("testdata/tiny-tied.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	o := minisgl.Options{Model: goldens.Get(t, "tiny-tied").Path, Device: spec, KVDType: "float32", NumPages: 512, MaxRunning: 32}
	if change != nil {
		change(&o)
	}
	llm, err := minisgl.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	r, err := Run(context.Background(), llm, g, Options{Limits: g.Limits, BatchInvariant: true, Progress: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.Print(&text)
	t.Log("\n" + text.String() + strings.Join(r.GateFailures, "\n"))
	return r
}

// The file's limits are 2e-4 for the largest error; the goldens themselves are good for about 1e-5.
func TestCorrectDevicesPass(t *testing.T) {
	for _, spec := range []string{"cpu", "cpu+generic", "reference"} {
		for name, change := range map[string]func(*minisgl.Options){
			"as it is":        nil,
			"chunks of 7":     func(o *minisgl.Options) { o.MaxStepTokens, o.PageSize = 7, 1 },
			"one at a time":   func(o *minisgl.Options) { o.MaxRunning = 1 },
			"a small KV pool": func(o *minisgl.Options) { o.NumPages = 140 },
		} {
			t.Run(spec+"/"+name, func(t *testing.T) {
				r := run(t, spec, change)
				if !r.GatePassed || len(r.Passes) != 4 || r.NumPositions != 94 {
					t.Errorf("the report is %+v", r)
				}
				for _, p := range r.Passes {
					// 64 of the likeliest tokens at each position, and the sequence's own.
					if p.Tokens != 94*65 || !p.Identical || !(p.MaxError > 0 && p.P99Error <= p.MaxError && p.MeanError < p.P99Error) {
						t.Errorf("the pass is %+v", p)
					}
				}
			})
		}
	}
}

func TestWrongScaleFails(t *testing.T) {
	r := run(t, "faulty:1+scale", nil)
	failures := strings.Join(r.GateFailures, "\n")
	if r.GatePassed {
		t.Fatal("the fault was not found")
	}
	worst := r.Passes[0].WorstError
	for _, want := range []string{"alone: max_regret ", "alone: mean_error ", "alone: p99_error ", "padded: max_error ", " > max 0.0002 (" + worst.String() + ")"} {
		if !strings.Contains(failures, want) {
			t.Errorf("the failures do not say %q:\n%s", want, failures)
		}
	}
	if strings.Contains(failures, "differs from the first pass") {
		t.Errorf("the device is wrong in the same way each time, but:\n%s", failures)
	}
}

func TestBatchVarianceFails(t *testing.T) {
	r := run(t, "faulty+crowd", nil)
	if len(r.GateFailures) != 2 || !strings.HasPrefix(r.GateFailures[0], "batched: differs from the first pass (sequence ") ||
		!strings.HasPrefix(r.GateFailures[1], "padded: differs from the first pass (sequence ") {
		t.Errorf("the failures are %q", r.GateFailures)
	}
}

func TestMeasure(t *testing.T) {
	g := &Goldens{Sequences: []Sequence{{Tokens: []int32{9, 5, 6}, First: 1, Logprobs: []float64{-1, -4},
		TopIDs: [][]int32{{5, 7}, {7, 8}}, TopLogprobs: [][]float64{{-1, -1.5}, {-0.5, -1}}}}}
	token := func(id int32, logprob float32, top ...device.TokenLogprob) minisgl.Token {
		return minisgl.Token{ID: id, Logprob: logprob, Top: top}
	}
	diverge := func(golden, ours float64) float64 { // of one of two positions
		return (math.Exp(golden)*(golden-ours) - math.Exp(golden) + math.Exp(ours)) / 2
	}
	top := func(id int32, logprob float32) device.TokenLogprob {
		return device.TokenLogprob{Token: id, Logprob: logprob}
	}
	for _, test := range []struct {
		name                       string
		got                        []minisgl.Token
		mean, largest, regret      float64
		differs                    int
		worstPosition, worstRegret int // 0: none
		divergence                 float64
	}{
		{"equal", []minisgl.Token{token(5, -1, top(5, -1), top(7, -1.5)), token(6, -4, top(7, -0.5), top(8, -1))}, 0, 0, 0, 0, 0, 0, 0},
		{"one is off", []minisgl.Token{token(5, -1, top(5, -1), top(7, -1.5)), token(6, -4, top(7, -0.5), top(8, -1.75))}, 0.75 / 6, 0.75, 0, 0, 2, 0, diverge(-1, -1.75)},
		{"another choice", []minisgl.Token{token(5, -1.5, top(7, -1), top(5, -1.5)), token(6, -4, top(7, -0.5), top(8, -1))}, 0.25, 0.5, 0.5, 1, 1, 1, diverge(-1, -1.5) + diverge(-1.5, -1)},
		{"a choice that is not listed: at least the last one's", []minisgl.Token{token(5, -1, top(5, -1), top(7, -1.5)), token(6, -4, top(3, -0.25), top(7, -0.5))},
			0, 0, 0.5, 1, 0, 2, 0},
		{"a listed token that we do not have is at most as likely as our last", []minisgl.Token{token(5, -1, top(5, -1), top(4, -1.75)),
			token(6, -4, top(7, -0.5), top(8, -1))}, 0.25 / 6, 0.25, 0, 0, 1, 0, diverge(-1.5, -1.75)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := g.measure("alone", scores{test.got})
			if p.Tokens != 6 || math.Abs(p.MeanError-test.mean) > 1e-12 || p.MaxError != test.largest || p.P99Error > p.MaxError ||
				p.MaxRegret != test.regret || p.ArgmaxDiffers != test.differs || p.SequencesDiffer != min(test.differs, 1) {
				t.Errorf("measured %+v", p)
			}
			if math.Abs(p.Divergence-test.divergence) > 1e-12 {
				t.Errorf("divergence %v, want %v", p.Divergence, test.divergence)
			}
			if want := math.Exp(-float64(test.got[0].Logprob+test.got[1].Logprob) / 2); math.Abs(p.Perplexity-want) > 1e-12*want {
				t.Errorf("perplexity %v, want %v", p.Perplexity, want)
			}
			for what, check := range map[string]struct {
				place    *Place
				position int
			}{"error": {p.WorstError, test.worstPosition}, "regret": {p.WorstRegret, test.worstRegret}} {
				if (check.place == nil) != (check.position == 0) || check.place != nil && check.place.Position != check.position {
					t.Errorf("the worst %s is at %+v, want position %d", what, check.place, check.position)
				}
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	sequence := func(fields string) string {
		return `{"format":"minisgl-eval-goldens/1","sequences":[{` + fields + `}]}`
	}
	for content, want := range map[string]string{
		``:                                   "unexpected end",
		`{"format":"x"}`:                     `format "x": expected "minisgl-eval-goldens/1"`,
		"\x1f\x8bxx":                         "gzip",
		sequence(`"tokens":[1],"first":1`):   "sequence 0: first is 1: expected 1 to 0",
		sequence(`"tokens":[1,2],"first":0`): "first is 0",
		sequence(`"tokens":[1,2],"first":1,"logprobs":[-1]`):                                                                                               "0 top_ids and 0 top_logprobs: expected 1 of each",
		sequence(`"tokens":[1,2],"first":1,"logprobs":[-1],"top_ids":[[1,2]],"top_logprobs":[[-1]]`):                                                       "position 1: 2 top_ids with 1 top_logprobs",
		sequence(`"tokens":[1,2],"first":1,"logprobs":[-1],"top_ids":[[1,2]],"top_logprobs":[[-2,-1]]`):                                                    "log-probability of -1: expected falling numbers",
		sequence(`"tokens":[1,2],"first":1,"logprobs":[-1],"top_ids":[[1]],"top_logprobs":[[0.5]]`):                                                        "log-probability of 0.5",
		`{"format":"minisgl-eval-goldens/1","sequences":[]}`:                                                                                               "no sequences",
		strings.Replace(sequence(`"tokens":[1,2],"first":1,"logprobs":[-1],"top_ids":[[1]],"top_logprobs":[[-1]]`), "{", `{"limits":{"max_error":-1},`, 1): "limit max_error is -1",
	} {
		path := filepath.Join(t.TempDir(), "goldens.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that says %q", content, err, want)
		}
	}
}

func TestGoldensOfAnotherModel(t *testing.T) {
	g, err := Read("testdata/tiny-tied.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	llm, err := minisgl.Open(context.Background(), minisgl.Options{Model: goldens.Get(t, "tiny-tied").Path, Device: "cpu", NumPages: 64, MaxSeqLen: 30})
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	for want, change := range map[string]func(){
		"sequence 1 has 35 tokens, the context holds 30":          func() {},
		"sequence 0: token 512 is not in the vocabulary [0, 512)": func() { g.Sequences[0].TopIDs[3][2] = 512 },
	} {
		change()
		if _, err := Run(context.Background(), llm, g, Options{Progress: func(string) {}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
		g.Sequences[0].TopIDs[3][2] = 1
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":"minisgl-eval-goldens/1","sequences":[{"tokens":[1,2],"first":1,"logprobs":[-1],"top_ids":[[1]],"top_logprobs":[[-1]]}]}`))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := parse(data)
		if err != nil {
			return
		}
		for _, s := range g.Sequences {
			for k := range s.Logprobs {
				if s.First+k >= len(s.Tokens) || len(s.TopIDs[k]) != len(s.TopLogprobs[k]) || len(s.TopIDs[k]) == 0 {
					t.Fatalf("accepted %+v", s)
				}
			}
		}
	})
}

package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"minisgl/internal/bench/benchtest"
	"minisgl/scheduler"
)

// TestMain lets the test binary play the command that Command starts.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_PEER") {
	case "words":
		fmt.Printf("%s has %s\n", os.Args[1], os.Getenv("MINISGL_MAX_NEW_TOKENS"))
	case "figures":
		fmt.Printf("an\nanswer\n{\"tokens\": 7, \"duration_s\": 0.5, \"ttfb_s\": 0.25}\n")
	case "failure":
		fmt.Fprintln(os.Stderr, "no such model")
		os.Exit(3)
	default:
		os.Exit(m.Run())
	}
}

func TestCommands(t *testing.T) {
	answer := func(kind string) (Run, error) {
		t.Setenv("BENCH_TEST_PEER", kind)
		return Command("peer", os.Args[0]+" {prompt}").Answer(context.Background(), "the prompt", 12)
	}
	r, err := answer("words")
	if err != nil || r.Text != "the prompt has 12\n" || r.Tokens != 4 || r.DurationS < r.TTFBS || r.TTFBS <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := answer("figures"); err != nil || r != (Run{Name: "peer", Text: "an\nanswer\n", Tokens: 7, DurationS: 0.5, TTFBS: 0.25}) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := answer("failure"); err == nil || !strings.Contains(err.Error(), "exit status 3: no such model") {
		t.Errorf("got %v", err)
	}
}

// One prompt has one greedy answer, whichever way it is asked for.
func TestContendersAgree(t *testing.T) {
	const tokens = 24
	engine := benchtest.Fake(benchtest.TextModel(t))
	url := benchtest.Serve(t, engine)
	var first Run
	for _, c := range []Contender{Engine("engine", engine), Engine("naive", Naive(engine)), Server("openai", url+"/v1", "", 0), Server("sglang", "sglang+"+url, "", 0)} {
		run, err := c.Answer(context.Background(), "Once upon a time", tokens)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if first.Name == "" {
			first = run
		}
		if run.Name != c.Name || run.Tokens != first.Tokens || run.Text != first.Text || run.Text == "" {
			t.Errorf("%+v differs from %+v", run, first)
		}
		if run.TTFBS <= 0 || run.DurationS < run.TTFBS {
			t.Errorf("%s: first text after %v s of %v", c.Name, run.TTFBS, run.DurationS)
		}
	}
}

// A server without /v1/models, but with SGLang's information, is spoken to in SGLang's dialect.
func TestDialectIsFoundOut(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/get_model_info":
			fmt.Fprint(w, "{}")
		case "/generate":
			fmt.Fprint(w, `data: {"text":"yes","output_ids":[1],"meta_info":{"completion_tokens":1}}`+"\n\ndata: [DONE]\n\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	if run, err := Server("x", web.URL, "", 0).Answer(context.Background(), "?", 4); err != nil || run.Text != "yes" {
		t.Errorf("%+v, %v", run, err)
	}
	nothing := httptest.NewServer(http.NotFoundHandler())
	defer nothing.Close()
	if _, err := Server("x", nothing.URL, "", 0).Answer(context.Background(), "?", 4); err == nil || !strings.Contains(err.Error(), "/v1/models: 404") {
		t.Errorf("got %v", err)
	}
}

func TestNaive(t *testing.T) {
	engine := benchtest.Fake("m")
	naive := Naive(engine)
	if naive.MaxRunning != 1 || naive.Cache != scheduler.Naive || !naive.NoOverlap || naive.Model != "m" || engine.MaxRunning == 1 {
		t.Errorf("%+v", naive)
	}
}

func TestLines(t *testing.T) {
	r := Run{Name: "x", TTFBS: 0.1234, DurationS: 2, Tokens: 64, Text: "a\nb" + strings.Repeat("é", 200)}
	var b strings.Builder
	r.PrintLocal(&b)
	r.PrintServed(&b)
	r.PrintPreview(&b)
	want := "- x: tokens=64 duration=2.000s throughput=32.00 tok/s\n- x: TTFB=0.123s duration=2.000s tokens=64 throughput=32.00 tok/s\n- x: a\\nb" + strings.Repeat("é", 117) + "\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

package minisgl_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"minisgl"
	"minisgl/device/fake"
	"minisgl/internal/goldens"
	"minisgl/scheduler"
)

func openDemo(t testing.TB, change func(*minisgl.Options)) *minisgl.LLM {
	o := minisgl.Options{Device: "cpu", MaxSeqLen: 512, NumPages: 1024}
	if change != nil {
		change(&o)
	}
	return open(t, o)
}

func TestStopStringEndsTheText(t *testing.T) {
	llm := openDemo(t, nil)
	ctx := context.Background()
	whole, err := llm.Generate(ctx, []string{"Once upon a time"}, minisgl.Params{MaxTokens: 60})
	if err != nil {
		t.Fatal(err)
	}
	// A stop string that begins and ends inside tokens.
	text := whole[0].Text
	stop := text[21:30]
	for _, include := range []bool{false, true} {
		out, err := llm.Generate(ctx, []string{"Once upon a time"}, minisgl.Params{MaxTokens: 60, Stop: []string{"never", stop}, IncludeStop: include})
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(text, stop)
		if include {
			want += stop
		}
		if got := out[0]; got.Text != want || got.Reason != scheduler.Stop || got.Matched != stop || got.Usage.Output != len(got.TokenIDs) {
			t.Errorf("include %v: got %q (%s, matched %v), want %q", include, got.Text, got.Reason, got.Matched, want)
		}
	}
}

func TestStoryEndsByItself(t *testing.T) {
	llm := openDemo(t, nil)
	out, err := llm.Run(context.Background(), []minisgl.Request{{Messages: []minisgl.Message{{Role: "user", Content: "What is 3 + 4?"}}}})
	if err != nil {
		t.Fatal(err)
	}
	end, _ := llm.Tokenizer().Token("<|im_end|>")
	got := out[0]
	if got.Reason != scheduler.Stop || got.Matched != end || strings.Contains(got.Text, "im_end") || !strings.Contains(got.Text, "7") {
		t.Errorf("got %q, %s, matched %v; want an answer with 7 that ends by <|im_end|>, which does not show", got.Text, got.Reason, got.Matched)
	}
	if got.TokenIDs[len(got.TokenIDs)-1] != end {
		t.Errorf("the last token is %d, want the stop token %d", got.TokenIDs[len(got.TokenIDs)-1], end)
	}
}

func TestMinTokensPutTheEndOff(t *testing.T) {
	llm := openDemo(t, nil)
	question := []minisgl.Message{{Role: "user", Content: "What is 3 + 4?"}}
	out, err := llm.Run(context.Background(), []minisgl.Request{
		{Messages: question, Params: minisgl.Params{MinTokens: 40, MaxTokens: 60}},
		{Messages: question, Params: minisgl.Params{IgnoreEOS: true, MaxTokens: 50}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out[0].TokenIDs); n < 40 {
		t.Errorf("%d tokens with min_tokens 40", n)
	}
	if n := len(out[1].TokenIDs); n != 50 || out[1].Reason != scheduler.Length {
		t.Errorf("%d tokens, %s; want all 50 with ignore_eos", n, out[1].Reason)
	}
}

func TestPromptScoresAreTheOnesOfGeneration(t *testing.T) {
	llm := openDemo(t, nil)
	ctx, zero, three := context.Background(), 0, 3
	first, err := llm.Run(ctx, []minisgl.Request{{Prompt: "Once upon a time", Params: minisgl.Params{MaxTokens: 30, Logprobs: &three}}})
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := llm.Encode("Once upon a time", true)
	if err != nil {
		t.Fatal(err)
	}
	all := append(slices.Clone(prompt), first[0].TokenIDs...)
	scored, err := llm.Run(ctx, []minisgl.Request{{TokenIDs: all, Params: minisgl.Params{MaxTokens: minisgl.NoTokens, Logprobs: &three, PromptLogprobs: &zero}}})
	if err != nil {
		t.Fatal(err)
	}
	got := scored[0]
	if len(got.TokenIDs) != 0 || len(got.Prompt) != len(all)-1 {
		t.Fatalf("%d tokens drawn and %d scores, want none and %d", len(got.TokenIDs), len(got.Prompt), len(all)-1)
	}
	if scores := got.Prompt[len(prompt)-1:]; !slices.EqualFunc(scores, first[0].Tokens, sameBits) {
		t.Errorf("scored:    %v\ngenerated: %v", scores, first[0].Tokens)
	}
}

func TestContextEndsARequest(t *testing.T) {
	slow := register(paced(10 * time.Millisecond))
	llm := openDemo(t, func(o *minisgl.Options) { o.Device = slow })
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := llm.Stream(ctx, minisgl.Request{Prompt: "Once", Params: minisgl.Params{IgnoreEOS: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Next() {
		t.Fatal(stream.Err())
	}
	cancel()
	var last minisgl.Chunk
	for stream.Next() {
		last = stream.Chunk()
	}
	if last.Finish == nil || last.Finish.Reason != scheduler.Aborted || stream.Err() != nil {
		t.Errorf("the last chunk is %+v, error %v; want an abort", last, stream.Err())
	}
	eventually(t, "no pages are held", func() bool { s := llm.Stats(); return s.Running == 0 && s.HeldPages == 0 })
}

// What came before a failure is heard, however late.
func TestFailureBehindTokens(t *testing.T) {
	broken := errors.New("a cable came off")
	options := several(t, register(fake.Options{Fault: func(step int) (f fake.Fault) {
		if step == 5 {
			f.Err = broken
		}
		return f
	}}))
	options.NoOverlap = true
	llm := open(t, options)
	stream := start(t, llm, endless("late", []int32{1, 2, 3}))
	eventually(t, "it has failed", func() bool { s := llm.Stats(); return s.OutputTokens == 5 && s.Running == 0 })
	if !stream.Next() || len(stream.Chunk().Tokens) != 5 {
		t.Errorf("first %+v, %v; want the five tokens", stream.Chunk(), stream.Err())
	}
	if stream.Next() || !errors.Is(stream.Err(), broken) {
		t.Errorf("then %+v, %v; want the failure", stream.Chunk(), stream.Err())
	}
}

func TestRunWaitsForAFullQueue(t *testing.T) {
	llm := openDemo(t, func(o *minisgl.Options) { o.MaxRunning, o.MaxQueue = 2, 1 })
	prompts := slices.Repeat([]string{"Once upon a time", "There was a cat"}, 10)
	out, err := llm.Generate(context.Background(), prompts, minisgl.Params{MaxTokens: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if out[i].Text != out[i%2].Text {
			t.Errorf("prompt %d: %q, want %q", i, out[i].Text, out[i%2].Text)
		}
	}
}

func TestRequestsThatCannotRun(t *testing.T) {
	llm := openDemo(t, nil)
	bare := open(t, minisgl.Options{Model: goldens.Get(t, "tiny-tied").Path, Device: "cpu", NumPages: 64})
	for _, test := range []struct {
		name    string
		llm     *minisgl.LLM
		request minisgl.Request
		want    string // in the error
	}{
		{"nothing to continue", llm, minisgl.Request{}, "exactly one"},
		{"two prompts", llm, minisgl.Request{Prompt: "a", TokenIDs: []int32{1}}, "exactly one"},
		{"prompt longer than the context", llm, minisgl.Request{TokenIDs: make([]int32, 600)}, "600 tokens, the limit is 511"},
		{"token out of the vocabulary", llm, minisgl.Request{TokenIDs: []int32{1, 1 << 20}}, "token 1 is 1048576"},
		{"invalid UTF-8", llm, minisgl.Request{Prompt: "a\xffb"}, "not valid UTF-8"},
		{"bias of an unknown token", llm, minisgl.Request{Prompt: "a", Params: minisgl.Params{LogitBias: map[int32]float64{-1: 1}}}, "logit_bias"},
		{"text without tokenizer", bare, minisgl.Request{Prompt: "a"}, "no tokenizer"},
		{"stop string without tokenizer", bare, minisgl.Request{TokenIDs: []int32{1}, Params: minisgl.Params{Stop: []string{"a"}}}, "no tokenizer"},
		{"chat without template", bare, minisgl.Request{Messages: []minisgl.Message{{Role: "user", Content: "a"}}}, "no chat template"},
	} {
		if _, err := test.llm.Stream(context.Background(), test.request); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", test.name, err, test.want)
		}
	}
	_, err := llm.Stream(context.Background(), minisgl.Request{TokenIDs: make([]int32, 600)})
	if !errors.Is(err, minisgl.ErrTooLong) {
		t.Errorf("a prompt that is too long: %v, want ErrTooLong", err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, test := range []struct {
		options minisgl.Options
		want    string
	}{
		{minisgl.Options{Device: "tpu"}, "unknown device \"tpu\""},
		{minisgl.Options{DType: "int3"}, "int3"},
		{minisgl.Options{MemoryRatio: 2}, "MemoryRatio"},
		{minisgl.Options{PageSize: -1}, "PageSize"},
		{minisgl.Options{Model: "./no/such/folder"}, "no/such/folder"},
		{minisgl.Options{Device: "cpu", NumPages: 1 << 40}, "not enough memory"},
	} {
		if llm, err := minisgl.Open(context.Background(), test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want one that says %q", test.options, err, test.want)
			if llm != nil {
				llm.Close()
			}
		}
	}
}

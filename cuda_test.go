//go:build cuda

package minisgl_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"minisgl"
	"minisgl/device"
	"minisgl/device_cuda/driver"
	"minisgl/device_cuda/emulator"
	"minisgl/internal/goldens"
)

// On a card, the whole of what the CPU is held to.
func TestCUDASameAnswerWhateverTheLoad(t *testing.T) {
	if n, err := driver.Count(driver.Options{}); err != nil || n == 0 {
		t.Skip("emulated cards would take hours; TestCUDASameAnswer is their part of it")
	}
	sameAnswerWhateverTheLoad(t, "cuda:0", []int{0})
}

// A request alone, with its prefix cached, and in small chunks among others, on a card or an emulated one.
func TestCUDASameAnswer(t *testing.T) {
	emulator.UseIfNone(t)
	golden := goldens.Get(t, "tiny-tied")
	five, seed := 5, uint64(42)
	request := minisgl.Request{TokenIDs: golden.Prompts[5].IDs[:40], Params: minisgl.Params{MaxTokens: 6, IgnoreEOS: true, Temperature: 0.8,
		TopP: 0.95, TopK: 50, RepetitionPenalty: 1.1, FrequencyPenalty: 0.2, Seed: &seed, Logprobs: &five}}
	others := []minisgl.Request{request}
	for i := range 3 {
		others = append(others, minisgl.Request{TokenIDs: golden.Prompts[i].IDs, Params: minisgl.Params{MaxTokens: 3 + i, IgnoreEOS: true}})
	}
	var want []minisgl.Token
	for _, chunk := range []int{64, 7} {
		llm := open(t, minisgl.Options{Model: golden.Path, Device: "cuda:0", MaxStepTokens: chunk, PageSize: 4, MaxSeqLen: 128, NumPages: 256})
		for _, requests := range [][]minisgl.Request{{request}, {request}, others} {
			outputs, err := llm.Run(context.Background(), requests)
			if err != nil {
				t.Fatal(err)
			}
			got := outputs[0].Tokens
			if want == nil {
				want = got
			}
			if len(got) != 6 || !sameTokens(want, got) {
				t.Errorf("chunks of %d, %d requests: the answer differs:\n got %v\nwant %v", chunk, len(requests), got, want)
			}
		}
	}
}

func sameTokens(a, b []minisgl.Token) bool {
	for i := range a {
		if !sameBits(a[i], b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// What a user sees where CUDA is not as it should be.
func TestCUDAThatCannotBeOpened(t *testing.T) {
	golden := goldens.Get(t, "tiny-tied")
	for _, c := range []struct {
		name  string
		setup func(t *testing.T)
		want  []string
	}{
		{"no driver", func(t *testing.T) { t.Setenv("MINISGL_CUDA_LIBRARY", "/there/is/no/libcuda.so.1") }, []string{"no CUDA driver", "/there/is/no"}},
		{"no card", func(t *testing.T) { emulator.Fault(t, "nodevice") }, []string{"no CUDA card"}},
		{"driver too old", func(t *testing.T) { t.Setenv("MINISGL_CUDA_LIBRARY", emulator.OldDriver(t)) }, []string{"driver is too old", "11.0"}},
		{"too little memory", func(t *testing.T) { emulator.Cards(t, 1, 100_000) }, []string{"not enough memory"}},
		{"no such card", func(t *testing.T) { emulator.Cards(t, 0, 1<<30) }, []string{"no"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			emulator.Use(t)
			c.setup(t)
			_, err := minisgl.Open(context.Background(), minisgl.Options{Model: golden.Path, Device: "cuda:0", MaxSeqLen: 128})
			if err == nil {
				t.Fatal("it was opened")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	t.Run("auto takes the CPU and says why", func(t *testing.T) {
		t.Setenv("MINISGL_CUDA_LIBRARY", "/there/is/no/libcuda.so.1")
		d, notes, err := device.Open("auto", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if d.Info().Name != "cpu" || len(notes) != 1 || !strings.Contains(notes[0], "no CUDA driver") {
			t.Errorf("opened %s, notes %q", d.Info().Name, notes)
		}
	})
}

// A kernel fails while tokens stream: the stream ends with an error, and so does everything after it.
func TestCUDAKernelFailsMidStream(t *testing.T) {
	emulator.Use(t)
	golden := goldens.Get(t, "tiny-tied")
	llm, err := minisgl.Open(context.Background(), minisgl.Options{Model: golden.Path, Device: "cuda:0", MaxSeqLen: 128, NumPages: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	emulator.Fault(t, "sample:5")
	request := minisgl.Request{TokenIDs: golden.Prompts[0].IDs, Params: minisgl.Params{MaxTokens: 50, IgnoreEOS: true}}
	if _, err := llm.Run(context.Background(), []minisgl.Request{request, request, request}); !errors.Is(err, device.ErrLost) {
		t.Errorf("the requests ended with %v, want ErrLost", err)
	}
	if _, err := llm.Run(context.Background(), []minisgl.Request{request}); err == nil {
		t.Error("a lost device ran a request")
	}
	if err := llm.Err(); !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "cuda:0") {
		t.Errorf("the engine's error is %v", err)
	}
}

// Two cards share the requests; when a kernel fails on one, its requests end with an error and the other goes on.
func TestCUDATwoCards(t *testing.T) {
	emulator.Use(t)
	emulator.Cards(t, 2, 1<<30)
	golden := goldens.Get(t, "tiny-tied")
	requests := make([]minisgl.Request, 8)
	for i := range requests {
		requests[i] = minisgl.Request{TokenIDs: []int32{int32(i + 1), 7, 9}, Params: minisgl.Params{MaxTokens: 12, IgnoreEOS: true}}
	}
	options := minisgl.Options{Model: golden.Path, Device: "cuda:0,cuda:1", MaxSeqLen: 128, NumPages: 64}
	llm, err := minisgl.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer llm.Close()
	outputs, err := llm.Run(context.Background(), requests)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing runs", func() bool { return llm.Stats().Running == 0 })
	for _, e := range llm.Engines() {
		if e.Err != nil {
			t.Errorf("engine %+v", e)
		}
	}

	emulator.Fault(t, "sample:4")
	failed := 0
	for i, request := range append(requests, requests...) {
		again, err := llm.Run(context.Background(), []minisgl.Request{request})
		switch {
		case errors.Is(err, device.ErrLost) && strings.Contains(err.Error(), "cuda:"):
			failed++
		case err != nil:
			t.Error(err)
		case !sameTokens(again[0].Tokens, outputs[i%len(requests)].Tokens):
			t.Errorf("request %d: another answer", i)
		}
	}
	eventually(t, "a card is taken out", func() bool {
		return slices.ContainsFunc(llm.Engines(), func(e minisgl.EngineState) bool { return e.Err != nil })
	})
	if failed != 1 || llm.Err() != nil {
		t.Errorf("%d requests failed, the library's error is %v; want one and none", failed, llm.Err())
	}
}

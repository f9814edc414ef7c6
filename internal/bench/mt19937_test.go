package bench

import (
	"math"
	"testing"
)

// What CPython 3.11's random printed. The second seed has more than 32 bits.
func TestRandomIsPythons(t *testing.T) {
	r := newRandom(1<<40 + 12345)
	for i, want := range []uint32{1332995613, 1500173691, 493462063, 16738666} {
		if got := r.uint32(); got != want {
			t.Errorf("getrandbits(32) %d is %d, want %d", i, got, want)
		}
	}
	for i, want := range []float64{0.5335990945925775, 0.20403672857712885} {
		if got := r.float64(); got != want {
			t.Errorf("random() %d is %v, want %v", i, got, want)
		}
	}
	for i, want := range []int{2991, 9487, 391, 6389} {
		if got := r.between(100, 20000); got != want {
			t.Errorf("randint(100, 20000) %d is %d, want %d", i, got, want)
		}
	}

	r = newRandom(42)
	for i, want := range []int{227, 92, 70, 253, 134, 126} {
		if got := r.between(64, 256); got != want {
			t.Errorf("randint(64, 256) %d is %d, want %d", i, got, want)
		}
	}
	if got, want := r.exponential(2), 0.12629309283505677; math.Abs(got-want) > 1e-15 {
		t.Errorf("expovariate(2) is %v, want %v", got, want)
	}
	if got, want := r.float64(), 0.7364712141640124; got != want {
		t.Errorf("random() is %v, want %v", got, want)
	}
	if got := r.between(7, 7); got != 7 {
		t.Errorf("randint(7, 7) is %d", got)
	}
}

// Beyond 624 draws the generator renews its state; the totals below are those of nano-vllm's bench.py run by CPython.
func TestNanoVLLMWorkload(t *testing.T) {
	requests := NanoVLLM.Requests()
	in, out := 0, 0
	for _, r := range requests {
		in += len(r.TokenIDs)
		out += r.Params.MaxTokens
		if !r.Params.IgnoreEOS || r.Params.Temperature != 0.6 {
			t.Fatalf("parameters %+v", r.Params)
		}
	}
	if len(requests) != 256 || in != 142_827 || out != 133_966 {
		t.Errorf("%d requests, %d tokens in, %d out; want 256, 142827, 133966", len(requests), in, out)
	}
	checkIDs(t, "first prompt", requests[0].TokenIDs[:5], 6311, 6890, 663, 4242, 8376)
	last := requests[255].TokenIDs
	checkIDs(t, "end of the last prompt", last[len(last)-3:], 6642, 9046, 1958)
	if len(requests[0].TokenIDs) != 964 {
		t.Errorf("the first prompt has %d tokens, want 964", len(requests[0].TokenIDs))
	}
	for i, want := range []int{845, 312, 607, 843, 500} {
		if got := requests[i].Params.MaxTokens; got != want {
			t.Errorf("max_tokens %d is %d, want %d", i, got, want)
		}
	}
}

func checkIDs(t *testing.T, what string, got []int32, want ...int32) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: ids %v, want %v", what, got, want)
			return
		}
	}
}

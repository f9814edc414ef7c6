package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A recorder is a server that keeps what it is asked and how many requests run at a time.
type recorder struct {
	mu      sync.Mutex
	bodies  []map[string]any
	running int
	most    int
	wait    time.Duration
	full    int              // requests wait, beside, until so many have run at a time
	fail    func(n int) bool // whether the nth request fails
}

func (r *recorder) peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// sent lists what was asked, whatever the order in which it arrived.
func (r *recorder) sent() (all []string) {
	for _, body := range r.bodies {
		all = append(all, fmt.Sprint(body))
	}
	slices.Sort(all)
	return all
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodGet {
		if q.URL.Path == "/v1/models" {
			io.WriteString(w, `{"data":[{"id":"m"}]}`)
		} else {
			http.NotFound(w, q)
		}
		return
	}
	var body map[string]any
	json.NewDecoder(q.Body).Decode(&body)
	r.mu.Lock()
	n := len(r.bodies)
	r.bodies = append(r.bodies, body)
	r.running++
	r.most = max(r.most, r.running)
	r.mu.Unlock()
	select {
	case <-time.After(r.wait):
	case <-q.Context().Done():
	}
	for end := time.Now().Add(time.Minute); n > 0 && r.peak() < r.full && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	r.mu.Lock()
	r.running--
	r.mu.Unlock()
	if r.fail != nil && r.fail(n) {
		http.Error(w, "overloaded", http.StatusTooManyRequests)
		return
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\"a%d\",\"delta\":{\"content\":\"\"}}]}\n\ndata: [DONE]\n\n", n)
}

func (r *recorder) benchmark(t *testing.T, w Workload, loads ...Load) *Online {
	t.Helper()
	web := httptest.NewServer(r)
	t.Cleanup(web.Close)
	client := NewClient(web.URL, "", 0)
	t.Cleanup(client.Close)
	if w.Endpoint == "" {
		w.Endpoint = Completions
	}
	return &Online{Client: client, Workload: w, Loads: loads, Progress: silent, Profile: OnlineProfile{Seed: 1, BatchSize: w.Conversations,
		MinInputLen: 4, MaxInputLen: 9, BatchOutputTokens: 2, WarmupInputTokens: 3, WarmupOutputTokens: 1}}
}

func run(t *testing.T, o *Online) *OnlineExtended {
	t.Helper()
	_, extended, err := o.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return extended
}

func TestConcurrencySweep(t *testing.T) {
	for _, c := range []struct{ concurrency, most int }{{1, 1}, {3, 3}, {0, 12}, {50, 12}} {
		r := &recorder{wait: 5 * time.Millisecond, full: c.most}
		extended := run(t, r.benchmark(t, Workload{Conversations: 12}, Load{Concurrency: c.concurrency}))
		if r.most != c.most || len(r.bodies) != 13 || extended.Points[0].Summary.NumRequests != 12 {
			t.Errorf("concurrency %d: %d at a time, %d requests with the warm-up; want %d, 13", c.concurrency, r.most, len(r.bodies), c.most)
		}
	}
}

// The mean of n exponential gaps is no less than four standard errors below 1/rate. A busy machine may be late.
func TestPoissonArrivals(t *testing.T) {
	const n, rate = 200, 400.0
	r := &recorder{}
	took := run(t, r.benchmark(t, Workload{Conversations: n}, Load{RequestRate: rate})).Points[0].Summary.DurationS
	if mean := took / (n - 1); mean < 1/rate*(1-4/math.Sqrt(n)) || mean > 20/rate {
		t.Errorf("the mean gap is %.4f s, want about %.4f", mean, 1/rate)
	}
	again := &recorder{}
	run(t, again.benchmark(t, Workload{Conversations: n}, Load{RequestRate: rate}))
	if !slices.Equal(again.sent(), r.sent()) {
		t.Error("the same seed gave other requests")
	}
}

func TestPromptsOfSweepsDiffer(t *testing.T) {
	r := &recorder{}
	o := r.benchmark(t, Workload{Conversations: 4, SharedPrefixLen: 5, PrefixGroups: 2}, Load{Concurrency: 1}, Load{Concurrency: 1})
	run(t, o)
	ids := func(i int) []any { return r.bodies[1+i]["prompt"].([]any) }
	for i := range 8 {
		if n := len(ids(i)); n < 5+4 || n > 5+9 {
			t.Errorf("prompt %d has %d tokens", i, n)
		}
		for k := range i {
			sharePrefix := fmt.Sprint(ids(i)[:5]) == fmt.Sprint(ids(k)[:5])
			if want := i/4 == k/4 && i%2 == k%2; sharePrefix != want {
				t.Errorf("prompts %d and %d share their prefix: %v, want %v", k, i, sharePrefix, want)
			}
			if fmt.Sprint(ids(i)) == fmt.Sprint(ids(k)) {
				t.Errorf("prompts %d and %d are the same", k, i)
			}
		}
		for _, id := range ids(i) {
			if id.(float64) < 100 || id.(float64) > 20000 {
				t.Errorf("id %v is outside [100, 20000]", id)
			}
		}
	}
	body := r.bodies[1]
	for key, want := range map[string]any{"model": "m", "stream": true, "temperature": 0.0, "max_tokens": 2.0, "ignore_eos": true,
		"stream_options": map[string]any{"include_usage": true}} {
		if !reflect.DeepEqual(body[key], want) {
			t.Errorf("%s is %v, want %v", key, body[key], want)
		}
	}
}

func TestRequestsThatFail(t *testing.T) {
	r := &recorder{fail: func(n int) bool { return n%3 == 1 }}
	extended := run(t, r.benchmark(t, Workload{Conversations: 9}, Load{}))
	p := extended.Points[0]
	if p.FailedRequests != 3 || p.Summary.NumRequests != 6 || p.Summary.NumTokens != 6 {
		t.Errorf("%d failed, %d did not, with %d tokens; want 3, 6, 6", p.FailedRequests, p.Summary.NumRequests, p.Summary.NumTokens)
	}
	if err := extended.Failures(); err == nil || !strings.Contains(err.Error(), "3 of 9 requests failed (all at once)") || !strings.Contains(err.Error(), "429") {
		t.Errorf("Failures: %v", err)
	}

	r = &recorder{fail: func(n int) bool { return n > 0 }}
	if _, _, err := r.benchmark(t, Workload{Conversations: 2}, Load{}).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "all 2 requests failed") {
		t.Errorf("all fail: %v", err)
	}
	r = &recorder{fail: func(int) bool { return true }}
	if _, _, err := r.benchmark(t, Workload{Conversations: 2}, Load{}).Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "warm-up: POST") {
		t.Errorf("the warm-up fails: %v", err)
	}
}

func TestInterrupt(t *testing.T) {
	r := &recorder{wait: time.Minute}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, _, err := r.benchmark(t, Workload{Conversations: 2}, Load{RequestRate: 0.01}).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// The second turn finds the first in the prefix cache, on every endpoint that can have turns.
func TestTurnsOnAServer(t *testing.T) {
	for _, endpoint := range []Endpoint{Chat, Generate} {
		o := online(t, endpoint)
		o.Workload.Conversations, o.Workload.Turns, o.Profile.BatchOutputTokens = 4, 3, 8
		p := run(t, o).Points[0]
		if p.FailedRequests != 0 || p.Summary.NumRequests != 12 || p.Summary.NumTokens != 12*8 {
			t.Errorf("%s: %+v", endpoint, p)
		}
		if p.CacheHitRate == nil || *p.CacheHitRate < 0.3 || *p.CacheHitRate > 0.9 {
			t.Errorf("%s: cache hit rate %v of %d prompt tokens", endpoint, p.CacheHitRate, p.PromptTokens)
		}
	}
	o := online(t, Completions)
	o.Workload.Turns = 2
	if _, _, err := o.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "--turns 2") {
		t.Errorf("turns of completions: %v", err)
	}
}

func TestSharedPrefixOnAServer(t *testing.T) {
	o := online(t, Completions)
	o.Workload.SharedPrefixLen, o.Loads = 512, []Load{{Concurrency: 1}}
	p := run(t, o).Points[0]
	low, high := 7*512, 7*512+100 // all but the first find the prefix; at most a few tokens more by chance
	if p.CachedTokens == nil || *p.CachedTokens < low || *p.CachedTokens > high {
		t.Errorf("%v cached tokens, want %d to %d", *p.CachedTokens, low, high)
	}
}

func TestGoodput(t *testing.T) {
	r := &recorder{wait: 5 * time.Millisecond}
	o := r.benchmark(t, Workload{Conversations: 4}, Load{Concurrency: 2})
	if p := run(t, o).Points[0]; p.Goodput != nil {
		t.Errorf("goodput without SLO: %+v", p.Goodput)
	}
	for _, c := range []struct {
		slo  SLO
		good int
	}{{SLO{TTFTMs: 60_000}, 4}, {SLO{TTFTMs: 1}, 0}, {SLO{TTFTMs: 60_000, TPOTMs: 60_000}, 4}, {SLO{TTFTMs: 1, TPOTMs: 60_000}, 0}} {
		o.SLO = c.slo
		g := run(t, o).Points[0].Goodput
		if g == nil || g.Requests != c.good || g.Share != float64(c.good)/4 || (g.ReqPerS > 0) != (c.good > 0) {
			t.Errorf("%+v: %+v, want %d good requests", c.slo, g, c.good)
		}
	}
}

// A server that tells cached tokens only in /metrics.
func TestCacheHitsFromMetrics(t *testing.T) {
	for _, names := range [][2]string{{"vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"}, {"sglang:prompt_tokens_total", "sglang:cached_tokens_total"}} {
		r := &recorder{}
		scrapes := 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/metrics" {
				r.ServeHTTP(w, q)
				return
			}
			fmt.Fprintf(w, "# HELP x y\n%s{engine=\"0\"} %d\n%s{engine=\"0\"} %d\n%[1]s{engine=\"1\"} 5\n", names[0], 1000+400*scrapes, names[1], 7+100*scrapes)
			scrapes++
		}))
		o := r.benchmark(t, Workload{Conversations: 2}, Load{})
		o.Client = NewClient(web.URL, "", 0)
		p := run(t, o).Points[0]
		if p.CacheHitRate == nil || *p.CacheHitRate != 0.25 || *p.CachedTokens != 100 {
			t.Errorf("%s: %+v", names[0], p)
		}
		o.Client.Close()
		web.Close()
	}
}

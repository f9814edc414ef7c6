package server

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"minisgl"
	"minisgl/scheduler"
)

// metrics hears latencies from the engine and shows them, with the engine's own numbers, under the names of both SGLang and
// vLLM, so that dashboards made for either work. What goes by several names is recorded once.
//
// The format is Prometheus' text format 0.0.4, which the tests read with Prometheus' own parser. Its client library is left
// out because it makes a cold build an eighth longer, and has no histogram that goes by several names.
type metrics struct {
	server   *Server
	ttft     *histogram
	itl      *histogram
	e2e      *histogram
	prompt   *histogram
	output   *histogram
	finished [4]atomic.Uint64 // by scheduler.FinishReason
}

var finishReasons = [4]scheduler.FinishReason{scheduler.Stop, scheduler.Length, scheduler.Aborted, scheduler.Failed}

func newMetrics(s *Server) *metrics {
	tokens := []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000}
	return &metrics{
		server: s,
		ttft:   newHistogram(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160),
		itl: newHistogram(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4,
			0.5, 0.75, 1, 2.5),
		e2e: newHistogram(0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920),

		prompt: newHistogram(tokens...),
		output: newHistogram(tokens...),
	}
}

func (m *metrics) TimeToFirstToken(d time.Duration)  { m.ttft.observe(d.Seconds()) }
func (m *metrics) InterTokenLatency(d time.Duration) { m.itl.observe(d.Seconds()) }

func (m *metrics) Finished(reason scheduler.FinishReason, u scheduler.Usage, d time.Duration) {
	m.e2e.observe(d.Seconds())
	m.prompt.observe(float64(u.Prompt))
	m.output.observe(float64(u.Output))
	m.finished[reason].Add(1)
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	io.WriteString(w, m.text())
}

// text is empty until a model is attached.
func (m *metrics) text() string {
	llm := m.server.llm.Load()
	if llm == nil {
		return ""
	}
	stats, o := llm.Stats(), llm.Options()
	e := exposition{labels: "model_name=" + quoteLabel(m.server.modelName(llm))}
	ratio := func(part, whole uint64) float64 { return float64(part) / float64(max(whole, 1)) }
	used := ratio(uint64(stats.HeldPages), uint64(stats.Pages))

	e.gauge("Requests that run.", float64(stats.Running), "sglang:num_running_reqs vllm:num_requests_running")
	e.gauge("Requests that wait.", float64(stats.Waiting), "sglang:num_queue_reqs vllm:num_requests_waiting")
	e.gauge("Tokens whose KV running requests hold.", float64(stats.TokensInUse), "sglang:num_used_tokens")
	e.gauge("Tokens that the KV cache can hold.", float64(stats.Pages*o.PageSize), "sglang:max_total_num_tokens")
	e.gauge("Share of the KV pages that running requests hold.", used, "sglang:token_usage vllm:kv_cache_usage_perc vllm:gpu_cache_usage_perc")
	e.gauge("Share of prompt tokens whose KV was in the prefix cache, since the start.",
		ratio(stats.CachedTokens, stats.PromptTokens), "sglang:cache_hit_rate")
	e.gauge("KV pages that are held though nothing runs: above 0 there is a fault.", float64(stats.LeakedPages), "minisgl:leaked_pages")
	e.counter("Tokens of prompts.", stats.PromptTokens, "sglang:prompt_tokens_total vllm:prompt_tokens_total vllm:prefix_cache_queries_total")
	e.counter("Tokens of prompts whose KV was in the prefix cache.", stats.CachedTokens,
		"sglang:cached_tokens_total vllm:prefix_cache_hits_total")
	e.counter("Tokens generated.", stats.OutputTokens, "sglang:generation_tokens_total vllm:generation_tokens_total")
	e.counter("Times that a request gave up its KV to let others run.", stats.Retractions,
		"sglang:num_retracted_requests_total vllm:num_preemptions_total")
	e.histogram("Seconds to the first token.", m.ttft, "sglang:time_to_first_token_seconds vllm:time_to_first_token_seconds")
	e.histogram("Seconds between tokens of a request.", m.itl, "sglang:inter_token_latency_seconds sglang:time_per_output_token_seconds "+
		"vllm:inter_token_latency_seconds vllm:time_per_output_token_seconds")
	e.histogram("Seconds from a request's arrival to its end.", m.e2e, "sglang:e2e_request_latency_seconds vllm:e2e_request_latency_seconds")
	e.histogram("Tokens of a request's prompt.", m.prompt, "sglang:prompt_tokens_histogram vllm:request_prompt_tokens")
	e.histogram("Tokens of a request's output.", m.output, "sglang:generation_tokens_histogram vllm:request_generation_tokens")
	ended := uint64(0)
	e.head("vllm:request_success_total", "Requests that ended, by how.", "counter")
	for _, reason := range finishReasons {
		n := m.finished[reason].Load()
		ended += n
		e.line("vllm:request_success_total", `finished_reason="`+reason.String()+`"`, float64(n))
	}
	e.counter("Requests that ended.", ended, "sglang:num_requests_total")
	e.counter("Requests that were aborted.", m.finished[scheduler.Aborted].Load(), "sglang:num_aborted_requests_total")
	e.engines(llm.Engines())
	if shadow := o.Shadow; shadow.Planner || shadow.Device != "" {
		e.shadow(llm.ShadowCounts())
	}
	return e.String()
}

// engines shows what the sums above are made of: one line for each engine, by its device.
func (e *exposition) engines(engines []minisgl.EngineState) {
	for _, m := range []struct {
		name, kind, help string
		value            func(*minisgl.EngineState) float64
	}{
		{"up", "gauge", "1, or 0 if the device was lost.", func(s *minisgl.EngineState) float64 {
			if s.Err != nil {
				return 0
			}
			return 1
		}},
		{"running_requests", "gauge", "Requests that run on the device.", func(s *minisgl.EngineState) float64 { return float64(s.Stats.Running) }},
		{"waiting_requests", "gauge", "Requests that wait for the device.", func(s *minisgl.EngineState) float64 { return float64(s.Stats.Waiting) }},
		{"kv_usage_ratio", "gauge", "Share of the device's KV pages that running requests hold.", func(s *minisgl.EngineState) float64 {
			return float64(s.Stats.HeldPages) / float64(max(s.Stats.Pages, 1))
		}},
		{"prompt_tokens_total", "counter", "Tokens of prompts.", func(s *minisgl.EngineState) float64 { return float64(s.Stats.PromptTokens) }},
		{"cached_tokens_total", "counter", "Tokens of prompts whose KV was in the device's prefix cache.",
			func(s *minisgl.EngineState) float64 { return float64(s.Stats.CachedTokens) }},
		{"generation_tokens_total", "counter", "Tokens generated.", func(s *minisgl.EngineState) float64 { return float64(s.Stats.OutputTokens) }},
	} {
		e.head("minisgl:engine_"+m.name, m.help, m.kind)
		for i := range engines {
			e.line("minisgl:engine_"+m.name, "device="+quoteLabel(engines[i].Name), m.value(&engines[i]))
		}
	}
}

// shadow shows what shadow mode has compared.
func (e *exposition) shadow(c minisgl.ShadowCounts) {
	e.counter("Steps whose two plans were compared.", c.Steps, "minisgl:shadow_steps_total")
	e.counter("Tokens that were compared with the shadow device's.", c.Outputs, "minisgl:shadow_outputs_total")
	e.counter("Tokens that were not compared because the shadow device was behind.", c.Skipped, "minisgl:shadow_skipped_total")
	e.counter("Differences found by the shadow.", c.Divergences, "minisgl:shadow_divergences_total")
}

// An exposition is a page of metrics. Each method takes the names of one metric, with spaces between them.
type exposition struct {
	strings.Builder
	labels string // of all
}

func (e *exposition) gauge(help string, value float64, names string) {
	for name := range strings.FieldsSeq(names) {
		e.head(name, help, "gauge")
		e.line(name, "", value)
	}
}

func (e *exposition) counter(help string, value uint64, names string) {
	for name := range strings.FieldsSeq(names) {
		e.head(name, help, "counter")
		e.line(name, "", float64(value))
	}
}

func (e *exposition) histogram(help string, h *histogram, names string) {
	for name := range strings.FieldsSeq(names) {
		e.head(name, help, "histogram")
		total := uint64(0)
		for i := range h.counts {
			bound := "+Inf"
			if i < len(h.bounds) {
				bound = number(h.bounds[i])
			}
			total += h.counts[i].Load()
			e.line(name+"_bucket", `le="`+bound+`"`, float64(total))
		}
		e.line(name+"_sum", "", math.Float64frombits(h.sum.Load()))
		e.line(name+"_count", "", float64(total))
	}
}

func (e *exposition) head(name, help, kind string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (e *exposition) line(name, label string, value float64) {
	if label != "" {
		label = "," + label
	}
	if strings.HasPrefix(name, "vllm:") { // which counts engines
		label = `,engine="0"` + label
	}
	fmt.Fprintf(e, "%s{%s%s} %s\n", name, e.labels, label, number(value))
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func quoteLabel(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// A histogram counts values by the least bound that is not below them. It is observed and read without locks.
type histogram struct {
	bounds []float64       // ascending
	counts []atomic.Uint64 // one more than bounds
	sum    atomic.Uint64   // the bits of a float64
}

func newHistogram(bounds ...float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (h *histogram) observe(x float64) {
	i, _ := slices.BinarySearch(h.bounds, x)
	h.counts[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+x)) {
			return
		}
	}
}

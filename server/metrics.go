package server

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"minisgl/scheduler"
)

// metrics hears latencies from the engine and shows them, with the engine's own numbers, under the names of both SGLang and
// vLLM, so that dashboards made for either work. What goes by several names is recorded once.
type metrics struct {
	server                         *Server
	ttft, itl, e2e, prompt, output prometheus.Histogram
	finished                       [4]atomic.Uint64 // by scheduler.FinishReason
}

var finishReasons = [4]scheduler.FinishReason{scheduler.Stop, scheduler.Length, scheduler.Aborted, scheduler.Failed}

func newMetrics(s *Server) *metrics {
	histogram := func(bounds ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "nameless", Buckets: bounds})
	}
	tokens := []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000}
	return &metrics{
		server: s,
		ttft:   histogram(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160),
		itl: histogram(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4,
			0.5, 0.75, 1, 2.5),
		e2e:    histogram(0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920),
		prompt: histogram(tokens...),
		output: histogram(tokens...),
	}
}

// The first two run once a token, on the engine's goroutine.

func (m *metrics) TimeToFirstToken(d time.Duration)  { m.ttft.Observe(d.Seconds()) }
func (m *metrics) InterTokenLatency(d time.Duration) { m.itl.Observe(d.Seconds()) }

func (m *metrics) Finished(reason scheduler.FinishReason, u scheduler.Usage, d time.Duration) {
	m.e2e.Observe(d.Seconds())
	m.prompt.Observe(float64(u.Prompt))
	m.output.Observe(float64(u.Output))
	m.finished[reason].Add(1)
}

func (m *metrics) handler() http.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP
}

// Describe says nothing: the labels are not known before a model is attached.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect shows nothing until a model is attached.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	llm := m.server.llm.Load()
	if llm == nil {
		return
	}
	stats, o := llm.Stats(), llm.Options()
	e := exposition{out: out, model: strings.ToValidUTF8(m.server.modelName(llm), "\uFFFD")}
	ratio := func(part, whole uint64) float64 { return float64(part) / float64(max(whole, 1)) }
	used := ratio(uint64(stats.HeldPages), uint64(stats.Pages))

	e.gauge("Requests that run.", float64(stats.Running), "sglang:num_running_reqs vllm:num_requests_running")
	e.gauge("Requests that wait.", float64(stats.Waiting), "sglang:num_queue_reqs vllm:num_requests_waiting")
	e.gauge("Tokens whose KV running requests hold.", float64(stats.TokensInUse), "sglang:num_used_tokens")
	e.gauge("Tokens that the KV cache can hold.", float64(stats.Pages*o.PageSize), "sglang:max_total_num_tokens")
	e.gauge("Share of the KV pages that running requests hold.", used, "sglang:token_usage vllm:kv_cache_usage_perc vllm:gpu_cache_usage_perc")
	e.gauge("Share of prompt tokens whose KV was in the prefix cache, since the start.",
		ratio(stats.CachedTokens, stats.PromptTokens), "sglang:cache_hit_rate")
	e.gauge("KV pages that nobody holds and that are not free: more than 0 is a bug of the scheduler.", float64(stats.LeakedPages),
		"minisgl:leaked_pages")
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
	for _, reason := range finishReasons {
		n := m.finished[reason].Load()
		ended += n
		e.counter("Requests that ended, by how.", n, "vllm:request_success_total", "finished_reason", reason.String())
	}
	e.counter("Requests that ended.", ended, "sglang:num_requests_total")
	e.counter("Requests that were aborted.", m.finished[scheduler.Aborted].Load(), "sglang:num_aborted_requests_total")
}

// An exposition emits metrics. Each comes with its names, between which are spaces.
type exposition struct {
	out   chan<- prometheus.Metric
	model string
}

func (e *exposition) gauge(help string, value float64, names string) {
	e.each(names, help, nil, func(d *prometheus.Desc) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	})
}

// counter takes further labels as names and values in turn.
func (e *exposition) counter(help string, value uint64, names string, labels ...string) {
	e.each(names, help, labels, func(d *prometheus.Desc) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value))
	})
}

func (e *exposition) histogram(help string, h prometheus.Histogram, names string) {
	var m dto.Metric
	h.Write(&m) // never fails
	buckets := map[float64]uint64{}
	for _, b := range m.Histogram.Bucket {
		buckets[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	e.each(names, help, nil, func(d *prometheus.Desc) prometheus.Metric {
		return prometheus.MustNewConstHistogram(d, m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum(), buckets)
	})
}

func (e *exposition) each(names, help string, labels []string, metric func(*prometheus.Desc) prometheus.Metric) {
	for name := range strings.FieldsSeq(names) {
		all := prometheus.Labels{"model_name": e.model}
		if strings.HasPrefix(name, "vllm:") { // which counts engines
			all["engine"] = "0"
		}
		for i := 0; i < len(labels); i += 2 {
			all[labels[i]] = labels[i+1]
		}
		e.out <- metric(prometheus.NewDesc(name, help, nil, all))
	}
}

package server_test

import (
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"minisgl"
	"minisgl/scheduler"
	"minisgl/server"
)

// scrape reads /metrics as Prometheus does.
func (s *site) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	status, header, text := s.do("GET", "/metrics", "")
	if kind := header.Get("Content-Type"); status != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		s.t.Fatalf("/metrics: %d %s", status, kind)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return families
}

func TestMetrics(t *testing.T) {
	s := fakeText(t)
	s.post("/v1/completions", `{"prompt": "a b c", "max_tokens": 5, "ignore_eos": true}`)
	s.post("/v1/completions", `{"prompt": "a", "max_tokens": 1, "ignore_eos": true}`)
	// The engine counts a step behind the answers that the step ended.
	eventually(t, "both are counted", func() bool { stats := s.llm.Stats(); return stats.Running == 0 && stats.OutputTokens == 6 })
	families := s.scrape()
	documented(t, families)
	counter, gauge, histogram := dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM
	for _, want := range []struct {
		kind  dto.MetricType
		names string
		value float64 // a histogram's count
	}{
		{gauge, "sglang:num_running_reqs vllm:num_requests_running sglang:num_queue_reqs vllm:num_requests_waiting sglang:num_used_tokens", 0},
		{gauge, "sglang:token_usage vllm:kv_cache_usage_perc vllm:gpu_cache_usage_perc sglang:cache_hit_rate minisgl:leaked_pages", 0},
		{gauge, "sglang:max_total_num_tokens", 4 * 8192},
		{counter, "sglang:prompt_tokens_total vllm:prompt_tokens_total vllm:prefix_cache_queries_total", 4},
		{counter, "sglang:generation_tokens_total vllm:generation_tokens_total", 6},
		{counter, "sglang:cached_tokens_total vllm:prefix_cache_hits_total sglang:num_retracted_requests_total vllm:num_preemptions_total", 0},
		{counter, "sglang:num_aborted_requests_total", 0},
		{counter, "sglang:num_requests_total", 2},
		{histogram, "sglang:time_to_first_token_seconds vllm:time_to_first_token_seconds", 2},
		{histogram, "sglang:inter_token_latency_seconds sglang:time_per_output_token_seconds vllm:inter_token_latency_seconds " +
			"vllm:time_per_output_token_seconds", 4},
		{histogram, "sglang:e2e_request_latency_seconds vllm:e2e_request_latency_seconds", 2},
		{histogram, "sglang:prompt_tokens_histogram vllm:request_prompt_tokens", 2},
		{histogram, "sglang:generation_tokens_histogram vllm:request_generation_tokens", 2},
		{gauge, "minisgl:engine_up", 1},
		{gauge, "minisgl:engine_running_requests minisgl:engine_waiting_requests minisgl:engine_kv_usage_ratio", 0},
		{counter, "minisgl:engine_prompt_tokens_total", 4},
		{counter, "minisgl:engine_cached_tokens_total", 0},
		{counter, "minisgl:engine_generation_tokens_total", 6},
	} {
		for name := range strings.FieldsSeq(want.names) {
			labels := map[string]string{"model_name": "tiny"}
			if strings.HasPrefix(name, "vllm:") {
				labels["engine"] = "0"
			}
			if strings.HasPrefix(name, "minisgl:engine_") {
				labels["device"] = "fake"
			}
			family := families[name]
			delete(families, name)
			if family.GetType() != want.kind || len(family.Metric) != 1 {
				t.Errorf("%s: %v, want one %v", name, family, want.kind)
				continue
			}
			m := family.Metric[0]
			got := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if got != want.value || !maps.Equal(labelsOf(m), labels) {
				t.Errorf("%s%v is %v, want %v with %v", name, labelsOf(m), got, want.value, labels)
			}
			if name == "vllm:request_generation_tokens" && (m.Histogram.GetSampleSum() != 6 || m.Histogram.Bucket[1].GetUpperBound() != 2 ||
				m.Histogram.Bucket[1].GetCumulativeCount() != 1) {
				t.Errorf("of 1 and 5 tokens, in all 6, 1 output has at most 2: %v", m)
			}
		}
	}
	ended := map[string]float64{}
	for _, m := range families["vllm:request_success_total"].GetMetric() {
		ended[labelsOf(m)["finished_reason"]] = m.Counter.GetValue()
	}
	if want := map[string]float64{"stop": 0, "length": 2, "abort": 0, "error": 0}; !maps.Equal(ended, want) {
		t.Errorf("requests ended so: %v, want %v", ended, want)
	}
	if delete(families, "vllm:request_success_total"); len(families) > 0 {
		t.Errorf("untested: %v", families)
	}
}

// documented checks that docs/serving.md speaks of all metrics.
func documented(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	docs, err := os.ReadFile("../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range families {
		_, bare, _ := strings.Cut(name, ":")
		if text := string(docs); !strings.Contains(text, "`"+bare+"`") && !strings.Contains(text, "`"+bare+"{") && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/serving.md does not speak of %s", name)
		}
	}
}

func TestShadowMetrics(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		mo.Shadow = minisgl.Shadow{Planner: true, Device: "fake"}
	})
	s.post("/v1/completions", `{"prompt": "a b c", "max_tokens": 5, "ignore_eos": true, "temperature": 0}`)
	eventually(t, "all is compared", func() bool { return s.llm.ShadowCounts().Outputs == 5 && s.llm.Stats().Running == 0 })
	families := s.scrape()
	documented(t, families)
	for name, want := range map[string]float64{"steps": float64(s.llm.Stats().Steps), "outputs": 5, "skipped": 0, "divergences": 0} {
		family := families["minisgl:shadow_"+name+"_total"]
		if family.GetType() != dto.MetricType_COUNTER || len(family.Metric) != 1 || family.Metric[0].Counter.GetValue() != want {
			t.Errorf("%s: %v, want %v", name, family, want)
		}
	}
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

func TestMetricsWhileServing(t *testing.T) {
	s := fakeText(t)
	observer := s.server.Observer()
	const each, observers = 1000, 4
	var wait sync.WaitGroup
	for range observers {
		wait.Go(func() {
			for range each {
				observer.TimeToFirstToken(time.Millisecond)
				observer.InterTokenLatency(time.Millisecond)
				observer.Finished(scheduler.Aborted, scheduler.Usage{Prompt: 2, Output: 3}, time.Second)
			}
		})
	}
	for range 5 {
		s.scrape()
	}
	wait.Wait()
	families := s.scrape()
	for _, name := range []string{"vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds", "vllm:request_prompt_tokens"} {
		if got := families[name].Metric[0].Histogram.GetSampleCount(); got != each*observers {
			t.Errorf("%s: %d observations, want %d", name, got, each*observers)
		}
	}
	if got := families["sglang:num_aborted_requests_total"].Metric[0].Counter.GetValue(); got != each*observers {
		t.Errorf("%v aborts, want %d", got, each*observers)
	}
}

// What the engine pays for a token.
func BenchmarkInterTokenLatency(b *testing.B) {
	observer := server.New(server.Options{}).Observer()
	b.ReportAllocs()
	for b.Loop() {
		observer.InterTokenLatency(12 * time.Millisecond)
	}
}

func TestObserverDoesNotAllocate(t *testing.T) {
	observer := server.New(server.Options{}).Observer()
	if got := testing.AllocsPerRun(100, func() {
		observer.TimeToFirstToken(time.Second)
		observer.InterTokenLatency(time.Millisecond)
	}); got > 0 {
		t.Errorf("%v allocations a token", got)
	}
}

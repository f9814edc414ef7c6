package bench

import (
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"
)

// A Distribution sums up a list of measurements; all zero if there were none.
type Distribution struct {
	Avg float64 `json:"avg"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Distribute sums up values, in any order.
func Distribute(values []float64) Distribution {
	if len(values) == 0 {
		return Distribution{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Distribution{Avg: floats.Sum(sorted) / float64(len(sorted)), P50: percentile(sorted, 0.5), P90: percentile(sorted, 0.9),
		P99: percentile(sorted, 0.99), Max: sorted[len(sorted)-1]}
}

// percentile is the value at index min(int(n·p), n-1) of a sorted list, without interpolation: the seed harness's rule.
func percentile(sorted []float64, p float64) float64 {
	n := len(sorted)
	return sorted[min(int(float64(n)*p), n-1)]
}

// Summary is the part of a report that gates look at, the same for every mode.
type Summary struct {
	SchemaVersion       int          `json:"schema_version"`
	NumRequests         int          `json:"num_requests"`
	NumTokens           int          `json:"num_tokens"` // generated
	DurationS           float64      `json:"duration_s"`
	ThroughputTokenPerS float64      `json:"throughput_token_per_s"`
	ThroughputReqPerS   float64      `json:"throughput_req_per_s"`
	TTFT                Distribution `json:"ttft_ms"` // time to first token
	TPOT                Distribution `json:"tpot_ms"` // every gap between two chunks of a request, pooled
	E2E                 Distribution `json:"e2e_s"`   // from sending a request to its end
}

func newSummary(requests, tokens int, took time.Duration) Summary {
	s := Summary{SchemaVersion: 1, NumRequests: requests, NumTokens: tokens, DurationS: took.Seconds()}
	s.ThroughputTokenPerS, s.ThroughputReqPerS = rate(tokens, took), rate(requests, took)
	return s
}

// rate is count per second; zero for no time.
func rate(count int, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(count) / took.Seconds()
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

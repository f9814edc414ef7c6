package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Gate is a set of limits that a Summary must keep. Limits that are nil are not checked.
type Gate struct {
	MinThroughputTokenPerS *float64 `json:"min_throughput_token_per_s,omitempty"`
	MinThroughputReqPerS   *float64 `json:"min_throughput_req_per_s,omitempty"`
	MaxAvgTTFTMs           *float64 `json:"max_avg_ttft_ms,omitempty"`
	MaxAvgTPOTMs           *float64 `json:"max_avg_tpot_ms,omitempty"`
	MaxAvgE2ES             *float64 `json:"max_avg_e2e_s,omitempty"`
}

// A limit is one key of a gate.
type limit struct {
	key   string
	bound *float64
	what  string // in failure texts
	value func(*Summary) float64
	least bool // the value must be at least the bound; else at most
}

func (g *Gate) limits() []limit {
	return []limit{
		{"min_throughput_token_per_s", g.MinThroughputTokenPerS, "throughput_token_per_s", func(s *Summary) float64 { return s.ThroughputTokenPerS }, true},
		{"min_throughput_req_per_s", g.MinThroughputReqPerS, "throughput_req_per_s", func(s *Summary) float64 { return s.ThroughputReqPerS }, true},
		{"max_avg_ttft_ms", g.MaxAvgTTFTMs, "avg_ttft_ms", func(s *Summary) float64 { return s.TTFT.Avg }, false},
		{"max_avg_tpot_ms", g.MaxAvgTPOTMs, "avg_tpot_ms", func(s *Summary) float64 { return s.TPOT.Avg }, false},
		{"max_avg_e2e_s", g.MaxAvgE2ES, "avg_e2e_s", func(s *Summary) float64 { return s.E2E.Avg }, false},
	}
}

// LoadGate reads a gate from a YAML or JSON file. Keys that no gate has are an error.
func LoadGate(path string) (*Gate, error) {
	g := &Gate{}
	if err := decodeFile(path, g); err != nil {
		return nil, err
	}
	for _, l := range g.limits() {
		if l.bound != nil && *l.bound < 0 {
			return nil, fmt.Errorf("%s: %s is %v: expected 0 or more", path, l.key, *l.bound)
		}
	}
	return g, nil
}

// ThroughputOnly refuses limits on latencies, for modes that measure none: they would always be kept.
func (g *Gate) ThroughputOnly(path, mode string) error {
	for _, l := range g.limits() {
		if l.bound != nil && !l.least {
			return fmt.Errorf("%s: %s: bench %s measures no latencies; only throughput can be gated", path, l.key, mode)
		}
	}
	return nil
}

// Check returns what a summary fails, one text for each limit; empty if it passes.
func (g *Gate) Check(s *Summary) []string {
	failures := []string{}
	for _, l := range g.limits() {
		if l.bound == nil {
			continue
		}
		switch value := l.value(s); {
		case l.least && !(value >= *l.bound): // so written, a NaN fails
			failures = append(failures, fmt.Sprintf("%s %.4f < min %.4f", l.what, value, *l.bound))
		case !l.least && !(value <= *l.bound):
			failures = append(failures, fmt.Sprintf("%s %.4f > max %.4f", l.what, value, *l.bound))
		}
	}
	return failures
}

// decodeFile reads a YAML or JSON file into a struct with json tags. Unknown keys, wrong types and a second document are
// errors that name the file and the key.
func decodeFile(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := decodeStrict(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func decodeStrict(data []byte, into any) error {
	if !json.Valid(data) {
		var err error
		if data, err = yamlToJSON(data); err != nil {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("expected keys and values, got %s", wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: expected %s, got %s", wrong.Field, kindName(wrong.Type.Kind()), wrong.Value)
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func kindName(kind reflect.Kind) string {
	switch kind {
	case reflect.Float64:
		return "a number"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a text"
	}
	return kind.String()
}

func yamlToJSON(data []byte) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var value any
	if err := d.Decode(&value); err != nil && err != io.EOF {
		return nil, err
	}
	if err := d.Decode(new(any)); err != io.EOF {
		return nil, errors.New("more than one document")
	}
	return json.Marshal(value)
}

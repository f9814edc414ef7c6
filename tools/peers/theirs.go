package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// batchedBench measures a group of figures with llama-batched-bench, all in one process: it computes prompts of some lengths for some
// numbers of streams, and then decodes.
func (s *section) batchedBench(ctx context.Context, folder, file string, g group) ([]value, error) {
	var prompts, streams []string
	room, tokens := 4096, 0
	for _, f := range g {
		prompt := max(f.prefill, f.context, shortPrompt)
		if n := strconv.Itoa(prompt); f.prefill > 0 || !slices.Contains(prompts, n) {
			prompts = append(prompts, n)
		}
		if n := strconv.Itoa(max(f.streams, 1)); !slices.Contains(streams, n) {
			streams = append(streams, n)
		}
		tokens = max(tokens, s.tokens(f))
		room = max(room, prompt+1024)
	}
	n := strconv.Itoa(s.threads)
	c := exec.CommandContext(ctx, filepath.Join(folder, "llama-batched-bench"), "-m", file, "-t", n, "-tb", n, "-fa", "auto",
		"-c", strconv.Itoa(room), "-npp", strings.Join(prompts, ","), "-ntg", strconv.Itoa(tokens), "-npl", strings.Join(streams, ","),
		"--output-format", "jsonl")
	c.Env = append(os.Environ(), "OMP_NUM_THREADS="+n)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	output, err := c.Output()
	if err != nil {
		said := complaints.String()
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, said[max(0, len(said)-1000):])
	}
	return parseBatchedBench(output, g)
}

// parseBatchedBench reads the lines that are JSON: a prompt's length, a number of streams, and the rates.
func parseBatchedBench(output []byte, g group) ([]value, error) {
	var values []value
	for line := range bytes.Lines(output) {
		if !bytes.HasPrefix(line, []byte("{")) {
			continue
		}
		var row struct {
			Prompt  int     `json:"pp"`
			Streams int     `json:"pl"`
			Prefill float64 `json:"speed_pp"`
			Decode  float64 `json:"speed_tg"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("llama-batched-bench: %q: %w", line, err)
		}
		for _, f := range g {
			if row.Prompt != max(f.prefill, f.context, shortPrompt) || row.Streams != max(f.streams, 1) {
				continue
			}
			v := value{f.String(), f.unit(), row.Decode, f.streams, row.Prompt}
			if f.prefill > 0 {
				v.value = row.Prefill
			}
			values = append(values, v)
		}
	}
	values = latest(values)
	for _, f := range g {
		if !slices.ContainsFunc(values, func(v value) bool { return v.figure == f.String() }) {
			return nil, fmt.Errorf("llama-batched-bench printed no rate for %q: %q", f, output)
		}
	}
	return values, nil
}

// latest keeps the last value of each figure.
func latest(values []value) []value {
	var kept []value
	for i, v := range values {
		if !slices.ContainsFunc(values[i+1:], func(later value) bool { return later.figure == v.figure }) {
			kept = append(kept, v)
		}
	}
	return kept
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"minisgl/internal/bench"
)

// A contender is a server that is started for a round.
type contender struct {
	name    string
	command []string // but for the port
}

// servers loads each server in turn, in every round.
func (s *section) servers(ctx context.Context) error {
	program := s.path("minisgl-serve")
	if output, err := exec.CommandContext(ctx, "go", "build", "-o", program, "minisgl/cmd/minisgl").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, output)
	}
	defer os.Remove(program)
	n := strconv.Itoa(s.threads)
	llama := []string{filepath.Join(s.llama, "llama-server"), "-m", s.gguf["BF16"], "-t", n, "-tb", n, "--host", "127.0.0.1"}
	serve := []string{program, "serve", "--model-path", s.model, "--device", "cpu", "--threads", n}
	contenders := []contender{
		{ours, serve},
		{ours + " --dtype bfloat16", append(serve[:len(serve):len(serve)], "--dtype", "bfloat16")},
		{"llama-server", llama},
		{"llama-server -ub 1024 -np 16", append(llama[:len(llama):len(llama)], "-ub", "1024", "-np", "16", "-c", "32768")},
	}
	for s.round = 1; s.round <= s.rounds; s.round++ {
		for _, c := range contenders {
			values, foreign, err := s.quietly(ctx, fmt.Sprintf("http, round %d of %d: %s", s.round, s.rounds, c.name),
				func() ([]value, error) { return s.serve(ctx, c) })
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			for _, v := range values {
				load, figure, _ := strings.Cut(v.figure, ": ")
				s.records = append(s.records, record{Round: s.round, Run: load, Figure: figure, Unit: v.unit, Who: c.name, Value: v.value, Foreign: foreign})
				s.say("  %s: %.2f %s", v.figure, v.value, v.unit)
			}
		}
		if err := s.save(); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a server, loads it, and stops it.
func (s *section) serve(ctx context.Context, c contender) ([]value, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, c.command[0], append(c.command[1:len(c.command):len(c.command)], "--port", port)...)
	process.Env = append(os.Environ(), "OMP_NUM_THREADS="+strconv.Itoa(s.threads))
	process.Cancel = func() error { return process.Process.Signal(os.Interrupt) }
	process.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	process.Stdout, process.Stderr = &said, &said
	if err := process.Start(); err != nil {
		return nil, err
	}
	url := "http://127.0.0.1:" + port
	values, err := s.drive(ctx, url)
	process.Cancel()
	process.Wait() // killed by a signal: an error that says nothing
	if err != nil {
		text := said.String()
		return nil, fmt.Errorf("%w; the server said: %s", err, text[max(0, len(text)-1000):])
	}
	return values, nil
}

// drive waits until a server is ready, and measures many prompts at once and prompts that begin alike.
func (s *section) drive(ctx context.Context, url string) ([]value, error) {
	if err := ready(ctx, url); err != nil {
		return nil, err
	}
	clients, prompt, output := 16, 128, 64
	if s.quick {
		clients, prompt, output = 4, 64, 8
	}
	client := bench.NewClient(url, "", 10*time.Minute)
	defer client.Close()
	online := bench.Online{Client: client, Progress: func(string, int, int) {},
		Profile: bench.OnlineProfile{Seed: rand.Uint64N(1 << 32), BatchSize: clients, MinInputLen: prompt, MaxInputLen: prompt,
			BatchOutputTokens: output, WarmupInputTokens: prompt, WarmupOutputTokens: 4},
		Workload: bench.Workload{Endpoint: bench.Completions, Conversations: clients},
		Loads:    []bench.Load{{Concurrency: clients}}}
	report, extended, err := online.Run(ctx)
	if err == nil {
		err = extended.Failures()
	}
	if err != nil {
		return nil, err
	}
	load := fmt.Sprintf("%d clients, %d tokens in, %d out", clients, prompt, output)
	values := []value{{figure: load + ": throughput", unit: "tok/s", value: report.Summary.ThroughputTokenPerS},
		{figure: load + ": TTFT p50", unit: "s", value: report.Summary.TTFT.P50 / 1000}}
	shared, err := s.sharedPrefix(ctx, url)
	return append(values, shared...), err
}

// sharedPrefix sends a prompt, and then several at once that begin alike.
func (s *section) sharedPrefix(ctx context.Context, url string) ([]value, error) {
	clients, prefix := 8, 1000
	if s.quick {
		clients, prefix = 2, 200
	}
	const own, output = 32, 8
	first := randomTokens(prefix)
	prompt := func() []int { return append(first[:prefix:prefix], randomTokens(own)...) }
	if _, err := complete(ctx, url, prompt(), output); err != nil {
		return nil, err
	}
	computed, errs := make([]int, clients), make([]error, clients)
	start := time.Now()
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() { computed[i], errs[i] = complete(ctx, url, prompt(), output) })
	}
	wait.Wait()
	took := time.Since(start).Seconds()
	most, total := 0, 0
	for i := range clients {
		if errs[i] != nil {
			return nil, errs[i]
		}
		most, total = max(most, computed[i]), total+computed[i]
	}
	load := fmt.Sprintf("%d clients, prefix of %d tokens in the cache and %d of their own, %d out", clients, prefix, own, output)
	return []value{{figure: load + ": all answered after", unit: "s", value: took},
		{figure: load + ": prompt tokens computed, together", unit: "tokens", value: float64(total)},
		{figure: load + ": prompt tokens computed, most of a client", unit: "tokens", value: float64(most)}}, nil
}

func randomTokens(n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = 100 + rand.IntN(19_900)
	}
	return ids
}

// complete sends a prompt and returns how many of its tokens were not in a cache.
func complete(ctx context.Context, url string, prompt []int, tokens int) (computed int, err error) {
	body, err := json.Marshal(map[string]any{"model": "default", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": true})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("POST %s: %s: %s", request.URL, response.Status, data)
	}
	return computedTokens(data)
}

// computedTokens reads an answer: llama-server tells what it computed, others what they did not.
func computedTokens(answer []byte) (int, error) {
	var a struct {
		Timings *struct {
			Prompt int `json:"prompt_n"`
		}
		Usage struct {
			Prompt  int `json:"prompt_tokens"`
			Details *struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return 0, fmt.Errorf("an answer is not the JSON expected: %w", err)
	}
	switch {
	case a.Timings != nil:
		return a.Timings.Prompt, nil
	case a.Usage.Details != nil:
		return a.Usage.Prompt - a.Usage.Details.Cached, nil
	}
	return 0, fmt.Errorf("an answer tells of no cached tokens: %s", answer)
}

// ready waits until GET /health is answered with 200.
func ready(ctx context.Context, url string) error {
	const limit = time.Minute
	var last error
	for start := time.Now(); time.Since(start) < limit && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(url + "/health")
		if err != nil {
			last = err
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("GET %s/health: %s", url, response.Status)
	}
	return fmt.Errorf("not ready after %v: %w", limit, last)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

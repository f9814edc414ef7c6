package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"minisgl/internal/bench"
	"minisgl/internal/parity"
)

type tokenParityCmd struct {
	Out      string `default:"baselines/latest-token-parity.json" placeholder:"FILE" help:"The report, JSON."`
	BackendA string `name:"backend-a" default:"python" placeholder:"SIDE" help:"The side that is trusted: a device or a planner, then modifiers, as in cpu+avx2,cache=naive. Modifiers: cache=radix|naive, overlap=on|off, threads=N, page=N, chunk=N, running=N, planner=NAME."`
	BackendB string `name:"backend-b" default:"rust_hotpath" placeholder:"SIDE" help:"The side that is checked."`
	Trace    bool   `help:"Where tokens differ, replay the step on both devices and name the first operation whose error stands out."`

	ModelPath   string `aliases:"model" default:"Qwen/Qwen2.5-0.5B-Instruct" help:"Folder, .gguf file or name on the hub."`
	ModelSource string `enum:"huggingface,modelscope" default:"huggingface" help:"Where names are looked up: ${enum}."`
	Revision    string `help:"Branch, tag or commit on the hub."`
	DType       string `name:"dtype" enum:"auto,float16,bfloat16,float32" default:"auto" help:"Type of the weights: ${enum}."`
	DummyWeight bool   `help:"Random weights in the model's shape."`

	Seed              uint64  `default:"42" help:"Of the random prompts."`
	MaxTokens         int     `default:"48" help:"Tokens to generate for each prompt."`
	TokenPromptCount  int     `default:"8" help:"Random prompts."`
	MinInputLen       int     `default:"64" help:"Tokens of the shortest random prompt."`
	MaxInputLen       int     `default:"256" help:"Tokens of the longest random prompt."`
	SharedPrefixLen   int     `default:"0" help:"Tokens that all random prompts begin with. With any, the first prompt runs before the others, which then find the prefix in the cache."`
	MaxSeqLenOverride int     `default:"2048" help:"Prompt and output of a request together; 0 means what the model was made for."`
	MaxExtendTokens   int     `default:"4096" help:"Token budget of a step."`
	CUDAGraphMaxBS    int     `name:"cuda-graph-max-bs" default:"64" help:"Largest batch with a CUDA graph."`
	MemoryRatio       float64 `default:"0.9" help:"Share of the device's free memory for weights and KV cache."`
	NumPageOverride   *int    `help:"KV pages; default: as many as the memory ratio allows."`
	MasterPort        int     `default:"2360" help:"Accepted for compatibility: there is no port."`
}

func (c *tokenParityCmd) Run(ctx context.Context, io streams) error {
	a := parity.Job{
		Model: parity.Model{Path: c.ModelPath, Source: c.ModelSource, ModelScopeName: io.getenv("MODELSCOPE_MODEL_NAME"), Revision: c.Revision,
			DType: c.DType, DummyWeight: c.DummyWeight},
		Profile: parity.Profile{MaxTokens: c.MaxTokens, TokenPromptCount: c.TokenPromptCount, MinInputLen: c.MinInputLen,
			MaxInputLen: c.MaxInputLen, SharedPrefixLen: c.SharedPrefixLen, MaxSeqLenOverride: c.MaxSeqLenOverride,
			MaxExtendTokens: c.MaxExtendTokens, CUDAGraphMaxBS: c.CUDAGraphMaxBS, MemoryRatio: c.MemoryRatio, NumPageOverride: c.NumPageOverride},
		Seed: c.Seed, Backend: c.BackendA,
	}
	b := a
	b.Backend = c.BackendB
	if err := a.Profile.Validate(); err != nil {
		return err
	}
	for _, spec := range []string{c.BackendA, c.BackendB} {
		if _, err := parity.ParseSide(spec); err != nil {
			return err
		}
	}
	answerA, err := inOwnProcess(ctx, io, a)
	if err != nil {
		return err
	}
	answerB, err := inOwnProcess(ctx, io, b)
	if err != nil {
		return err
	}
	report, err := parity.Compare(a, b, answerA.Sets, answerB.Sets, time.Now())
	if err != nil {
		return err
	}
	if err := bench.WriteJSON(c.Out, report); err != nil {
		return err
	}
	if a.Trace = report.FirstDifference(answerA.Sets); c.Trace && a.Trace != nil {
		answer, err := inOwnProcess(ctx, io, a)
		if err != nil {
			fmt.Fprintln(io.err, "minisgl: the trace failed:", err)
		}
		report.Trace = answer.Trace
		if err := bench.WriteJSON(c.Out, report); err != nil {
			return err
		}
	}
	fmt.Fprintf(io.out, "wrote=%s\n", c.Out)
	report.Print(io.out)
	if !report.ParityPassed {
		fmt.Fprintln(io.err, "token parity check failed")
		return errSaid
	}
	return nil
}

// inOwnProcess gives a job to a process of this program, so that the sides share neither memory nor a device's state, and a
// device that takes its process down takes only that. What the process says of its progress goes to the error output.
func inOwnProcess(ctx context.Context, io streams, job parity.Job) (parity.Answer, error) {
	var answer parity.Answer
	program, err := os.Executable()
	if err != nil {
		return answer, err
	}
	input, err := json.Marshal(job)
	if err != nil {
		return answer, err
	}
	var output bytes.Buffer
	process := exec.CommandContext(ctx, program, "token-parity-job")
	process.Stdin, process.Stdout, process.Stderr = bytes.NewReader(input), &output, io.err
	if err := process.Run(); err != nil {
		return answer, errors.Join(ctx.Err(), fmt.Errorf("the process of backend %s: %w", job.Backend, err))
	}
	if err := json.Unmarshal(output.Bytes(), &answer); err != nil {
		return answer, fmt.Errorf("the process of backend %s answered no JSON: %w", job.Backend, err)
	}
	return answer, nil
}

// tokenParityJobCmd is what token-parity starts: a parity.Job comes in, a parity.Answer goes out.
type tokenParityJobCmd struct{}

func (tokenParityJobCmd) Run(ctx context.Context, io streams) error {
	var job parity.Job
	if err := json.NewDecoder(io.in).Decode(&job); err != nil {
		return fmt.Errorf("the job on the standard input: %w", err)
	}
	answer, err := job.Run(ctx, func(line string) { fmt.Fprintln(io.err, line) })
	if err != nil {
		return err
	}
	return json.NewEncoder(io.out).Encode(answer)
}

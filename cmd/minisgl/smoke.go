package main

import (
	"context"
	"fmt"
	"time"

	"minisgl"
)

type smokeCmd struct {
	Prompt string `arg:"" optional:"" default:"Hello, who are you?" help:"The prompt to answer."`
	modelFlags
	samplingFlags
}

func (c *smokeCmd) Run(ctx context.Context, io streams) error {
	log, err := logger(io, true)
	if err != nil {
		return err
	}
	opened := time.Now()
	llm, err := c.open(ctx, io, log, nil)
	if err != nil {
		return err
	}
	defer llm.Close()
	loading := time.Since(opened)
	fmt.Fprintf(io.out, "Using model=%s on device=%s\n", llm.Name(), llm.DeviceInfo().Name)
	request := minisgl.Request{Prompt: c.Prompt, Params: c.params(llm)}
	if llm.HasChatTemplate() {
		request.Prompt, request.Messages = "", []minisgl.Message{{Role: "user", Content: c.Prompt}}
	}
	start := time.Now()
	out, err := printStream(ctx, io, llm, request)
	if err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Fprintln(io.out, "--- generation summary ---")
	fmt.Fprintf(io.out, "load: %.2f s\n", loading.Seconds())
	fmt.Fprintf(io.out, "prompt tokens: %d\n", out.Usage.Prompt)
	fmt.Fprintf(io.out, "output tokens: %d in %.2f s (%.1f tok/s)\n", out.Usage.Output, took.Seconds(), float64(out.Usage.Output)/took.Seconds())
	fmt.Fprintf(io.out, "finish reason: %s\n", out.Reason)
	return nil
}

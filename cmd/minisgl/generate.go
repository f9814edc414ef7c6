package main

import (
	"context"
	"fmt"

	"minisgl"
)

// samplingFlags are the sampling parameters of the commands that generate.
type samplingFlags struct {
	MaxTokens   int      `default:"${maxTokens=512}" help:"Tokens to generate at most."`
	Temperature *float64 `help:"0 is greedy. Default: what the model proposes, else 0."`
	TopK        *int     `help:"Keep the k likeliest tokens; -1 keeps all."`
	TopP        *float64 `help:"Keep the likeliest tokens that together have this probability."`
	MinP        float64  `help:"Keep tokens with at least this share of the likeliest one's probability."`
	Seed        *uint64  `help:"Makes sampling repeatable."`
	Stop        []string `sep:"none" help:"End at this text (may be repeated)."`
	IgnoreEOS   bool     `name:"ignore-eos" help:"Go on after the model's end token."`
}

func (f *samplingFlags) params(llm *minisgl.LLM) minisgl.Params {
	d := llm.Defaults()
	return minisgl.Params{
		MaxTokens: f.MaxTokens, MinP: f.MinP, Seed: f.Seed, Stop: f.Stop, IgnoreEOS: f.IgnoreEOS,
		Temperature: first(f.Temperature, d.Temperature), TopK: first(f.TopK, d.TopK), TopP: first(f.TopP, d.TopP),
		RepetitionPenalty: first(d.RepetitionPenalty),
	}
}

// first returns what the first pointer that is not nil points to, else the zero value.
func first[T any](values ...*T) (zero T) {
	for _, v := range values {
		if v != nil {
			return *v
		}
	}
	return zero
}

type generateCmd struct {
	Prompt string `arg:"" optional:"" default:"Once upon a time" help:"The text to continue."`
	modelFlags
	samplingFlags
}

func (c *generateCmd) Run(ctx context.Context, io streams) error {
	log, err := logger(io, true)
	if err != nil {
		return err
	}
	llm, err := c.open(ctx, io, log, nil)
	if err != nil {
		return err
	}
	defer llm.Close()
	fmt.Fprint(io.out, c.Prompt)
	_, err = printStream(ctx, io, llm, minisgl.Request{Prompt: c.Prompt, Params: c.params(llm)})
	return err
}

// printStream writes an answer as it comes, and a line end behind it.
func printStream(ctx context.Context, io streams, llm *minisgl.LLM, r minisgl.Request) (minisgl.Output, error) {
	var out minisgl.Output
	stream, err := llm.Stream(ctx, r)
	if err != nil {
		return out, err
	}
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Chunk()
		fmt.Fprint(io.out, chunk.Text)
		out.Text += chunk.Text
		if chunk.Finish != nil {
			out.Finish = *chunk.Finish
		}
	}
	fmt.Fprintln(io.out)
	if err := stream.Err(); err != nil {
		return out, err
	}
	return out, ctx.Err()
}

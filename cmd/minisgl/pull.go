package main

import (
	"context"
	"fmt"

	"minisgl/model/hub"
)

type pullCmd struct {
	Model       string `arg:"" help:"A name on the hub: Qwen/Qwen2.5-0.5B-Instruct."`
	ModelSource string `enum:"huggingface,modelscope" default:"huggingface" help:"Where to look: ${enum}."`
	Revision    string `help:"Branch, tag or commit."`
	File        string `help:"Which file of a GGUF repository, or its quantisation (Q4_K_M)."`
}

func (c *pullCmd) Run(ctx context.Context, io streams) error {
	path, err := hub.Resolve(ctx, c.Model, hub.Options{Source: c.ModelSource, Revision: c.Revision, File: c.File,
		ModelScopeName: io.getenv("MODELSCOPE_MODEL_NAME"), Progress: hub.ProgressBar(io.err), Getenv: io.getenv})
	if err != nil {
		return err
	}
	fmt.Fprintln(io.out, path)
	return nil
}

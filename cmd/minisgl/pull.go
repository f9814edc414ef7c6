package main

import (
	"context"
	"errors"
	"fmt"

	"minisgl"
	"minisgl/model/demo"
	"minisgl/model/hub"
)

type pullCmd struct {
	Model       string `arg:"" help:"A name on the hub (Qwen/Qwen2.5-0.5B-Instruct), or demo."`
	To          string `placeholder:"DIR" help:"Where to write the demo model, as an ordinary Hugging Face folder."`
	ModelSource string `enum:"huggingface,modelscope" default:"huggingface" help:"Where to look: ${enum}."`
	Revision    string `help:"Branch, tag or commit."`
	File        string `help:"Which file of a GGUF repository, or its quantisation (Q4_K_M)."`
}

func (c *pullCmd) Run(ctx context.Context, io streams) error {
	switch {
	case c.Model == minisgl.Demo && c.To == "":
		return errors.New("pull demo: the binary carries this model already; --to DIR writes it out")
	case c.Model == minisgl.Demo:
		if err := demo.WriteTo(c.To); err != nil {
			return err
		}
		fmt.Fprintln(io.out, c.To)
		return nil
	case c.To != "":
		return fmt.Errorf("--to %s is for the demo model; others go to the Hugging Face cache, where other programs find them (HF_HUB_CACHE moves it)", c.To)
	}
	path, err := hub.Resolve(ctx, c.Model, hub.Options{Source: c.ModelSource, Revision: c.Revision, File: c.File,
		ModelScopeName: io.getenv("MODELSCOPE_MODEL_NAME"), Progress: hub.ProgressBar(io.err), Getenv: io.getenv})
	if err != nil {
		return err
	}
	fmt.Fprintln(io.out, path)
	return nil
}

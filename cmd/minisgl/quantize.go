package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"minisgl"
	"minisgl/model/hub"
)

type quantizeCmd struct {
	In          string `arg:"" help:"Folder, .gguf file, name on the hub, or demo."`
	Out         string `arg:"" help:"The .gguf file to write."`
	Type        string `enum:"q8_0,q4_0,f16,bf16,f32" default:"q8_0" help:"Of the matrices, embeddings and LM head included: ${enum}. Norms and biases are f32."`
	Force       bool   `help:"Replace OUT if it exists."`
	ModelSource string `enum:"huggingface,modelscope" default:"huggingface" help:"Where names are looked up: ${enum}."`
	Revision    string `help:"Branch, tag or commit on the hub."`
	File        string `help:"Which file of a GGUF repository, or its quantisation (BF16)."`
}

func (c *quantizeCmd) Run(ctx context.Context, io streams) error {
	start := time.Now()
	q, err := minisgl.Quantize(ctx, minisgl.QuantizeOptions{
		Model: c.In, Source: c.ModelSource, ModelScopeName: io.getenv("MODELSCOPE_MODEL_NAME"), Revision: c.Revision, File: c.File,
		Out: c.Out, Type: c.Type, Force: c.Force, Progress: progressLines(io), DownloadProgress: hub.ProgressBar(io.err),
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	if err != nil {
		return err
	}
	for _, note := range q.Notes {
		fmt.Fprintln(io.err, "note:", note)
	}
	fmt.Fprintf(io.out, "wrote=%s\n", c.Out)
	fmt.Fprintf(io.out, "type=%s matrices=%d of %d tensors=%d bytes=%d from=%d duration=%.1fs\n", c.Type, q.Written, q.Matrices, q.Tensors, q.Bytes,
		q.Stored, time.Since(start).Seconds())
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"minisgl/internal/shadow"
)

type shadowReportCmd struct {
	Input        string `required:"" placeholder:"FILE" help:"Report that --shadow-report named."`
	Top          int    `default:"10" help:"Kinds and reasons to list."`
	AllowMissing bool   `help:"A missing file, which is what a run without divergences leaves, counts as an empty one."`
}

func (c *shadowReportCmd) Run(io streams) error {
	if c.Top < 0 {
		return fmt.Errorf("--top %d: expected 0 or more", c.Top)
	}
	var summary shadow.Summary
	file, err := os.Open(c.Input)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.AllowMissing:
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintln(io.err, "input file does not exist: "+c.Input)
		return errSaid
	case err != nil:
		return err
	default:
		defer file.Close()
		if summary, err = shadow.Summarise(file); err != nil {
			return fmt.Errorf("%s: %w", c.Input, err)
		}
	}
	return summary.Print(io.out, c.Top)
}

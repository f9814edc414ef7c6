package minisgl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"minisgl/model"
	"minisgl/tensor"
)

// QuantizeOptions say what Quantize reads and what it writes.
type QuantizeOptions struct {
	// Model, Source, ModelScopeName, Revision and File name the checkpoint, as in Options.
	Model, Source, ModelScopeName, Revision, File string
	// Out is the GGUF file to write. One that exists is replaced only if Force is set.
	Out   string
	Force bool
	// Type is what matrices become: "q8_0", "q4_0", "f16", "bf16" or "f32".
	Type string
	// Progress is told how much has been written, in [0, 1].
	Progress func(stage string, done float64)
	// DownloadProgress is told of each file's bytes; total is -1 where unknown.
	DownloadProgress func(file string, done, total int64)
}

// A Quantized is what Quantize wrote.
type Quantized struct {
	model.Export
	Bytes int64 // of the file
}

// Quantize writes a checkpoint to one GGUF file, with its matrices in a type: the same bits as those with which Options.Quantize
// serves the checkpoint. The file appears whole or not at all. If Out exists the error matches fs.ErrExist, if the weights are
// quantised already model.ErrQuantised.
func Quantize(ctx context.Context, o QuantizeOptions) (q Quantized, err error) {
	to, err := parseExportType(o.Type)
	if err != nil {
		return q, err
	}
	if !strings.EqualFold(filepath.Ext(o.Out), ".gguf") {
		return q, fmt.Errorf("%s: the name of a GGUF file ends in .gguf", o.Out)
	}
	if info, err := os.Stat(o.Out); err == nil && (!o.Force || !info.Mode().IsRegular()) {
		return q, fmt.Errorf("%s: %w", o.Out, fs.ErrExist)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return q, err
	}
	named := Options{Model: o.Model, Source: o.Source, ModelScopeName: o.ModelScopeName, Revision: o.Revision, File: o.File,
		DownloadProgress: o.DownloadProgress}
	checkpoint, err := openCheckpoint(ctx, named)
	if err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	if sameFile(checkpoint.Path, o.Out) {
		return q, fmt.Errorf("%s is the checkpoint itself; write to another file", o.Out)
	}
	err = replaceFile(o.Out, func(file *os.File) error {
		export := model.ExportOptions{Type: to, Name: strings.TrimSuffix(filepath.Base(o.Model), ".gguf")}
		if o.Progress != nil {
			export.Progress = func(done float64) { o.Progress("writing "+o.Out, done) }
		}
		if q.Export, err = checkpoint.WriteGGUF(&untilDone{ctx, file}, export); err != nil {
			return fmt.Errorf("%s: %w", o.Model, err)
		}
		info, err := file.Stat()
		if err == nil {
			q.Bytes = info.Size()
		}
		return err
	})
	return q, err
}

func parseExportType(name string) (tensor.DType, error) {
	var names []string
	for _, d := range model.ExportTypes {
		if strings.EqualFold(name, d.String()) {
			return d, nil
		}
		names = append(names, strings.ToLower(d.String()))
	}
	return 0, fmt.Errorf("type %q: expected %s", name, strings.Join(names, ", "))
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// replaceFile has write fill a temporary file beside path, which takes its place at the end.
func replaceFile(path string, write func(*os.File) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if err = write(file); err != nil {
		return err
	}
	if err = errors.Join(file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// untilDone is a file that can be written to until the context ends.
type untilDone struct {
	ctx  context.Context
	file *os.File
}

func (u *untilDone) Write(data []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.file.Write(data)
}

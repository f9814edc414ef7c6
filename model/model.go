// Package model turns checkpoints into programs: it reads a folder as Hugging Face transformers saves it or a GGUF file,
// checks that configuration and tensors agree, and writes the model down as a device.Program, with the tokenizer, the
// chat template and the stop ids that belong to it. WriteGGUF writes a checkpoint to a GGUF file, quantised or not.
package model

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"minisgl/device"
	"minisgl/internal/mapped"
	"minisgl/model/chat"
	"minisgl/model/tokenizer"
	"minisgl/tensor"
	"minisgl/tensor/safetensors"
)

// A Checkpoint is an opened model. Close unmaps its files, which no device needs once it has loaded the program.
type Checkpoint struct {
	Path    string
	Config  Config
	Program *device.Program
	// Tokenizer and Chat are nil where the checkpoint has none.
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template
	// StopIDs end a generation: the union of what tokenizer, config and generation_config name, ascending.
	StopIDs  []int32
	Defaults Defaults

	files  []io.Closer
	source source // for WriteGGUF; nil: random weights
}

// Defaults are what generation_config.json proposes; nil fields are not named there.
type Defaults struct {
	Temperature, TopP, MinP, RepetitionPenalty *float64
	TopK                                       *int
}

// Options of Open.
type Options struct {
	// DType is the type to convert weight matrices to: F32, F16 or BF16; tensor.Invalid leaves them as they are stored.
	// Quantised matrices stay quantised, and vectors (norms, biases), which devices widen anyway, stay as they are.
	DType      tensor.DType
	MaxSeqLen  int    // 0: as the config says; larger than that is an error unless RoPE scaling allows it
	RandomFill bool   // do not read the weights: random ones of the config's shape (--dummy-weight)
	Seed       uint64 // of RandomFill: the same seed gives the same weights
}

func (o *Options) check() error {
	switch o.DType {
	case tensor.Invalid, tensor.F32, tensor.F16, tensor.BF16:
		return nil
	}
	return fmt.Errorf("weights cannot be converted to %s; possible: F32, F16, BF16", o.DType)
}

// Open reads the checkpoint in a folder, or a .gguf file.
func Open(path string, o Options) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var c *Checkpoint
	if info.IsDir() {
		c, err = openFolder(mapped.Dir(path), o)
	} else {
		c, err = openFile(mapped.Dir(filepath.Dir(path)), filepath.Base(path), o)
	}
	if err != nil {
		return nil, err
	}
	c.Path = path
	return c, nil
}

// OpenFS reads the checkpoint in the folder or .gguf file called name in a file system, such as one embedded in the program.
func OpenFS(fsys fs.FS, name string, o Options) (*Checkpoint, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	var c *Checkpoint
	switch {
	case !info.IsDir():
		c, err = openFile(fsys, name, o)
	case name == ".":
		c, err = openFolder(fsys, o)
	default:
		var folder fs.FS
		if folder, err = fs.Sub(fsys, name); err == nil {
			c, err = openFolder(folder, o)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.Path = name
	return c, nil
}

// Close unmaps the checkpoint's files; the program's tensors have no data any more.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files, c.source = nil, nil
	return errors.Join(errs...)
}

// openFile opens a file that is a whole checkpoint.
func openFile(fsys fs.FS, name string, o Options) (*Checkpoint, error) {
	if !strings.EqualFold(path.Ext(name), ".gguf") {
		return nil, fmt.Errorf("%s is neither a folder nor a .gguf file", mapped.Shown(fsys, name))
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return openGGUF(fsys, name, o)
}

// openFolder opens what lies in a folder: a transformers checkpoint, or a single GGUF file.
func openFolder(fsys fs.FS, o Options) (*Checkpoint, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	shown := mapped.Shown(fsys, ".")
	ggufs, err := fs.Glob(fsys, "*.gguf")
	if err != nil {
		return nil, err
	}
	hasConfig, hasWeights := exists(fsys, configName), exists(fsys, safetensors.SingleFile) || exists(fsys, safetensors.IndexFile)
	switch {
	case hasConfig && (hasWeights || o.RandomFill):
		return openTransformers(fsys, o)
	case len(ggufs) == 1:
		return openGGUF(fsys, ggufs[0], o)
	case len(ggufs) > 1:
		return nil, fmt.Errorf("%s has %d GGUF files, name one of them: %s", shown, len(ggufs), strings.Join(ggufs, ", "))
	case hasConfig:
		return nil, fmt.Errorf("%s has no weights: neither %s, %s nor a .gguf file: %w", shown, safetensors.SingleFile, safetensors.IndexFile, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s is not a model: it has neither %s nor a .gguf file: %w", shown, configName, fs.ErrNotExist)
}

func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// openTransformers opens a folder as transformers saves it.
func openTransformers(fsys fs.FS, o Options) (_ *Checkpoint, err error) {
	text, err := fs.ReadFile(fsys, configName)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(text, o.MaxSeqLen)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mapped.Shown(fsys, configName), err)
	}
	c := &Checkpoint{Config: config}
	defer c.closeOnError(&err)
	w := &weights{source: configName, convert: o.DType}
	if o.RandomFill {
		w.random = newRandomFill(o.Seed, randomType(o.DType, config.DType))
		c.Config.DType = w.random.dtype
	} else {
		set, err := safetensors.OpenFolder(fsys)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, set)
		w.tensors = set.Tensors
		c.source = folderSource{fsys, w}
	}
	if err := c.build(w); err != nil {
		return nil, fmt.Errorf("%s: %w", mapped.Shown(fsys, "."), err)
	}
	if err := c.readCompanions(fsys, text); err != nil {
		return nil, err
	}
	return c, nil
}

// build makes the program of the config and the weights.
func (c *Checkpoint) build(w *weights) error {
	if w.tensors != nil {
		c.Config.DType = w.mainType()
	}
	c.Program = program(&c.Config, w)
	c.files = append(c.files, w.owned...)
	if w.err == nil {
		w.checkLeftovers(&c.Config)
	}
	return w.err
}

func (c *Checkpoint) closeOnError(err *error) {
	if *err != nil {
		*err = errors.Join(*err, c.Close())
	}
}

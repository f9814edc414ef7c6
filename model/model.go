// Package model turns checkpoints into programs: it reads a folder as Hugging Face transformers saves it or a GGUF file,
// checks that configuration and tensors agree, and writes the model down as a device.Program, with the tokenizer, the
// chat template and the stop ids that belong to it.
package model

import (
	"io"

	"minisgl/device"
	"minisgl/model/chat"
	"minisgl/model/tokenizer"
	"minisgl/tensor"
)

// A Checkpoint is an opened model. Close unmaps its files, which no device needs once it has loaded the program.
type Checkpoint struct {
	Path    string
	Config  Config
	Program *device.Program
	// Tokenizer and Chat are nil where the checkpoint has none.
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template
	// StopIDs end a generation: the union of what tokenizer, config and generation_config name.
	StopIDs  []int32
	Defaults Defaults

	files []io.Closer
}

// Defaults are what generation_config.json proposes; nil fields are not named there.
type Defaults struct {
	Temperature, TopP, MinP, RepetitionPenalty *float64
	TopK                                       *int
}

// Options of Open.
type Options struct {
	DType      tensor.DType // tensor.Invalid: as stored
	MaxSeqLen  int          // 0: as the config says; larger than that is an error unless RoPE scaling allows it
	RandomFill bool         // do not read the weights: random ones of the config's shape (--dummy-weight)
}

// Open reads the checkpoint in a folder, or a .gguf file.
func Open(path string, o Options) (*Checkpoint, error) { panic("TODO") }

// Close unmaps the checkpoint's files.
func (c *Checkpoint) Close() error { panic("TODO") }

// Config is what a program needs to know of config.json or of GGUF's metadata, whatever its spelling there.
type Config struct {
	Architecture     string // model_type: "qwen2", "qwen3", "llama"
	DType            tensor.DType
	HiddenSize       int
	IntermediateSize int
	Layers           int
	Heads, KVHeads   int
	HeadDim          int
	Vocab            int
	MaxPositions     int
	RMSNormEps       float64
	RopeTheta        float64
	TieWordEmbedding bool
	QKVBias          bool
	QKNorm           bool
}

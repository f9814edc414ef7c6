// Package hub finds a checkpoint by name: a local folder or file, the local Hugging Face cache, a download from the hub, or
// one from ModelScope where the hub does not answer.
package hub

import (
	"context"
	"net/http"
)

// Options of Resolve. The zero value is what the environment says: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HOME, HF_HUB_CACHE.
type Options struct {
	Source   string // "huggingface" (default) or "modelscope"
	Revision string // branch, tag or commit; "main" if empty
	File     string // for GGUF repositories: the file wanted, or a quantisation's name in it ("Q4_K_M")
	// Progress is told of each file's bytes as they arrive; total is -1 where unknown.
	Progress func(file string, done, total int64)
	Client   *http.Client
	Getenv   func(string) string // nil: os.Getenv
	// ModelScopeName is the name to ask ModelScope for where it differs (MODELSCOPE_MODEL_NAME).
	ModelScopeName string
}

// Resolve returns the local path (a folder, or a .gguf file) of the named model, downloading it if it must.
func Resolve(ctx context.Context, name string, o Options) (string, error) { panic("TODO") }

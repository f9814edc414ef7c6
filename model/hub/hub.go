// Package hub finds a checkpoint by name: a local folder or file, the local Hugging Face cache, a download from the hub, or
// one from ModelScope where the hub does not answer. The commands and the offline library call Resolve before model.Open.
//
// Downloads land in the layout that Python's huggingface_hub writes (blobs, relative links, refs, locks, .incomplete
// files), so that both share one copy on disk and can continue each other's partial files. Nothing that a server says is
// taken on trust: names may not leave the snapshot, sizes and hashes are checked, and only safetensors or GGUF is fetched.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Errors that a caller may decide by; what Resolve returns wraps them with the name, the place and the advice.
var (
	ErrNotFound = errors.New("not found")                // no such model, revision or file
	ErrDenied   = errors.New("access denied")            // private or gated, or the token was refused
	ErrOffline  = errors.New("HF_HUB_OFFLINE is set")    // not in a cache, and the network may not be asked
	ErrMismatch = errors.New("not what the hub listed")  // size or hash of a download; the file has been deleted
	ErrNoSpace  = errors.New("not enough space on disk") // seen before, or while writing
)

// Options of Resolve. The zero value is what the environment says: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HOME,
// HF_HUB_CACHE; MODELSCOPE_ENDPOINT and MODELSCOPE_CACHE for ModelScope.
type Options struct {
	Source   string // "huggingface" (default) or "modelscope"
	Revision string // branch, tag or commit; "main" if empty
	File     string // for GGUF repositories: the file wanted, or a quantisation's name in it ("Q4_K_M")
	// Progress is told of each file's bytes as they arrive, from one goroutine; total is -1 where unknown.
	Progress func(file string, done, total int64)
	Client   *http.Client
	Getenv   func(string) string // nil: os.Getenv
	// ModelScopeName is the name to ask ModelScope for where it differs (MODELSCOPE_MODEL_NAME).
	ModelScopeName string

	patience *patience // nil: defaultPatience
}

// Resolve returns the local path (a folder, or a .gguf file) of the named model, downloading it if it must.
//
// A name is a path, or "org/name" on the hub, or "org/name:Q4_K_M" for one file of a GGUF repository. A snapshot in a cache
// counts only if it is complete: its configuration and every shard of its weights, or the .gguf; it is then used as it
// stands and the network is not asked. ModelScope stands in when the hub cannot be reached, does not answer in time or
// fails with a 5xx status, and only for the default revision. A cancelled download keeps its partial file for the next call.
func Resolve(ctx context.Context, name string, o Options) (string, error) {
	if path, ok, err := local(name, o.File); ok || err != nil {
		return path, err
	}
	want, err := parse(name, o)
	if err != nil {
		return "", err
	}
	s, err := newSession(o)
	if err != nil {
		return "", err
	}
	defer s.close()

	path, missing := s.cached(want)
	if missing == nil {
		return path, nil
	}
	if s.env.offline {
		return "", fmt.Errorf("hub: %s: %w and it is in no cache: %w", name, ErrOffline, missing)
	}
	if want.source == modelScope {
		path, err = s.fromModelScope(ctx, want)
		return path, named(name, err)
	}
	path, err = s.fromHub(ctx, want)
	if err == nil || ctx.Err() != nil || !unanswered(err) || want.revision != mainBranch || !strings.Contains(want.mirror, "/") {
		return path, named(name, err)
	}
	path, mirrorErr := s.fromModelScope(ctx, want)
	if mirrorErr != nil {
		return "", fmt.Errorf("hub: %s: the hub at %s did not answer: %w; ModelScope at %s: %w",
			name, s.env.endpoint, err, s.env.mirror, mirrorErr)
	}
	return path, nil
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("hub: %s: %w", name, err)
}

// local returns the checkpoint that a path names, false where name is none but may be a name on the hub, and an error where
// it can only be a path and nothing of use is there.
func local(name, file string) (path string, ok bool, err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil && !pathLike(name):
		return "", false, nil
	case err != nil:
		abs, _ := filepath.Abs(name)
		return "", false, fmt.Errorf("hub: %q looks like a path, not like a name on the hub (org/name), and nothing is at %s: %w", name, abs, err)
	case info.IsDir():
		path, err = folder(name, file)
	case isGGUF(name):
		path = name
	default:
		err = fmt.Errorf("hub: %s is neither a folder nor a .gguf file: name the folder that holds config.json and the weights", name)
	}
	return path, err == nil, err
}

// folder finds the checkpoint in a user's folder. One with a configuration is taken as it is: what its weights lack, the
// model's reader says best, and it may not want any.
func folder(dir, file string) (string, error) {
	files, err := filesIn(dir, 1)
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	c, err := choose(files, file)
	switch {
	case c.gguf != "":
		return filepath.Join(dir, c.gguf), nil
	case err == nil, file == "" && slices.Contains(files, configFile) && !slices.ContainsFunc(files, isGGUF):
		return dir, nil
	}
	return "", fmt.Errorf("hub: folder %s: %w", dir, err)
}

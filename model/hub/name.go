package hub

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	huggingFace = "huggingface"
	modelScope  = "modelscope"
	mainBranch  = "main"
)

// A request is a name and its options, understood.
type request struct {
	source   string
	repo     string // "org/name" or "name"
	mirror   string // the same on ModelScope
	revision string
	file     string // of a GGUF repository: file or quantisation; may be empty
}

// repoName is huggingface_hub's rule for repository names (utils/_validators.py), without what parse refuses by itself.
var (
	repoName     = regexp.MustCompile(`^(\w[\w.-]*/)?\w([\w.-]{0,94}\w)?$`)
	revisionName = regexp.MustCompile(`^\w[\w./-]{0,254}$`)
	commitHash   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Hex    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func parse(name string, o Options) (request, error) {
	r := request{source: o.Source, repo: name, revision: o.Revision, file: o.File}
	if repo, file, ok := strings.Cut(name, ":"); ok {
		if file == "" || o.File != "" && !strings.EqualFold(o.File, file) {
			return r, fmt.Errorf("hub: %q: name one file or quantisation after the colon, the same as in Options.File (%q)", name, o.File)
		}
		r.repo, r.file = repo, file
	}
	if !validRepo(r.repo) {
		return r, fmt.Errorf("hub: %q is no existing path, and not a name on the hub: want org/name of letters, digits, '-', '_' and '.'", name)
	}
	switch r.source {
	case "":
		r.source = huggingFace
	case huggingFace, modelScope:
	default:
		return r, fmt.Errorf("hub: unknown source %q: want %s or %s", o.Source, huggingFace, modelScope)
	}
	if r.revision == "" {
		r.revision = mainBranch
	}
	if !revisionName.MatchString(r.revision) || !safePath(r.revision) {
		return r, fmt.Errorf("hub: %s: %q is not a branch, tag or commit", name, o.Revision)
	}
	r.mirror = r.repo
	if o.ModelScopeName != "" {
		if r.mirror = o.ModelScopeName; !validRepo(r.mirror) {
			return r, fmt.Errorf("hub: %q is not a name on ModelScope: want org/name", r.mirror)
		}
	}
	if r.source == modelScope && !strings.Contains(r.mirror, "/") {
		return r, fmt.Errorf("hub: %q: ModelScope has no models without an owner: want org/name", r.mirror)
	}
	return r, nil
}

func validRepo(name string) bool {
	return repoName.MatchString(name) && !strings.Contains(name, "--") && !strings.Contains(name, "..") && !strings.HasSuffix(name, ".git")
}

// pathLike tells names that only a path can have.
func pathLike(name string) bool {
	return name == "" || strings.ContainsAny(name[:1], "./~") || strings.Contains(name, `\`) || strings.HasSuffix(name, "/") ||
		strings.Count(name, "/") > 1 || isGGUF(name) || filepath.IsAbs(name)
}

// safePath accepts a server's slash-separated path that stays below the folder it is joined to, on every system.
func safePath(path string) bool {
	if path == "" || len(path) > 1024 || strings.ContainsAny(path, "\\:\x00") || !filepath.IsLocal(filepath.FromSlash(path)) {
		return false
	}
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

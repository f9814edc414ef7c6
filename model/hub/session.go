package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A session is one call of Resolve.
type session struct {
	env      environment
	hub      *client
	mirror   *client
	progress func(file string, done, total int64)
	close    func()
}

func newSession(o Options) (*session, error) {
	env, err := readEnvironment(o.Getenv)
	if err != nil {
		return nil, err
	}
	s := &session{env: env, progress: o.Progress, close: func() {}}
	if s.progress == nil {
		s.progress = func(string, int64, int64) {}
	}
	base := o.Client
	if base == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		base = &http.Client{Transport: transport}
		s.close = transport.CloseIdleConnections
	}
	p := defaultPatience
	if o.patience != nil {
		p = *o.patience
	}
	s.hub = newClient(base, env.endpoint, env.token, p)
	s.mirror = newClient(base, env.mirror, "", p)
	return s, nil
}

// A place is a repository as one server offers it and one cache keeps it.
type place struct {
	*client
	files   map[string]file
	folder  string                           // where the files appear
	address func(path string) string         // of a file's bytes
	blob    func(f file) (path, lock string) // where they are kept
	present func(f file, blob string) bool   // whether they are there and need not come again
	publish func(f file, blob string) error  // makes them appear in the folder
}

// fromHub downloads from the hub's public API into the cache.
func (s *session) fromHub(ctx context.Context, w request) (string, error) {
	commit, err := s.hubCommit(ctx, w)
	if err != nil {
		return "", s.hubAdvice(w, err)
	}
	files, err := s.hubFiles(ctx, w, commit)
	if err != nil {
		return "", s.hubAdvice(w, err)
	}
	repo := s.env.repository(w.repo)
	path, err := s.pull(ctx, w, place{
		client: s.hub,
		files:  files,
		folder: repo.snapshot(commit),
		address: func(path string) string {
			return s.hub.url(w.repo, "resolve", commit, escapePath(path))
		},
		blob: func(f file) (string, string) {
			return filepath.Join(repo.dir, "blobs", f.etag()), filepath.Join(repo.locks, f.etag()+".lock")
		},
		present: func(f file, blob string) bool {
			info, err := os.Stat(blob)
			return err == nil && info.Size() == f.size
		},
		publish: func(f file, blob string) error { return repo.link(commit, f.path, blob) },
	})
	if err != nil {
		return "", s.hubAdvice(w, err)
	}
	return path, repo.setRef(w.revision, commit)
}

// hubCommit asks what commit a revision is, so that all files are of the same one.
func (s *session) hubCommit(ctx context.Context, w request) (string, error) {
	if commitHash.MatchString(w.revision) {
		return w.revision, nil
	}
	address := s.hub.url("api/models", w.repo, "revision", url.PathEscape(w.revision))
	data, _, err := s.hub.listing(ctx, address)
	if err != nil {
		return "", err
	}
	var info struct{ SHA string }
	if err := json.Unmarshal(data, &info); err != nil {
		return "", fmt.Errorf("%s sent no description of a model: %w", address, err)
	}
	if !commitHash.MatchString(info.SHA) {
		return "", fmt.Errorf("%s gives the commit %.80q", address, info.SHA)
	}
	return info.SHA, nil
}

func (s *session) hubFiles(ctx context.Context, w request, commit string) (map[string]file, error) {
	const maxPages = 1000
	var files []file
	next := s.hub.url("api/models", w.repo, "tree", commit) + "?recursive=true"
	for range maxPages {
		data, header, err := s.hub.listing(ctx, next)
		if err != nil {
			return nil, err
		}
		page, err := parseTree(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", next, err)
		}
		if files = append(files, page...); len(files) > maxFiles {
			return nil, fmt.Errorf("the repository lists more than %d files", maxFiles)
		}
		link := nextLink(header)
		if link == "" {
			return byPath(files)
		}
		here, err := url.Parse(next)
		if err != nil {
			return nil, err
		}
		following, err := here.Parse(link)
		if err != nil || !s.hub.home(following) {
			return nil, fmt.Errorf("%s continues its listing at %q, which is another server", next, link)
		}
		next = following.String()
	}
	return nil, fmt.Errorf("the repository's listing has more than %d pages", maxPages)
}

// hubAdvice says what to do about an answer that refuses.
func (s *session) hubAdvice(w request, err error) error {
	var e *statusError
	if !errors.As(err, &e) {
		return err
	}
	page := s.env.endpoint.String() + "/" + w.repo
	switch {
	case e.code == "GatedRepo" && s.env.token == "":
		return fmt.Errorf("%w: the model is gated: accept its terms at %s and set HF_TOKEN to a token of yours: %w", ErrDenied, page, err)
	case e.code == "GatedRepo":
		return fmt.Errorf("%w: the model is gated and the owner of HF_TOKEN has no access: ask for it at %s: %w", ErrDenied, page, err)
	case e.code == "RevisionNotFound":
		return fmt.Errorf("%w: %s has no revision %q: %w", ErrNotFound, page, w.revision, err)
	case e.code == "RepoNotFound" || e.status == http.StatusNotFound:
		return fmt.Errorf("%w: no folder of that name here, and no model at %s that may be seen: check the name; a private or gated model needs HF_TOKEN: %w", ErrNotFound, page, err)
	case e.status == http.StatusUnauthorized && s.env.token != "":
		return fmt.Errorf("%w: HF_TOKEN was refused: %w", ErrDenied, err)
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return fmt.Errorf("%w: the model is private or gated, or does not exist: check the name, or set HF_TOKEN to a token that may read it: %w", ErrDenied, err)
	case e.status == http.StatusTooManyRequests:
		return fmt.Errorf("too many requests for now: wait, or set HF_TOKEN, which has higher limits: %w", err)
	}
	return err
}

// fromModelScope downloads from ModelScope's public API into its own cache. It knows no commits: "main" is "master" there.
func (s *session) fromModelScope(ctx context.Context, w request) (string, error) {
	revision := w.revision
	if revision == mainBranch {
		revision = "master"
	}
	query := url.Values{"Revision": {revision}, "Recursive": {"true"}}
	address := s.mirror.url("api/v1/models", w.mirror, "repo/files?"+query.Encode())
	data, _, err := s.mirror.listing(ctx, address)
	if err != nil {
		return "", mirrorAdvice(w, err)
	}
	listed, err := parseModelScope(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	if len(listed) > maxFiles {
		return "", fmt.Errorf("the repository lists more than %d files", maxFiles)
	}
	files, err := byPath(listed)
	if err != nil {
		return "", err
	}
	folder := s.env.mirrorFolder(w.mirror)
	locks := filepath.Join(s.env.mirrorCache, ".locks", strings.ReplaceAll(w.mirror, "/", "--"))
	path, err := s.pull(ctx, w, place{
		client: s.mirror,
		files:  files,
		folder: folder,
		address: func(path string) string {
			query := url.Values{"Revision": {revision}, "FilePath": {path}}
			return s.mirror.url("api/v1/models", w.mirror, "repo?"+query.Encode())
		},
		blob: func(f file) (string, string) {
			return filepath.Join(folder, filepath.FromSlash(f.path)), filepath.Join(locks, url.PathEscape(f.path)+".lock")
		},
		present: func(f file, blob string) bool { return intact(blob, f) },
		publish: func(file, string) error { return nil },
	})
	return path, mirrorAdvice(w, err)
}

func mirrorAdvice(w request, err error) error {
	var e *statusError
	switch {
	case !errors.As(err, &e):
		return err
	case e.status == http.StatusNotFound:
		return fmt.Errorf("%w: ModelScope has no model %s of revision %q: %w", ErrNotFound, w.mirror, w.revision, err)
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return fmt.Errorf("%w: %s is private on ModelScope: %w", ErrDenied, w.mirror, err)
	}
	return err
}

// pull brings the checkpoint among a place's files, weights last, and returns its path.
func (s *session) pull(ctx context.Context, w request, p place) (string, error) {
	c, err := choose(slices.Sorted(maps.Keys(p.files)), w.file)
	if err != nil {
		return "", err
	}
	result, small, weights := p.folder, c.companions, c.weights
	if c.gguf != "" {
		result, small, weights = filepath.Join(p.folder, filepath.FromSlash(c.gguf)), nil, []string{c.gguf}
	}
	if c.index != "" {
		small = append(small, c.index)
	}
	if err := s.fetchAll(ctx, p, small); err != nil {
		return "", err
	}
	if c.index != "" {
		if weights, err = shardsOf(filepath.Join(p.folder, c.index)); err != nil {
			return "", err
		}
		for _, shard := range weights {
			if _, ok := p.files[shard]; !ok {
				return "", fmt.Errorf("%s names the shard %s, which the repository does not have: %w", c.index, shard, ErrNotFound)
			}
		}
	}
	return result, s.fetchAll(ctx, p, weights)
}

func (s *session) fetchAll(ctx context.Context, p place, names []string) error {
	var bytes int64
	for _, name := range names {
		f := p.files[name]
		blob, _ := p.blob(f)
		if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
			return err
		}
		if info, err := os.Stat(blob); err == nil && info.Size() == f.size {
			continue
		}
		bytes += f.size
		if info, err := os.Stat(blob + ".incomplete"); err == nil {
			bytes -= min(info.Size(), f.size)
		}
	}
	if len(names) > 0 {
		blob, _ := p.blob(p.files[names[0]])
		if err := roomFor(filepath.Dir(blob), bytes); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := s.fetch(ctx, p, p.files[name]); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings one file, alone among all processes that lock as we do.
func (s *session) fetch(ctx context.Context, p place, f file) error {
	blob, lockFile := p.blob(f)
	release, err := lock(ctx, lockFile, p.patience.lock)
	if err != nil {
		return err
	}
	defer release()
	if !p.present(f, blob) {
		report := func(done int64) { s.progress(f.path, done, f.size) }
		if err := p.download(ctx, f, p.address(f.path), blob, report); err != nil {
			return err
		}
	}
	return p.publish(f, blob)
}

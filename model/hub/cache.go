package hub

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A repository in huggingface_hub's cache is the folder models--org--name with
//
//	blobs/<etag>                 each content once, named by its hash; <etag>.incomplete while it is on its way
//	snapshots/<commit>/<path>    links to ../../blobs/<etag>
//	refs/<revision>              the commit that a branch or tag meant when it was last downloaded
//
// and, beside it, .locks/models--org--name/<etag>.lock.
type repository struct {
	dir   string
	locks string
}

func (e environment) repository(repo string) repository {
	name := "models--" + strings.ReplaceAll(repo, "/", "--")
	return repository{dir: filepath.Join(e.cache, name), locks: filepath.Join(e.cache, ".locks", name)}
}

func (r repository) snapshot(commit string) string { return filepath.Join(r.dir, "snapshots", commit) }
func (r repository) ref(revision string) string {
	return filepath.Join(r.dir, "refs", filepath.FromSlash(revision))
}

// commit returns the commit that a revision means in the cache.
func (r repository) commit(revision string) (string, error) {
	if commitHash.MatchString(revision) {
		return revision, nil
	}
	data, err := os.ReadFile(r.ref(revision))
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(data))
	if !commitHash.MatchString(commit) {
		return "", fmt.Errorf("%s does not hold a commit", r.ref(revision))
	}
	return commit, nil
}

// setRef remembers which commit a branch or tag means.
func (r repository) setRef(revision, commit string) error {
	if revision == commit {
		return nil
	}
	if known, err := r.commit(revision); err == nil && known == commit {
		return nil
	}
	ref := r.ref(revision)
	if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
		return err
	}
	return replace(r.dir, ref, func(w io.Writer) error {
		_, err := io.WriteString(w, commit)
		return err
	})
}

// link makes a blob appear under its path in a snapshot: by a relative link, so that the cache may be moved; where links are
// not to be had, as for most users of Windows, by a hard link or a copy.
func (r repository) link(commit, path, blob string) error {
	name := filepath.Join(r.snapshot(commit), filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	source, err := os.Stat(blob)
	if err != nil {
		return err
	}
	if present, err := os.Stat(name); err == nil && os.SameFile(present, source) {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if target, err := filepath.Rel(filepath.Dir(name), blob); err == nil && os.Symlink(target, name) == nil {
		if _, err := os.Stat(name); err == nil { // some systems make links and do not follow them
			return nil
		}
		os.Remove(name)
	}
	if os.Link(blob, name) == nil {
		return nil
	}
	return replace(r.dir, name, func(w io.Writer) error {
		f, err := os.Open(blob)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

// replace writes a file under another name in dir and then gives it its own.
func replace(dir, name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(dir, "tmp-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// cached looks in the caches on disk; the error says where, and what is missing there.
func (s *session) cached(w request) (string, error) {
	var missing []error
	if w.source == huggingFace {
		repo := s.env.repository(w.repo)
		commit, err := repo.commit(w.revision)
		if err == nil {
			var path string
			if path, err = complete(repo.snapshot(commit), w.file); err == nil {
				return path, nil
			}
		}
		missing = append(missing, fmt.Errorf("looked for revision %q in %s: %w", w.revision, repo.dir, err))
	}
	switch {
	case w.revision == mainBranch && strings.Contains(w.mirror, "/"):
		path, err := complete(s.env.mirrorFolder(w.mirror), w.file)
		if err == nil {
			return path, nil
		}
		missing = append(missing, fmt.Errorf("looked in ModelScope's cache: %w", err))
	case w.source == modelScope:
		missing = append(missing, fmt.Errorf("ModelScope's cache does not tell revision %q from others", w.revision))
	}
	return "", errors.Join(missing...)
}

// complete returns the checkpoint in a cache's folder if nothing of it is missing. Downloads finish the weights last, so
// where they are whole the smaller files are there too.
func complete(dir, file string) (string, error) {
	files, err := filesIn(dir, 4)
	if err != nil {
		return "", err
	}
	c, err := choose(files, file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if c.gguf != "" {
		return filepath.Join(dir, filepath.FromSlash(c.gguf)), nil
	}
	if c.index != "" {
		shards, err := shardsOf(filepath.Join(dir, c.index))
		if err != nil {
			return "", err
		}
		for _, shard := range shards {
			if !slices.Contains(files, shard) {
				return "", fmt.Errorf("%s: the shard %s is missing", dir, shard)
			}
		}
	}
	return dir, nil
}

// mirrorFolder is where Python's modelscope keeps a model (modelscope/hub/file_download.py): files as they are, and the
// dots of the name written out so that it can be imported.
func (e environment) mirrorFolder(repo string) string {
	owner, name, _ := strings.Cut(repo, "/")
	return filepath.Join(e.mirrorCache, "models", owner, strings.ReplaceAll(name, ".", "___"))
}

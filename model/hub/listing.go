package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
)

// A file is what a listing promises of one file of a repository. Its size is always known; sha256 is known for LFS files
// and on ModelScope, blob (git's SHA-1 of "blob <size>\0" and the content) for the others.
type file struct {
	path   string
	size   int64
	sha256 string
	blob   string
}

// etag is the name of the file's content in huggingface_hub's cache: the hub's ETag without quotes.
func (f file) etag() string {
	if f.sha256 != "" {
		return f.sha256
	}
	return f.blob
}

const (
	maxFiles    = 100_000  // of one repository
	maxResponse = 32 << 20 // bytes of one page of a listing
	maxFileSize = 1 << 45  // bytes; the sum over maxFiles fits into an int64
)

// parseTree reads one page of the hub's GET /api/models/{repo}/tree/{commit}?recursive=true:
// [{"type":"file","path":…,"size":…,"oid":git SHA-1,"lfs":{"oid":SHA-256,"size":…}},…].
func parseTree(data []byte) ([]file, error) {
	var entries []struct {
		Type string
		Path string
		Size *int64
		OID  string
		LFS  *struct {
			OID  string
			Size *int64
		}
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("not the hub's listing of files: %w", err)
	}
	var files []file
	for _, e := range entries {
		if e.Type != "file" {
			continue
		}
		f, size := file{path: e.Path, blob: e.OID}, e.Size
		if e.LFS != nil {
			f.sha256, size = e.LFS.OID, e.LFS.Size
			if !sha256Hex.MatchString(f.sha256) {
				return nil, fmt.Errorf("the listing gives %q the SHA-256 %q", e.Path, f.sha256)
			}
		} else if !commitHash.MatchString(f.blob) {
			return nil, fmt.Errorf("the listing gives %q the git id %q", e.Path, f.blob)
		}
		var err error
		if f.size, err = checkEntry(e.Path, size); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// parseModelScope reads GET /api/v1/models/{repo}/repo/files?Recursive=true of ModelScope's public API (modelscope/hub/api.py):
// {"Code":200,"Data":{"Files":[{"Type":"blob","Path":…,"Size":…,"Sha256":…},…]}}.
func parseModelScope(data []byte) ([]file, error) {
	var answer struct {
		Code    int
		Message string
		Data    struct {
			Files []struct {
				Type   string
				Path   string
				Size   *int64
				Sha256 string
			}
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("not ModelScope's listing of files: %w", err)
	}
	if answer.Code != http.StatusOK {
		return nil, fmt.Errorf("ModelScope answered with code %d: %.200q", answer.Code, answer.Message)
	}
	var files []file
	for _, e := range answer.Data.Files {
		if e.Type == "tree" {
			continue
		}
		if e.Sha256 != "" && !sha256Hex.MatchString(e.Sha256) {
			return nil, fmt.Errorf("the listing gives %q the SHA-256 %q", e.Path, e.Sha256)
		}
		size, err := checkEntry(e.Path, e.Size)
		if err != nil {
			return nil, err
		}
		files = append(files, file{path: e.Path, size: size, sha256: e.Sha256})
	}
	return files, nil
}

func checkEntry(path string, size *int64) (int64, error) {
	switch {
	case !safePath(path):
		return 0, fmt.Errorf("the listing has the file name %.200q, which would leave the model's folder", path)
	case size == nil || *size < 0 || *size > maxFileSize:
		return 0, fmt.Errorf("the listing gives no possible size for %q", path)
	}
	return *size, nil
}

// byPath refuses listings that name a file twice.
func byPath(files []file) (map[string]file, error) {
	m := make(map[string]file, len(files))
	for _, f := range files {
		if _, ok := m[f.path]; ok {
			return nil, fmt.Errorf("the listing names %q twice", f.path)
		}
		m[f.path] = f
	}
	return m, nil
}

var nextPage = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextLink returns the next page's URL from a Link header as in RFC 8288, or "".
func nextLink(h http.Header) string {
	for _, link := range h.Values("Link") {
		if m := nextPage.FindStringSubmatch(link); m != nil {
			return m[1]
		}
	}
	return ""
}

package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const commitA = "7ae557604adf67be50417f59c2c2f167def9a775"

// A fakeHub serves one repository, as the hub and as ModelScope do, with the faults that a test asks for.
type fakeHub struct {
	*httptest.Server
	repo  string
	files map[string]string // path to content

	mu       sync.Mutex
	requests []string // "path" or "path range", of files' bytes only
	times    map[string]int
	tokens   []string // Authorization of every request

	// fault may answer a request for a file's bytes instead of the server: the nth (from 1) for this file.
	fault func(w http.ResponseWriter, r *http.Request, path string, nth int) bool
	// listing may answer a request for the commit or the listing.
	listing func(w http.ResponseWriter, r *http.Request) bool
	// edit may lie in the listing.
	edit func(entry map[string]any)
}

func newFakeHub(t *testing.T, repo string, files map[string]string) *fakeHub {
	t.Helper()
	h := &fakeHub{repo: repo, files: files, times: map[string]int{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func large(file string) bool { return strings.HasSuffix(file, ".safetensors") || isGGUF(file) }

func sha256of(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }
func blobOf(content string) string {
	return fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(content), content))))
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.tokens = append(h.tokens, r.Header.Get("Authorization"))
	h.mu.Unlock()
	p := r.URL.Path
	switch {
	case strings.HasPrefix(p, "/"+h.repo+"/resolve/"+commitA+"/"):
		h.serveFile(w, r, strings.TrimPrefix(p, "/"+h.repo+"/resolve/"+commitA+"/"))
	case p == "/api/v1/models/"+h.repo+"/repo":
		h.serveFile(w, r, r.URL.Query().Get("FilePath"))
	case h.listing != nil && h.listing(w, r):
	case p == "/api/models/"+h.repo+"/revision/main":
		fmt.Fprintf(w, `{"id":%q,"sha":%q,"siblings":[]}`, h.repo, commitA)
	case p == "/api/models/"+h.repo+"/tree/"+commitA:
		json.NewEncoder(w).Encode(h.tree())
	case p == "/api/v1/models/"+h.repo+"/repo/files" && r.URL.Query().Get("Revision") == "master":
		json.NewEncoder(w).Encode(map[string]any{"Code": 200, "Success": true, "Data": map[string]any{"Files": h.mirrorTree()}})
	default:
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, `{"error":"Repository not found"}`, http.StatusNotFound)
	}
}

func (h *fakeHub) tree() []map[string]any {
	entries := []map[string]any{{"type": "directory", "path": "onnx", "size": 0, "oid": blobOf("onnx")}}
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		content := h.files[name]
		e := map[string]any{"type": "file", "path": name, "size": len(content), "oid": blobOf(content)}
		if large(name) {
			e["oid"] = blobOf("a pointer to " + name)
			e["lfs"] = map[string]any{"oid": sha256of(content), "size": len(content), "pointerSize": 134}
		}
		if h.edit != nil {
			h.edit(e)
		}
		entries = append(entries, e)
	}
	return entries
}

func (h *fakeHub) mirrorTree() []map[string]any {
	var entries []map[string]any
	for name, content := range h.files {
		entries = append(entries, map[string]any{"Type": "blob", "Path": name, "Size": len(content), "Sha256": sha256of(content)})
	}
	return entries
}

func (h *fakeHub) serveFile(w http.ResponseWriter, r *http.Request, path string) {
	content, ok := h.files[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	h.requests = append(h.requests, strings.TrimSpace(path+" "+r.Header.Get("Range")))
	h.times[path]++
	nth := h.times[path]
	h.mu.Unlock()
	if h.fault == nil || !h.fault(w, r, path, nth) {
		http.ServeContent(w, r, path, time.Time{}, strings.NewReader(content))
	}
}

// sent returns the requests for files' bytes so far, and forgets them.
func (h *fakeHub) sent() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := h.requests
	h.requests = nil
	return sent
}

// cut sends the content up to a byte, says that there is more, and hangs up.
func cut(w http.ResponseWriter, content string, from, to int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
	}
	fmt.Fprint(w, content[from:to])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// stall sends the content up to a byte and then nothing until the client gives up.
func stall(w http.ResponseWriter, r *http.Request, content string, to int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	fmt.Fprint(w, content[:to])
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// qwen is a repository as they are: what is needed, and what is not.
func qwen() map[string]string {
	return map[string]string{
		"config.json":            `{"model_type":"qwen2"}`,
		"generation_config.json": `{"top_k":20}`,
		"tokenizer.json":         `{"model":{}}`,
		"tokenizer_config.json":  `{}`,
		"merges.txt":             "a b\n",
		"vocab.json":             `{"a":0}`,
		"README.md":              "# read me",
		"model.safetensors":      strings.Repeat("0123456789abcdef", 64<<10),
		"pytorch_model.bin":      "a pickle",
		"onnx/model.safetensors": "not at the root",
	}
}

// brief is patience for tests: it gives up early and tries again at once, but does not take a busy machine for a stall.
var brief = patience{
	stall: time.Minute, answer: time.Minute, tries: 3, asks: 2,
	backoff: time.Millisecond, longest: 20 * time.Millisecond, lock: time.Millisecond,
}

// A home is a user's machine: caches in a folder of the test, and environment variables.
type home struct {
	dir      string
	vars     map[string]string
	patience patience
}

// hasty is a home that takes a second without a byte for a stall.
func (m home) hasty() home {
	m.patience.stall, m.patience.answer = time.Second, time.Second
	return m
}

func newHome(t *testing.T, hub, mirror string) home {
	dir := t.TempDir()
	return home{dir, map[string]string{
		"HOME": dir, "HF_HUB_CACHE": dir + "/hub", "MODELSCOPE_CACHE": dir + "/ms",
		"HF_ENDPOINT": hub, "MODELSCOPE_ENDPOINT": mirror,
	}, brief}
}

func (m home) options() Options {
	return Options{patience: &m.patience, Getenv: func(name string) string { return m.vars[name] }}
}

func (m home) resolve(name string) (string, error) {
	return Resolve(context.Background(), name, m.options())
}

// nowhere is an address that refuses connections.
func nowhere(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + u.Host
}

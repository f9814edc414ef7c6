package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDownloadIntoTheLayoutOfHuggingfaceHub(t *testing.T) {
	h := newFakeHub(t, "Qwen/Qwen2.5-0.5B", qwen())
	m := newHome(t, h.URL, nowhere(t))
	m.vars["HF_TOKEN"] = "hf_secret"
	path, err := m.resolve("Qwen/Qwen2.5-0.5B")
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(m.dir, "hub", "models--Qwen--Qwen2.5-0.5B")
	if want := filepath.Join(repo, "snapshots", commitA); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if got := read(t, filepath.Join(repo, "refs", "main")); got != commitA {
		t.Errorf("refs/main holds %q", got)
	}
	entries, _ := os.ReadDir(path)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if read(t, filepath.Join(path, e.Name())) != h.files[e.Name()] {
			t.Errorf("%s has other content", e.Name())
		}
	}
	want := []string{"config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
	if !slices.Equal(got, want) {
		t.Errorf("downloaded %v, want %v", got, want)
	}
	if runtime.GOOS != "windows" {
		for name, etag := range map[string]string{"config.json": blobOf(h.files["config.json"]), "model.safetensors": sha256of(h.files["model.safetensors"])} {
			if link, err := os.Readlink(filepath.Join(path, name)); err != nil || link != "../../blobs/"+etag {
				t.Errorf("%s links to %q (%v), want ../../blobs/%s", name, link, err, etag)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(repo, "blobs", "*.incomplete")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if sent := h.sent(); sent[len(sent)-1] != "model.safetensors" {
		t.Errorf("the weights must come last, so that they vouch for the rest: %v", sent)
	}
	for _, token := range h.tokens {
		if token != "Bearer hf_secret" {
			t.Errorf("Authorization %q", token)
		}
	}

	h.Close()
	m.vars["HF_HUB_OFFLINE"] = "1"
	if again, err := m.resolve("Qwen/Qwen2.5-0.5B"); err != nil || again != path {
		t.Errorf("from the cache: %q, %v", again, err)
	}
}

func TestFaultyServers(t *testing.T) {
	type fault = func(w http.ResponseWriter, r *http.Request, path string, nth int) bool
	weights := qwen()["model.safetensors"]
	half := len(weights) / 2
	onFirst := func(do func(w http.ResponseWriter, r *http.Request)) fault {
		return func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path != weightsFile || nth > 1 {
				return false
			}
			do(w, r)
			return true
		}
	}
	always := func(do func(w http.ResponseWriter, r *http.Request)) fault {
		return func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path != weightsFile {
				return false
			}
			do(w, r)
			return true
		}
	}
	cutHere := func(w http.ResponseWriter, _ *http.Request) { cut(w, weights, 0, half) }
	status := func(code int, header ...string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	resumed := fmt.Sprintf("model.safetensors bytes=%d-", half)
	const whole = "model.safetensors"

	for _, c := range []struct {
		name   string
		fault  fault
		edit   func(map[string]any)
		stalls bool
		sent   []string // requests for the weights; nil: not checked
		is     error
		errHas string // "": the download succeeds
	}{
		{name: "cut once", fault: onFirst(cutHere), sent: []string{whole, resumed}},
		{name: "stalls once", stalls: true, fault: onFirst(func(w http.ResponseWriter, r *http.Request) { stall(w, r, weights, half) }), sent: []string{whole, resumed}},
		{name: "stalls before its answer", stalls: true, fault: onFirst(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), sent: []string{whole, whole}},
		{name: "cut every 200 KB", fault: always(func(w http.ResponseWriter, r *http.Request) {
			from := 0
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if to := from + 200<<10; to < len(weights) {
				cut(w, weights, from, to)
			}
			cut(w, weights, from, len(weights))
		})},
		{name: "never gets further", fault: always(cutHere), sent: []string{whole, resumed, resumed}, errHas: "after 3 tries"},
		{name: "ignores Range", fault: func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path == weightsFile && nth == 1 {
				cutHere(w, r)
			}
			r.Header.Del("Range")
			return false
		}, sent: []string{whole, resumed}},
		{name: "416 for a good Range", fault: func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			switch {
			case path == weightsFile && nth == 1:
				cutHere(w, r)
			case r.Header.Get("Range") != "":
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}, sent: []string{whole, resumed, whole}},
		{name: "another range than asked for", fault: func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			switch {
			case path == weightsFile && nth == 1:
				cutHere(w, r)
			case r.Header.Get("Range") != "":
				r.Header.Set("Range", "bytes=1-")
			}
			return false
		}, sent: []string{whole, resumed, whole}},
		{name: "500 once", fault: onFirst(status(500)), sent: []string{whole, whole}},
		{name: "429 once", fault: onFirst(status(429, "Retry-After", "1")), sent: []string{whole, whole}},
		{name: "429 always", fault: always(status(429, "Retry-After", "99999999999999999999")), errHas: "too many requests"},
		{name: "404", fault: always(status(404, "X-Error-Code", "EntryNotFound")), sent: []string{whole}, is: ErrNotFound, errHas: "404"},
		{name: "403", fault: always(status(403)), sent: []string{whole}, is: ErrDenied, errHas: "HF_TOKEN"},
		{name: "other content of the same size", fault: always(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat("x", len(weights)))
		}), sent: []string{whole}, is: ErrMismatch, errHas: "deleted"},
		{name: "wrong content after a cut", fault: func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path == weightsFile && nth == 1 {
				cut(w, strings.Repeat("x", len(weights)), 0, half)
			}
			return false
		}, is: ErrMismatch, errHas: "deleted"},
		{name: "shorter than listed", fault: always(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, weights[:100]) }),
			is: ErrMismatch, errHas: "sends 100 bytes"},
		{name: "longer than listed, without a length", fault: always(func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, weights+"!")
		}), is: ErrMismatch, errHas: "more than"},
		{name: "a web page", fault: always(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in</html>") }),
			is: ErrMismatch, errHas: "text/html"},
		{name: "another size in its header", fault: always(status(200, "X-Linked-Size", "5")), is: ErrMismatch, errHas: "5 bytes by its header"},
		{name: "listing with another hash", edit: func(e map[string]any) {
			if e["path"] == "config.json" {
				e["oid"] = blobOf("something else")
			}
		}, is: ErrMismatch, errHas: "config.json"},
		{name: "listing larger than the disk", edit: func(e map[string]any) {
			if lfs, ok := e["lfs"].(map[string]any); ok {
				lfs["size"] = 1 << 44
			}
		}, sent: []string{}, is: ErrNoSpace, errHas: "16 TiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newFakeHub(t, "org/model", qwen())
			h.fault, h.edit = c.fault, c.edit
			m := newHome(t, h.URL, nowhere(t))
			if c.stalls {
				m = m.hasty()
			}
			path, err := m.resolve("org/model")
			var sent []string
			for _, r := range h.sent() {
				if strings.HasPrefix(r, weightsFile) {
					sent = append(sent, r)
				}
			}
			if c.sent != nil && !slices.Equal(sent, c.sent) {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			if c.errHas == "" {
				if err != nil {
					t.Fatal(err)
				}
				if read(t, filepath.Join(path, weightsFile)) != weights {
					t.Error("the weights differ")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.errHas) || !strings.Contains(err.Error(), "org/model") || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("error %v, want one with %q that is %v", err, c.errHas, c.is)
			}
			left, _ := filepath.Glob(filepath.Join(m.dir, "hub/models--org--model/blobs/*.incomplete"))
			if c.is == ErrMismatch && len(left) > 0 {
				t.Errorf("not deleted: %v", left)
			}
			m.vars["HF_HUB_OFFLINE"] = "1"
			if path, err := m.resolve("org/model"); err == nil {
				t.Errorf("a failed download is in the cache as %s", path)
			}
		})
	}
}

func TestCancelKeepsThePartialFile(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	weights := h.files[weightsFile]
	h.fault = func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
		if path != weightsFile || nth > 1 {
			return false
		}
		stall(w, r, weights, 300<<10)
		return true
	}
	m := newHome(t, h.URL, nowhere(t))
	ctx, cancel := context.WithCancel(context.Background())
	o := m.options()
	o.Progress = func(file string, done, total int64) {
		if file == weightsFile && done == 300<<10 {
			cancel()
		}
	}
	if _, err := Resolve(ctx, "org/model", o); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled, but %v", err)
	}
	h.sent()
	if _, err := m.resolve("org/model"); err != nil {
		t.Fatal(err)
	}
	if sent := h.sent(); !slices.Equal(sent, []string{"model.safetensors bytes=307200-"}) {
		t.Errorf("the second call asked for %q", sent)
	}
}

func TestPartialFileOfSomethingElse(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	m := newHome(t, h.URL, nowhere(t))
	weights := h.files[weightsFile]
	for name, junk := range map[string]string{"shorter": "junk", "as long": strings.Repeat("j", len(weights)), "longer": weights + "junk"} {
		t.Run(name, func(t *testing.T) {
			blobs := filepath.Join(m.dir, "hub/models--org--model/blobs")
			os.RemoveAll(blobs)
			if err := os.MkdirAll(blobs, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(blobs, sha256of(weights)+".incomplete"), []byte(junk), 0o644); err != nil {
				t.Fatal(err)
			}
			path, err := m.resolve("org/model")
			if err != nil {
				t.Fatal(err)
			}
			if read(t, filepath.Join(path, weightsFile)) != weights {
				t.Error("the weights differ")
			}
		})
	}
}

func TestRedirectsDoNotLeakTheToken(t *testing.T) {
	var leaked []string
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = append(leaked, r.Header.Get("Authorization"))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(qwen()[weightsFile]))
	}))
	defer storage.Close()
	h := newFakeHub(t, "org/model", qwen())
	h.fault = func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
		if path == weightsFile {
			w.Header().Set("X-Linked-Size", fmt.Sprint(len(h.files[path])))
			http.Redirect(w, r, storage.URL+"/object?signature=1", http.StatusFound)
		}
		return path == weightsFile
	}
	m := newHome(t, h.URL, nowhere(t))
	m.vars["HF_TOKEN"] = "hf_secret"
	if _, err := m.resolve("org/model"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(leaked, []string{""}) {
		t.Errorf("the storage saw the tokens %q", leaked)
	}
}

func TestTwoDownloadsAtOnce(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	h.fault = func(http.ResponseWriter, *http.Request, string, int) bool {
		time.Sleep(5 * time.Millisecond)
		return false
	}
	m := newHome(t, h.URL, nowhere(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := m.resolve("org/model"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent := h.sent(); len(sent) != 7 {
		t.Errorf("each of 7 files is to come once, but %q", sent)
	}
}

func TestLockOfAnotherProcess(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	m := newHome(t, h.URL, nowhere(t))
	path := filepath.Join(m.dir, "hub/.locks/models--org--model", sha256of(h.files[weightsFile])+".lock")
	release, err := lock(context.Background(), path, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := lock(cancelled, path, time.Hour); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("no longer waiting: %v, want an error that names %s", err, path)
	}
	done := make(chan error)
	go func() {
		_, err := m.resolve("org/model")
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait for the lock: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("after its release: %v", err)
	}
}

func TestShards(t *testing.T) {
	files := map[string]string{
		"config.json": "{}", "model-00001-of-00002.safetensors": "one", "model-00002-of-00002.safetensors": "two",
		"consolidated.safetensors":     "the same once more",
		"model.safetensors.index.json": `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`,
	}
	h := newFakeHub(t, "org/model", files)
	m := newHome(t, h.URL, nowhere(t))
	path, err := m.resolve("org/model")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
	if sent := h.sent(); !slices.Equal(sent, want) {
		t.Errorf("downloaded %v, want %v", sent, want)
	}

	os.Remove(filepath.Join(path, "model-00002-of-00002.safetensors"))
	if _, err := m.resolve("org/model"); err != nil {
		t.Fatal(err)
	}
	if read(t, filepath.Join(path, "model-00002-of-00002.safetensors")) != "two" {
		t.Error("a snapshot without one shard was taken for complete")
	}

	for name, index := range map[string]string{
		"outside":  `{"weight_map":{"a":"../../../x.safetensors"}}`,
		"a pickle": `{"weight_map":{"a":"pytorch_model.bin"}}`,
		"missing":  `{"weight_map":{"a":"model-00009-of-00002.safetensors"}}`,
		"no index": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			files["model.safetensors.index.json"] = index
			m := newHome(t, h.URL, nowhere(t))
			if _, err := m.resolve("org/model"); err == nil {
				t.Errorf("accepted the index %s", index)
			}
		})
	}
}

func TestGGUF(t *testing.T) {
	h := newFakeHub(t, "org/model-GGUF", map[string]string{
		"README.md": "#", "m-q4_k_m.gguf": "GGUF4", "m-q8_0.gguf": "GGUF8", "mmproj-m.gguf": "projector",
	})
	m := newHome(t, h.URL, nowhere(t))
	if _, err := m.resolve("org/model-GGUF"); err == nil || !strings.Contains(err.Error(), "m-q4_k_m.gguf, m-q8_0.gguf") {
		t.Errorf("without a choice: %v, want an error that lists the files", err)
	}
	path, err := m.resolve("org/model-GGUF:Q8_0")
	if err != nil || filepath.Base(path) != "m-q8_0.gguf" || read(t, path) != "GGUF8" {
		t.Errorf("Q8_0: %s, %v", path, err)
	}
	o := m.options()
	o.File = "m-q4_k_m.gguf"
	if path, err = Resolve(context.Background(), "org/model-GGUF", o); err != nil || read(t, path) != "GGUF4" {
		t.Errorf("by file: %s, %v", path, err)
	}
	if sent := h.sent(); !slices.Equal(sent, []string{"m-q8_0.gguf", "m-q4_k_m.gguf"}) {
		t.Errorf("downloaded %v", sent)
	}
}

func TestDiskFullWhileWriting(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no device that is always full:", err)
	}
	defer f.Close()
	want := file{path: weightsFile, size: 5 << 20, sha256: sha256of("")}
	p := &partial{path: "/cache/blobs/x.incomplete", file: f, want: want, sum: want.newHash()}
	err = p.write([]byte("bytes"))
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "/cache/blobs/x.incomplete, 5.0 MiB") {
		t.Errorf("error %v, want one that names the file and the bytes to go", err)
	}
}

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
	"testing"
)

// What the hub may answer when it is asked for the listing, and what becomes of it.
func TestAnswersOfTheHub(t *testing.T) {
	answer := func(status int, kind, code, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/api/v1/") { // ModelScope
				return false
			}
			w.Header().Set("Content-Type", kind)
			if code != "" {
				w.Header().Set("X-Error-Code", code)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	tree := func(body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tree/") {
				return false
			}
			fmt.Fprint(w, body)
			return true
		}
	}
	entry := func(path string) string {
		return fmt.Sprintf(`{"type":"file","path":%q,"size":2,"oid":%q}`, path, blobOf("{}"))
	}
	for _, c := range []struct {
		name    string
		listing func(w http.ResponseWriter, r *http.Request) bool
		token   string
		mirror  bool // ModelScope stands in
		stalls  bool
		is      error
		errHas  string
	}{
		{name: "401 gated", listing: answer(401, "application/json", "GatedRepo", "{}"), is: ErrDenied, errHas: "set HF_TOKEN"},
		{name: "403 gated", listing: answer(403, "application/json", "GatedRepo", "{}"), token: "hf_x", is: ErrDenied, errHas: "owner of HF_TOKEN has no access"},
		{name: "401 unknown", listing: answer(401, "application/json", "RepoNotFound", "{}"), is: ErrNotFound, errHas: "needs HF_TOKEN"},
		{name: "401 token", listing: answer(401, "application/json", "", "{}"), token: "hf_x", is: ErrDenied, errHas: "HF_TOKEN was refused"},
		{name: "404", listing: answer(404, "application/json", "RepoNotFound", "{}"), is: ErrNotFound, errHas: "check the name"},
		{name: "404 revision", listing: answer(404, "application/json", "RevisionNotFound", "{}"), is: ErrNotFound, errHas: `no revision "main"`},
		{name: "416", listing: answer(416, "text/plain", "", ""), errHas: "416"},
		{name: "429", listing: answer(429, "text/plain", "", ""), errHas: "too many requests"},
		{name: "500", listing: answer(500, "text/plain", "", ""), mirror: true},
		{name: "503", listing: answer(503, "text/html", "", "<html>"), mirror: true},
		{name: "silent", listing: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/api/v1/") {
				return false
			}
			<-r.Context().Done()
			return true
		}, stalls: true, mirror: true},
		{name: "web page", listing: answer(200, "text/html; charset=utf-8", "", "<html>sign in"), errHas: "web page"},
		{name: "web page that calls itself JSON", listing: answer(200, "application/json", "", "<html>sign in"), errHas: "no description of a model"},
		{name: "commit that is a path", listing: answer(200, "application/json", "", `{"sha":"../../../../etc"}`), errHas: "gives the commit"},
		{name: "listing is no list", listing: tree(`{"error":"x"}`), errHas: "not the hub's listing"},
		{name: "name with ..", listing: tree("[" + entry("../../x") + "]"), errHas: `"../../x"`},
		{name: "absolute name", listing: tree("[" + entry("/etc/passwd") + "]"), errHas: `"/etc/passwd"`},
		{name: "name of a drive", listing: tree("[" + entry(`C:\x.gguf`) + "]"), errHas: "leave the model's folder"},
		{name: "hash that is a path", listing: tree(`[{"type":"file","path":"config.json","size":2,"oid":"../../x"}]`), errHas: `"../../x"`},
		{name: "named twice", listing: tree("[" + entry("config.json") + "," + entry("config.json") + "]"), errHas: "twice"},
		{name: "no size", listing: tree(`[{"type":"file","path":"config.json","oid":"` + blobOf("") + `"}]`), errHas: "no possible size"},
		{name: "only pickles", listing: tree("[" + entry("config.json") + "," + entry("pytorch_model.bin") + "]"), errHas: "pickled weights (pytorch_model.bin)"},
		{name: "empty", listing: tree(`[]`), is: ErrNotFound, errHas: "neither config.json"},
		{name: "endless page", listing: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tree/") {
				return false
			}
			fmt.Fprint(w, "[")
			for chunk := strings.Repeat(" ", 1<<20); r.Context().Err() == nil; {
				if _, err := fmt.Fprint(w, chunk); err != nil {
					break
				}
			}
			return true
		}, errHas: "more than 33554432 bytes"},
		{name: "pages without end", listing: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tree/") {
				return false
			}
			w.Header().Set("Link", `<`+r.URL.Path+`?cursor=next>; rel="next"`)
			fmt.Fprint(w, "[]")
			return true
		}, errHas: "more than 1000 pages"},
		{name: "next page elsewhere", listing: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tree/") {
				return false
			}
			w.Header().Set("Link", `<http://elsewhere.invalid/tree>; rel="next"`)
			fmt.Fprint(w, "[]")
			return true
		}, errHas: "another server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newFakeHub(t, "org/model", qwen())
			h.listing = c.listing
			m := newHome(t, h.URL, h.URL)
			m.vars["HF_TOKEN"] = c.token
			if c.stalls {
				m = m.hasty()
			}
			path, err := m.resolve("org/model")
			if c.mirror {
				if err != nil || !strings.HasPrefix(path, filepath.Join(m.dir, "ms")) {
					t.Fatalf("%q, %v: want ModelScope to stand in", path, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.errHas) || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("error %v, want one with %q that is %v", err, c.errHas, c.is)
			}
			if c.token != "" && strings.Contains(err.Error(), c.token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestListingOverManyPages(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	all := h.tree()
	const pages = 50
	h.listing = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/tree/") {
			return false
		}
		page := 0
		fmt.Sscan(r.URL.Query().Get("cursor"), &page)
		entries := []string{}
		for i := range 200 {
			entries = append(entries, fmt.Sprintf(`{"type":"file","path":"logs/%d/%d.txt","size":1,"oid":%q}`, page, i, blobOf("x")))
		}
		if page < len(all) {
			entries = append(entries, asJSON(t, all[page]))
		}
		if page+1 < pages {
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, h.URL, r.URL.Path, page+1))
		}
		fmt.Fprint(w, "["+strings.Join(entries, ",")+"]")
		return true
	}
	path, err := newHome(t, h.URL, nowhere(t)).resolve("org/model")
	if err != nil || read(t, filepath.Join(path, weightsFile)) != h.files[weightsFile] {
		t.Fatal(path, err)
	}
}

func TestModelScope(t *testing.T) {
	t.Run("hub unreachable", func(t *testing.T) {
		h := newFakeHub(t, "qwen/Qwen2.5-0.5B", qwen())
		m := newHome(t, nowhere(t), h.URL)
		m.vars["HF_TOKEN"] = "hf_secret"
		o := m.options()
		o.ModelScopeName = "qwen/Qwen2.5-0.5B"
		path, err := Resolve(context.Background(), "Qwen/Qwen2.5-0.5B", o)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(m.dir, "ms/models/qwen/Qwen2___5-0___5B"); path != want {
			t.Errorf("path %s, want %s", path, want)
		}
		if read(t, filepath.Join(path, weightsFile)) != h.files[weightsFile] {
			t.Error("the weights differ")
		}
		if slices.ContainsFunc(h.tokens, func(s string) bool { return s != "" }) {
			t.Errorf("ModelScope saw the hub's token")
		}
		h.Close()
		if again, err := Resolve(context.Background(), "Qwen/Qwen2.5-0.5B", o); err != nil || again != path {
			t.Errorf("from ModelScope's cache: %q, %v", again, err)
		}
	})
	t.Run("asked for", func(t *testing.T) {
		h := newFakeHub(t, "org/model", qwen())
		h.fault = func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path == weightsFile && nth == 1 {
				cut(w, h.files[path], 0, 1000)
			}
			return false
		}
		m := newHome(t, nowhere(t), h.URL)
		o := m.options()
		o.Source = "modelscope"
		if _, err := Resolve(context.Background(), "org/model", o); err != nil {
			t.Fatal(err)
		}
		if sent := h.sent(); sent[len(sent)-1] != "model.safetensors bytes=1000-" {
			t.Errorf("sent %q", sent)
		}
		o.Revision = "v1.0"
		if _, err := Resolve(context.Background(), "org/model", o); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown revision: %v", err)
		}
	})
	t.Run("not for another revision", func(t *testing.T) {
		h := newFakeHub(t, "org/model", qwen())
		o := newHome(t, nowhere(t), h.URL).options()
		o.Revision = commitA
		if path, err := Resolve(context.Background(), "org/model", o); err == nil {
			t.Errorf("%s cannot be known to be commit %s", path, commitA)
		}
	})
	t.Run("neither answers", func(t *testing.T) {
		hub, mirror := nowhere(t), nowhere(t)
		_, err := newHome(t, hub, mirror).resolve("org/model")
		if err == nil || !strings.Contains(err.Error(), hub) || !strings.Contains(err.Error(), mirror) {
			t.Errorf("error %v, want one that names %s and %s", err, hub, mirror)
		}
	})
	t.Run("hub dies under way", func(t *testing.T) {
		h := newFakeHub(t, "org/model", qwen())
		h.fault = func(w http.ResponseWriter, r *http.Request, path string, nth int) bool {
			if path == weightsFile && strings.Contains(r.URL.Path, "/resolve/") {
				cut(w, h.files[path], 0, 1000)
			}
			return false
		}
		m := newHome(t, h.URL, h.URL)
		if path, err := m.resolve("org/model"); err != nil || !strings.HasPrefix(path, filepath.Join(m.dir, "ms")) {
			t.Errorf("%q, %v", path, err)
		}
	})
	t.Run("changed since", func(t *testing.T) {
		h := newFakeHub(t, "org/model", qwen())
		m := newHome(t, nowhere(t), h.URL)
		path, err := m.resolve("org/model")
		if err != nil {
			t.Fatal(err)
		}
		h.files["config.json"] = `{"model_type":"qwen3"}`
		os.Remove(filepath.Join(path, weightsFile))
		h.sent()
		if _, err := m.resolve("org/model"); err != nil || read(t, filepath.Join(path, configFile)) != h.files["config.json"] {
			t.Errorf("the old configuration stayed beside new weights: %v", err)
		}
		if sent := h.sent(); !slices.Equal(sent, []string{"config.json", "model.safetensors"}) {
			t.Errorf("downloaded %q", sent)
		}
	})
}

func TestOffline(t *testing.T) {
	h := newFakeHub(t, "org/model", qwen())
	m := newHome(t, h.URL, h.URL)
	m.vars["HF_HUB_OFFLINE"] = "true"
	_, err := m.resolve("org/model")
	if !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), filepath.Join(m.dir, "hub", "models--org--model")) {
		t.Errorf("error %v, want one that names the folder", err)
	}
	if len(h.tokens) > 0 {
		t.Error("offline, but the network was asked")
	}
}

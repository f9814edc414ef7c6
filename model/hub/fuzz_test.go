package hub

import (
	"path/filepath"
	"strings"
	"testing"
)

// inside fails where a path from a server would leave the folder it is joined to.
func inside(t *testing.T, path string) {
	t.Helper()
	root := filepath.FromSlash("/cache/snapshot")
	if joined := filepath.Join(root, filepath.FromSlash(path)); !strings.HasPrefix(joined, root+string(filepath.Separator)) {
		t.Fatalf("%q leads to %s", path, joined)
	}
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(`[{"type":"directory","path":"a","oid":"x"},{"type":"file","path":"a/b.gguf","size":3,"oid":"7ae557604adf67be50417f59c2c2f167def9a775"}]`))
	f.Add([]byte(`[{"type":"file","path":"m.safetensors","size":3,"lfs":{"oid":"` + strings.Repeat("0f", 32) + `","size":988097824}}]`))
	f.Add([]byte(`{"Code":200,"Data":{"Files":[{"Type":"blob","Path":"config.json","Size":2,"Sha256":"` + strings.Repeat("0f", 32) + `"}]}}`))
	f.Add([]byte(`[{"type":"file","path":"../../x","size":1e30}]`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		hub, err := parseTree(data)
		if err != nil && hub != nil {
			t.Fatal("files beside an error")
		}
		mirror, _ := parseModelScope(data)
		for _, x := range append(hub, mirror...) {
			inside(t, x.path)
			if x.size < 0 || strings.ContainsAny(x.etag(), `/\.`) {
				t.Fatalf("%+v", x)
			}
		}
		for _, x := range hub {
			if x.etag() == "" {
				t.Fatalf("%+v", x)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"x/y.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		shards, err := parseIndex(data)
		if (err == nil) != (len(shards) > 0) {
			t.Fatal(shards, err)
		}
		for _, s := range shards {
			inside(t, s)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"Qwen/Qwen2.5-0.5B", "gpt2", "a/b:Q8_0", "../x", "a--b/c", `a\b`, "a/.."} {
		f.Add(s, "main")
	}
	f.Add("a/b", "refs/pr/1")
	f.Fuzz(func(t *testing.T, name, revision string) {
		r, err := parse(name, Options{Revision: revision})
		if err != nil {
			return
		}
		inside(t, r.revision)
		if folder := (environment{}).repository(r.repo).dir; strings.ContainsAny(folder, `/\:`) || !strings.HasPrefix(folder, "models--") {
			t.Fatalf("%q is kept in %q", name, folder)
		}
	})
}

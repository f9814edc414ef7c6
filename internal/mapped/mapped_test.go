package mapped

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOpen(t *testing.T) {
	dir := Dir(t.TempDir())
	files := map[string][]byte{"text": []byte("abc"), "empty": {}, "large": bytes.Repeat([]byte("0123456789"), 100_000)}
	memory := fstest.MapFS{}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(string(dir), name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		memory[name] = &fstest.MapFile{Data: data}
	}
	for name, want := range files {
		mapped, err := Open(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		read, err := Open(memory, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []*File{mapped, read} {
			if !bytes.Equal(f.Data, want) {
				t.Errorf("%s has %d bytes, want %d", f.Name, len(f.Data), len(want))
			}
			for range 2 {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if f.Data != nil {
				t.Errorf("%s has data after Close", f.Name)
			}
		}
		if want := filepath.Join(string(dir), name); mapped.Name != want || Shown(dir, name) != want {
			t.Errorf("the name is %s, want %s", mapped.Name, want)
		}
	}
}

func TestBadOpen(t *testing.T) {
	dir := Dir(t.TempDir())
	if _, err := Open(dir, "missing"); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(dir, "."); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("folder: %v", err)
	}
	if _, err := Open(dir, "../"+filepath.Base(string(dir))); err == nil {
		t.Error("a name with dots leads out of the folder")
	}
}

func TestAllocate(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20} {
		f, err := Allocate(size)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Data) != size || bytes.ContainsFunc(f.Data, func(r rune) bool { return r != 0 }) {
			t.Errorf("%d bytes, want %d zeros", len(f.Data), size)
		}
		for i := range f.Data {
			f.Data[i] = byte(i)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

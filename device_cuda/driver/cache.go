//go:build cuda

package driver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// cacheFolder is where compiled kernels are kept; "": nowhere.
func cacheFolder(option string) string {
	switch option {
	case "-":
		return ""
	case "":
		folder, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		return filepath.Join(folder, "minisgl", "kernels")
	}
	return option
}

// compileCached is compile with a folder of results. A folder that cannot be used makes it slower, nothing else.
func (c *compiler) compileCached(folder string, t translation) ([]byte, error) {
	if folder == "" {
		return c.compile(t)
	}
	path := filepath.Join(folder, c.key(t))
	if image := readCached(path); image != nil {
		return image, nil
	}
	image, err := c.compile(t)
	if err == nil {
		writeCached(path, image)
	}
	return image, err
}

// key is the name of the cache file: a hash of all that the result depends on.
func (c *compiler) key(t translation) string {
	h := sha256.New()
	put := func(s string) { fmt.Fprintf(h, "%d:%s\n", len(s), s) }
	put(c.library)
	put(c.version())
	put(t.name)
	put(t.source)
	for _, name := range slices.Sorted(maps.Keys(t.headers)) {
		put(name)
		put(t.headers[name])
	}
	for _, o := range t.options() {
		put(o)
	}
	return hex.EncodeToString(h.Sum(nil)) + ".kernels"
}

// A cache file is the hash of the compiled kernels, then these.
func readCached(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil || len(content) <= sha256.Size {
		return nil
	}
	image := content[sha256.Size:]
	if sum := sha256.Sum256(image); !bytes.Equal(sum[:], content[:sha256.Size]) {
		return nil
	}
	return image
}

// writeCached lets other processes see the whole file or none.
func writeCached(path string, image []byte) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name()) // gone already if all went well
	sum := sha256.Sum256(image)
	_, err = f.Write(append(sum[:], image...))
	if closed := f.Close(); err == nil && closed == nil {
		_ = os.Rename(f.Name(), path)
	}
}

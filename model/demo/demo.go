// Copyright 2026 The minisgl Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo holds a tiny Qwen2 model that travels inside the program, so
// that minisgl speaks without a download.
//
// The model has 4.3 million parameters and was trained for this project on
// text that a grammar of our own wrote; tools/demo has the grammar and the
// training script, and README.md among the files says what the model can and
// cannot do. The files form an ordinary Hugging Face model folder: FS gives
// them as they are embedded, and WriteTo writes them out for other programs.
package demo

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Name is the name by which the program knows the model.
const Name = "demo"

//go:embed files
var embedded embed.FS

// FS returns the model folder: config.json, generation_config.json,
// model.safetensors, tokenizer.json, tokenizer_config.json and README.md at
// its root. The files are read-only and live in the program's own image.
func FS() fs.FS {
	sub, err := fs.Sub(embedded, "files")
	if err != nil {
		panic(err) // "files" is a valid path, so this cannot happen.
	}
	return sub
}

// WriteTo writes the model folder to dir, which is made if it is missing.
//
// A file that is already there with the same contents is left alone, so
// writing twice is no error. A file of the same name with other contents is
// never overwritten: WriteTo then writes nothing and returns an error that
// names the file and matches [fs.ErrExist]. Every file appears whole or not at
// all, whatever interrupts the write.
func WriteTo(dir string) error {
	entries, err := fs.ReadDir(FS(), ".")
	if err != nil {
		return fmt.Errorf("demo model: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("demo model: cannot make the folder %s: %w", dir, err)
	}
	// Look at everything first: a refusal leaves the folder as it was.
	missing := entries[:0:0]
	for _, e := range entries {
		same, err := sameContents(filepath.Join(dir, e.Name()), e.Name())
		if err != nil {
			return fmt.Errorf("demo model: %w", err)
		}
		if !same {
			missing = append(missing, e)
		}
	}
	for _, e := range missing {
		if err := writeFile(dir, e.Name()); err != nil {
			return fmt.Errorf("demo model: %w", err)
		}
	}
	return nil
}

// sameContents reports whether path already holds the embedded file name. It
// reports false where there is nothing at path, and an error where there is
// something else.
func sameContents(path, name string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want, err := fs.ReadFile(FS(), name)
	if err != nil {
		return false, err
	}
	if info.Mode().IsRegular() && info.Size() == int64(len(want)) {
		got, err := os.ReadFile(path)
		if err != nil {
			return false, err
		}
		if bytes.Equal(got, want) {
			return true, nil
		}
	}
	return false, fmt.Errorf("%s is there already and is not the demo's; choose another folder or remove it: %w", path, fs.ErrExist)
}

// writeFile writes the embedded file name into dir through a temporary file
// beside it. The last step is a link, not a rename, where the file system has
// links: it fails rather than replace a file that appeared in the meantime.
func writeFile(dir, name string) (err error) {
	data, err := fs.ReadFile(FS(), name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return fmt.Errorf("cannot write into %s: %w", dir, err)
	}
	defer func() {
		tmp.Close()
		os.Remove(tmp.Name())
	}()
	if _, err := tmp.Write(data); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	err = os.Link(tmp.Name(), path)
	if err == nil {
		return nil
	}
	// Somebody else may have written the same file just now, or the file system has no links.
	if same, serr := sameContents(path, name); serr != nil || same {
		return serr
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// Package mapped opens files as byte slices: mapped into memory where they lie in the operating system's file system, read
// where they come from another fs.FS, such as one embedded in a program. The readers of checkpoints use it.
package mapped

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// A File is the content of a file. Data must not be written, nor read after Close. A mapped file that another process cuts
// short faults when the missing pages are read, as with every program that maps files.
type File struct {
	Name string // the path to show to people
	Data []byte

	unmap func() error
	once  sync.Once
	err   error
}

// Close releases the data. It may be called more than once; every call returns the first one's error.
func (f *File) Close() error {
	f.once.Do(func() {
		f.Data = nil
		if f.unmap != nil {
			f.err = f.unmap()
		}
	})
	return f.err
}

// A Dir is a folder as an fs.FS whose files Open maps.
type Dir string

// Open makes a Dir an fs.FS.
func (d Dir) Open(name string) (fs.File, error) { return os.DirFS(string(d)).Open(name) }

// ReadDir makes a Dir an fs.ReadDirFS.
func (d Dir) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(os.DirFS(string(d)), name)
}

// Open returns the content of the file called name, slash-separated, below the root of fsys.
func Open(fsys fs.FS, name string) (*File, error) {
	dir, ok := fsys.(Dir)
	if !ok {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		return &File{Name: name, Data: data}, nil
	}
	file, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	shown := filepath.Join(string(dir), filepath.FromSlash(name))
	switch size := info.Size(); {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", shown)
	case size == 0:
		return &File{Name: shown}, nil
	case size != int64(int(size)):
		return nil, fmt.Errorf("%s has %d bytes, more than this machine can address", shown, size)
	default:
		data, unmap, err := mapFile(file.(*os.File), int(size))
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", shown, err)
		}
		return &File{Name: shown, Data: data, unmap: unmap}, nil
	}
}

// Shown returns how to name a file of fsys to people.
func Shown(fsys fs.FS, name string) string {
	if dir, ok := fsys.(Dir); ok {
		return filepath.Join(string(dir), filepath.FromSlash(name))
	}
	return path.Clean(name)
}

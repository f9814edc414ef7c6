package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lock waits until this process alone holds the lock file, and returns the way to let go. The file stays, as in
// huggingface_hub: removing it would let a third process lock another file of the same name.
func lock(ctx context.Context, path string, poll time.Duration) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if locked && sameFile(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s, which another process holds: %w", path, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}

// sameFile tells whether f still is what path names: others may remove their locks.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

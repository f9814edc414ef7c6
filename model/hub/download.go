package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/dustin/go-humanize"
)

// A mismatch is a download that is not what the listing promised. Its partial file is not worth keeping.
type mismatch struct{ error }

func (m mismatch) Unwrap() []error { return []error{m.error, ErrMismatch} }

// download brings one file to dest by way of dest.incomplete; the caller holds the file's lock.
// What a former call left there is continued. A continued file that turns out wrong is fetched once more from its start.
func (c *client) download(ctx context.Context, f file, address, dest string, report func(done int64)) error {
	p, err := openPartial(dest+".incomplete", f)
	if err != nil {
		return err
	}
	defer p.close()
	continued := p.done > 0
	for {
		err := c.fill(ctx, p, address, report)
		if err == nil {
			err = p.verify()
		}
		var wrong mismatch
		switch {
		case err == nil:
			return p.publish(dest)
		case !errors.As(err, &wrong):
			return err
		case !continued:
			p.close()
			if rm := os.Remove(p.path); rm != nil {
				return errors.Join(err, rm)
			}
			return fmt.Errorf("%w; the download has been deleted", err)
		}
		continued = false
		if err := p.restart(); err != nil {
			return err
		}
	}
}

// fill appends to the partial file until it has the size listed.
func (c *client) fill(ctx context.Context, p *partial, address string, report func(done int64)) error {
	report(p.done)
	furthest := p.done
	return c.retry(ctx, c.patience.tries, func() (bool, error) {
		err := c.fillOnce(ctx, p, address, report)
		progress := p.done > furthest
		furthest = max(furthest, p.done)
		return progress, err
	})
}

func (c *client) fillOnce(ctx context.Context, p *partial, address string, report func(done int64)) error {
	if p.done == p.want.size {
		return nil
	}
	resp, err := c.get(ctx, address, p.done, c.patience.stall)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := p.accept(address, resp); err != nil {
		return err
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buffer)
		if p.done+int64(n) > p.want.size {
			return mismatch{fmt.Errorf("%s sent more than the %d bytes listed for %s", address, p.want.size, p.want.path)}
		}
		if err := p.write(buffer[:n]); err != nil {
			return err
		}
		if n > 0 {
			report(p.done)
		}
		switch {
		case err == io.EOF && p.done < p.want.size:
			return silence{fmt.Errorf("%s: cut off after %d of %d bytes", address, p.done, p.want.size)}
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w after %d of %d bytes", address, err, p.done, p.want.size)
		}
	}
}

// A partial is a file under way, with the hash of what is in it.
type partial struct {
	path string
	file *os.File
	want file
	done int64 // bytes in it
	sum  hash.Hash
}

func openPartial(path string, want file) (*partial, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &partial{path: path, file: f, want: want, sum: want.newHash()}
	if p.done, err = io.Copy(p.sum, f); err == nil && p.done > want.size {
		err = p.restart()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// newHash returns the hash that the listing names for the file; nil never, so that writing needs no question.
func (f file) newHash() hash.Hash {
	if f.sha256 != "" || f.blob == "" {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.size)
	return h
}

func (p *partial) restart() error {
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	p.done, p.sum = 0, p.want.newHash()
	return err
}

func (p *partial) write(b []byte) error {
	n, err := p.file.Write(b)
	p.sum.Write(b[:n])
	p.done += int64(n)
	if err != nil {
		left := p.want.size - p.done
		if diskFull(err) {
			err = fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		return fmt.Errorf("writing %s, %s (%d bytes) to go: %w", p.path, humanize.IBytes(uint64(left)), left, err)
	}
	return nil
}

func (p *partial) verify() error {
	want := p.want.etag()
	if got := hex.EncodeToString(p.sum.Sum(nil)); want != "" && got != want {
		return mismatch{fmt.Errorf("%s: the %d bytes received have the hash %s, listed is %s", p.want.path, p.done, got, want)}
	}
	return nil
}

func (p *partial) close() { p.file.Close() }

// publish gives the whole file its name in one step.
func (p *partial) publish(dest string) error {
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return os.Rename(p.path, dest)
}

var (
	contentRange = regexp.MustCompile(`^bytes (\d+)-\d+/(\d+|\*)$`)
	errNoRange   = errors.New("the range asked for was not what came")
)

// accept decides whether the answer's body continues the file. A server that ignores Range sends all of it again.
func (p *partial) accept(address string, resp *http.Response) error {
	for r := resp; r != nil; r = r.Request.Response { // the hub says so where it redirects to its storage
		if linked := r.Header.Get("X-Linked-Size"); linked != "" && linked != strconv.FormatInt(p.want.size, 10) {
			return mismatch{fmt.Errorf("%s has %s bytes by its header, %d by the listing", address, linked, p.want.size)}
		}
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		if length := resp.ContentLength; length >= 0 && length != p.want.size {
			return mismatch{fmt.Errorf("%s sends %d bytes of type %q, listed are %d", address, length, resp.Header.Get("Content-Type"), p.want.size)}
		}
		if p.done > 0 {
			return p.restart()
		}
		return nil
	case resp.StatusCode == http.StatusPartialContent && p.done > 0:
		m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
		if m != nil && m[2] != "*" && m[2] != strconv.FormatInt(p.want.size, 10) {
			return mismatch{fmt.Errorf("%s has %s bytes by its Content-Range, %d by the listing", address, m[2], p.want.size)}
		}
		if m != nil && m[1] == strconv.FormatInt(p.done, 10) {
			return nil
		}
		return p.again(address)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && p.done > 0:
		return p.again(address)
	}
	return refusal(address, resp)
}

// again throws away what is there, so that the next try asks for the whole file.
func (p *partial) again(address string) error {
	if err := p.restart(); err != nil {
		return err
	}
	return silence{fmt.Errorf("%s: %w", address, errNoRange)}
}

// intact tells whether a file on disk is the one listed; the caller asks where the cache does not name content by hash.
func intact(path string, f file) bool {
	r, err := os.Open(path)
	if err != nil {
		return false
	}
	defer r.Close()
	h := f.newHash()
	n, err := io.Copy(h, r)
	return err == nil && n == f.size && (f.etag() == "" || hex.EncodeToString(h.Sum(nil)) == f.etag())
}

// roomFor fails before the first byte where the disk of dir cannot hold them all.
func roomFor(dir string, bytes int64) error {
	free, err := freeSpace(dir)
	if err != nil || bytes <= 0 || uint64(bytes) <= free {
		return nil // not knowing is no reason to refuse: writing will tell
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	return fmt.Errorf("%s: %w: %s (%d bytes) to download, %s free", abs, ErrNoSpace,
		humanize.IBytes(uint64(bytes)), bytes, humanize.IBytes(free))
}

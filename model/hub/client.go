package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// patience says how long to wait, and how often to try.
type patience struct {
	stall   time.Duration // without a byte of a file, or without its response
	answer  time.Duration // the same for listings, where ModelScope may stand in
	tries   int           // in a row without progress on a file
	asks    int           // for a listing
	backoff time.Duration // before the second try, doubled before each further one
	longest time.Duration // wait, also where Retry-After asks for more
	lock    time.Duration // between looks at a lock that another process holds
}

var defaultPatience = patience{
	stall: 30 * time.Second, answer: 10 * time.Second, tries: 6, asks: 3,
	backoff: 500 * time.Millisecond, longest: 30 * time.Second, lock: 200 * time.Millisecond,
}

// A client talks to one endpoint. Its token goes there and nowhere else.
type client struct {
	http     *http.Client
	endpoint *url.URL
	token    string
	patience patience
}

func newClient(base *http.Client, endpoint *url.URL, token string, p patience) *client {
	c := &client{endpoint: endpoint, token: token, patience: p}
	own := *base
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		if !c.home(req.URL) {
			req.Header.Del("Authorization") // net/http keeps it for subdomains and other ports
		}
		if base.CheckRedirect != nil {
			return base.CheckRedirect(req, via)
		}
		return nil
	}
	c.http = &own
	return c
}

func (c *client) home(u *url.URL) bool {
	return strings.EqualFold(u.Host, c.endpoint.Host) && u.Scheme == c.endpoint.Scheme
}

// url joins parts, which are escaped already, to the endpoint.
func (c *client) url(parts ...string) string {
	return c.endpoint.String() + "/" + strings.Join(parts, "/")
}

// escapePath escapes a slash-separated path but for its slashes.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

var errStalled = errors.New("no data arrived")

// A silence is a failure that says nothing about what was asked for: no connection, no answer in time, an answer cut off.
type silence struct{ error }

func (s silence) Unwrap() error { return s.error }

// A statusError is an answer that is not the one asked for.
type statusError struct {
	url     string
	status  int
	code    string // X-Error-Code, the hub's own name for the reason: GatedRepo, RepoNotFound, RevisionNotFound, …
	message string
	after   time.Duration // Retry-After
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.url, e.status, http.StatusText(e.status))
	if e.message != "" {
		text += fmt.Sprintf(" (%.200s)", e.message)
	}
	return text
}

func (e *statusError) passing() bool {
	return e.status >= 500 || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout
}

// unanswered tells whether another place should be asked: the server could not be reached, went silent or failed.
func unanswered(err error) bool {
	var silent silence
	var status *statusError
	return errors.As(err, &silent) || errors.As(err, &status) && status.status >= 500
}

// get sends one request, for bytes from "from" on if that is positive, and returns whatever answer comes. The body fails with
// a silence when no byte comes for the given time; closing it ends the request.
func (c *client) get(ctx context.Context, address string, from int64, stall time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.Header.Set("User-Agent", "minisgl")
	if c.token != "" && c.home(req.URL) {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if from >= 0 { // a file: its bytes count
		req.Header.Set("Accept-Encoding", "identity")
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("%w for %v", errStalled, stall)) })
	resp, err := c.http.Do(req)
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = fmt.Errorf("%s: %w", address, cause)
		}
		cancel(nil)
		return nil, silence{err}
	}
	resp.Body = &livelyBody{resp.Body, ctx, cancel, timer, stall}
	return resp, nil
}

// A livelyBody ends its request when a single read takes longer than the stall time.
type livelyBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (b *livelyBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		err = silence{err}
	}
	return n, err
}

func (b *livelyBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// refusal makes an error of an answer without success, and closes it.
func refusal(address string, resp *http.Response) error {
	defer resp.Body.Close()
	e := &statusError{url: address, status: resp.StatusCode, code: resp.Header.Get("X-Error-Code"), message: resp.Header.Get("X-Error-Message")}
	after := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		e.after = time.Duration(seconds) * time.Second
	} else if when, err := http.ParseTime(after); err == nil {
		e.after = time.Until(when)
	}
	return e
}

// listing fetches one JSON document of bounded size.
func (c *client) listing(ctx context.Context, address string) (data []byte, header http.Header, err error) {
	err = c.retry(ctx, c.patience.asks, func() (bool, error) {
		resp, err := c.get(ctx, address, -1, c.patience.answer)
		if err != nil {
			return false, err
		}
		if resp.StatusCode != http.StatusOK {
			return false, refusal(address, resp)
		}
		defer resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
			return false, fmt.Errorf("%s sent a web page where JSON was expected: is %s really a hub's address, or a proxy in between?", address, c.endpoint)
		}
		data, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
		if err == nil && len(data) > maxResponse {
			err = fmt.Errorf("%s sent more than %d bytes", address, maxResponse)
		}
		header = resp.Header
		return false, err
	})
	return data, header, err
}

// retry calls try until it succeeds, fails for a reason that will not pass, or has failed often in a row without progress.
func (c *client) retry(ctx context.Context, most int, try func() (progress bool, err error)) error {
	for failures := 0; ; {
		progress, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var silent silence
		var status *statusError
		wait := time.Duration(0)
		switch {
		case errors.As(err, &silent):
		case errors.As(err, &status) && status.passing():
			wait = status.after
		default:
			return err
		}
		if progress {
			failures = 0
		}
		if failures++; failures >= most {
			return fmt.Errorf("%w (after %d tries)", err, failures)
		}
		pause := c.patience.backoff << (failures - 1)
		wait = min(max(wait, pause/2+rand.N(pause/2+1)), c.patience.longest)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

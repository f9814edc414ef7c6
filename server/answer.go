package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"minisgl"
	"minisgl/scheduler"
)

// A job is a decoded request body: what to generate and how to answer.
type job struct {
	requests []minisgl.Request
	ids      []string // by which clients may abort: one for all requests, or one for each
	stream   bool
	format   format
	rename   map[string]string // from minisgl's names of parameters to the dialect's
}

// A format writes what a job generates in the words of one dialect. Its methods are not called at the same time.
type format interface {
	// begin is told of the streams, one for each request, before anything else.
	begin(streams []*minisgl.Stream)
	// chunk adds what is to be sent for a chunk of request i; that may be nothing.
	chunk(b []byte, i int, c *minisgl.Chunk) []byte
	// end adds what ends the stream after all requests have.
	end(b []byte) []byte
	// failure adds an error in the middle of a stream, and its end.
	failure(b []byte, e *apiError) []byte
	// whole adds the answer of a job that does not stream.
	whole(b []byte, outputs []minisgl.Output) []byte
}

var errTimeout = &apiError{status: http.StatusGatewayTimeout, code: "timeout", message: "the request took longer than the server allows"}

// job makes a handler of a decoder.
func (s *Server) job(decode func(*minisgl.LLM, *fields) (*job, *apiError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if e := s.answer(w, r, decode); e != nil {
			s.log.Debug(fmt.Sprintf("%s %s: %d %s", r.Method, r.URL.Path, e.status, e.message))
			writeError(w, e)
		}
	}
}

// answer runs a job. The error is nil once a byte was sent.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, decode func(*minisgl.LLM, *fields) (*job, *apiError)) *apiError {
	llm, e := s.ready()
	if e != nil {
		return e
	}
	body, e := s.readBody(w, r)
	if e != nil {
		return e
	}
	f, e := parseFields(body)
	if e != nil {
		return e
	}
	j, e := decode(llm, f)
	if e != nil {
		return e
	}
	for name := range f.values {
		s.log.Debug(fmt.Sprintf("%s: unknown parameter %q is ignored", r.URL.Path, name))
	}
	ctx := r.Context()
	if s.options.RequestTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.options.RequestTimeout, errTimeout)
		defer cancel()
	}
	streams, release, err := s.start(ctx, llm, j)
	defer release()
	if err != nil {
		return asAPIError(err, j.rename)
	}
	j.format.begin(streams)
	if j.stream {
		return s.stream(ctx, w, j, streams, release)
	}
	return s.whole(ctx, w, j, streams, release)
}

// start submits the requests of a job and makes them known to abort_request. release, which is to be called in any case and
// may be called again, ends what still runs and frees the ids: call it before the client hears that the job is done, or
// the client may use an id again too early.
func (s *Server) start(ctx context.Context, llm *minisgl.LLM, j *job) (streams []*minisgl.Stream, release func(), err error) {
	var cleanups []func()
	release = sync.OnceFunc(func() {
		for _, cleanup := range cleanups {
			cleanup()
		}
	})
	prepared := make([]minisgl.Prepared, len(j.requests)) // all, before any of them runs
	for i, request := range j.requests {
		if prepared[i], err = llm.Prepare(request); err != nil {
			return nil, release, err
		}
	}
	var group context.Context // of the requests that one id stands for
	for i := range j.requests {
		if i < len(j.ids) {
			var cancel context.CancelFunc
			group, cancel = context.WithCancel(ctx)
			cleanups = append(cleanups, cancel)
			if _, used := s.running.LoadOrStore(j.ids[i], cancel); used {
				return nil, release, badParam("rid", "%q is in use", j.ids[i])
			}
			cleanups = append(cleanups, func() { s.running.Delete(j.ids[i]) })
		}
		stream, err := prepared[i].Stream(group)
		if err != nil {
			return nil, release, err
		}
		streams = append(streams, stream)
	}
	return streams, release, nil
}

// abort ends the requests that a public id stands for.
func (s *Server) abort(id string) {
	if cancel, ok := s.running.Load(id); ok {
		cancel.(context.CancelFunc)()
	}
}

// timedOut reports whether a request that ended so did because of RequestTimeout.
func timedOut(ctx context.Context, f *minisgl.Finish) bool {
	return f != nil && f.Reason == scheduler.Aborted && context.Cause(ctx) == errTimeout
}

// whole answers when everything is there.
func (s *Server) whole(ctx context.Context, w http.ResponseWriter, j *job, streams []*minisgl.Stream, release func()) *apiError {
	outputs := make([]minisgl.Output, len(streams))
	for i, stream := range streams {
		var err error
		if outputs[i], err = stream.Output(); err != nil {
			return asAPIError(err, j.rename)
		}
		if timedOut(ctx, &outputs[i].Finish) {
			return errTimeout
		}
	}
	release()
	w.Header().Set("Content-Type", "application/json")
	out := s.newSender(w)
	defer out.close()
	out.send(j.format.whole(nil, outputs))
	return nil
}

// stream answers chunk by chunk. Several requests are read at the same time, one goroutine for each.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, j *job, streams []*minisgl.Stream, release func()) *apiError {
	out := s.newSender(w)
	defer out.close()
	var mu sync.Mutex // guards out, buffer, the format and failed
	var buffer []byte
	var failed *apiError
	read := func(i int) {
		stream := streams[i]
		for stream.Next() {
			c := stream.Chunk()
			mu.Lock()
			if !out.began && timedOut(ctx, c.Finish) {
				failed = errTimeout
			}
			if failed == nil {
				buffer = j.format.chunk(buffer[:0], i, &c)
				out.send(buffer)
			}
			stop := failed != nil || out.err != nil
			mu.Unlock()
			if stop {
				stream.Close()
				return
			}
		}
		if err := stream.Err(); err != nil {
			mu.Lock()
			failed = asAPIError(err, j.rename)
			mu.Unlock()
		}
	}
	if len(streams) == 1 {
		read(0)
	} else {
		var readers sync.WaitGroup
		for i := range streams {
			readers.Go(func() { read(i) })
		}
		readers.Wait()
	}
	release()
	switch {
	case failed != nil && !out.began:
		return failed
	case failed != nil:
		s.log.Warn("a stream has failed: " + failed.message)
		out.send(j.format.failure(buffer[:0], failed))
	default:
		out.send(j.format.end(buffer[:0]))
	}
	return nil
}

// A sender writes an answer piece by piece, each at once, and gives up on a client that does not read.
type sender struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	extended time.Time // when the deadline was last moved
	began    bool
	err      error
}

func (s *Server) newSender(w http.ResponseWriter) *sender {
	return &sender{w: w, control: http.NewResponseController(w), timeout: s.options.IOTimeout}
}

// send writes a piece; after an error nothing more.
func (o *sender) send(piece []byte) {
	if len(piece) == 0 || o.err != nil {
		return
	}
	if !o.began && o.w.Header().Get("Content-Type") == "" {
		o.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		o.w.Header().Set("Cache-Control", "no-cache")
		o.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold chunks back
	}
	o.began = true
	// Moving the deadline for each token would cost more than it is worth.
	if now := time.Now(); now.Sub(o.extended) > o.timeout/8 {
		o.extended = now
		o.control.SetWriteDeadline(now.Add(o.timeout))
	}
	if _, o.err = o.w.Write(piece); o.err == nil {
		o.err = o.control.Flush()
	}
}

// close takes the deadline off the connection, which may serve further requests.
func (o *sender) close() {
	if o.began {
		o.control.SetWriteDeadline(time.Time{})
	}
}

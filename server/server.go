// Package server answers HTTP: the OpenAI endpoints, SGLang's native ones, those of the two seed systems, metrics and
// health. It is a client of package minisgl like any other program; what a request means is decided there.
//
// A request's way: ServeHTTP finds the endpoint and checks key and readiness; the endpoint's decoder (openai_chat.go,
// openai_completions.go, sglang.go, seeds.go) turns the body into a job; answer.go runs the job, and the job's format
// writes what comes out in the words of its dialect.
package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"minisgl"
)

// Options of a server. Zero values are defaults.
type Options struct {
	APIKeys         []string // any of them opens every endpoint but health and metrics; none: open to all
	ModelName       string   // served model name; default: the LLM's Name
	MaxBodyBytes    int64    // default 32 MiB
	RequestTimeout  time.Duration
	Logger          *slog.Logger
	StreamLogStride int // each how many chunks of a response a line is logged; 0: 32
	Version         string
	// IOTimeout drops a client that takes so long to send its request, or does not read for so long; 0: one minute.
	IOTimeout time.Duration
}

// A Server is an http.Handler that answers 503 until a model is attached.
type Server struct {
	options  Options
	log      *slog.Logger
	keys     keys
	metrics  *metrics
	origin   *http.CrossOriginProtection
	routes   map[string]endpoint
	started  time.Time
	llm      atomic.Pointer[minisgl.LLM]
	draining atomic.Bool
	running  sync.Map // public request id → context.CancelCauseFunc
}

// New makes a server without model.
func New(o Options) *Server {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 32 << 20
	}
	if o.StreamLogStride <= 0 {
		o.StreamLogStride = 32
	}
	if o.IOTimeout <= 0 {
		o.IOTimeout = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, log: o.Logger, keys: newKeys(o.APIKeys), origin: http.NewCrossOriginProtection(), started: time.Now()}
	s.metrics = newMetrics(s)
	s.routes = s.endpoints()
	return s
}

// Observer is to be given to minisgl.Open, so that /metrics can tell latencies.
func (s *Server) Observer() minisgl.Observer { return s.metrics }

// Attach makes the server ready. It is called once.
func (s *Server) Attach(llm *minisgl.LLM) { s.llm.Store(llm) }

// ShuttingDown makes new requests fail with 503, while running ones go on.
func (s *Server) ShuttingDown() { s.draining.Store(true) }

// An endpoint is what a path answers to.
type endpoint struct {
	open    bool // needs no key
	methods map[string]http.HandlerFunc
}

func (s *Server) endpoints() map[string]endpoint {
	get := func(h http.HandlerFunc) endpoint {
		return endpoint{methods: map[string]http.HandlerFunc{"GET": h, "HEAD": h}}
	}
	post := func(h http.HandlerFunc) endpoint { return endpoint{methods: map[string]http.HandlerFunc{"POST": h}} }
	both := func(h http.HandlerFunc) endpoint {
		return endpoint{methods: map[string]http.HandlerFunc{"GET": h, "HEAD": h, "POST": h}}
	}
	open := func(e endpoint) endpoint { e.open = true; return e }
	return map[string]endpoint{
		"/":                    open(get(s.playground)),
		"/health":              open(get(s.health)),
		"/ping":                open(both(s.health)),
		"/metrics":             open(get(s.metrics.serve)),
		"/health_generate":     get(s.healthGenerate),
		"/v1":                  get(s.statusOK),
		"/v1/models":           get(s.models),
		"/v1/chat/completions": post(s.job(s.decodeChat)),
		"/v1/completions":      post(s.job(s.decodeCompletions)),
		"/generate":            post(s.job(s.decodeGenerate)),
		"/tokenize":            post(s.tokenize),
		"/detokenize":          post(s.detokenize),
		"/model_info":          get(s.modelInfo),
		"/get_model_info":      get(s.modelInfo),
		"/server_info":         get(s.serverInfo),
		"/get_server_info":     get(s.serverInfo),
		"/get_load":            get(s.load),
		"/version":             get(s.version),
		"/flush_cache":         both(s.flushCache),
		"/abort_request":       post(s.abortRequest),
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", requestID(r))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.log.Error(fmt.Sprintf("%s %s: panic: %v\n%s", r.Method, r.URL.Path, p, debug.Stack()))
			writeError(w, &apiError{status: http.StatusInternalServerError, message: "internal error"})
		}
	}()
	if e := s.route(w, r); e != nil {
		s.log.Debug(fmt.Sprintf("%s %s: %d %s", r.Method, r.URL.Path, e.status, e.message))
		writeError(w, e)
	}
}

// route calls the handler of the request's path and method, or says why not.
func (s *Server) route(w http.ResponseWriter, r *http.Request) *apiError {
	end, ok := s.routes[r.URL.Path]
	if !ok {
		if end, ok = s.modelEndpoint(r.URL.Path); !ok {
			return &apiError{status: http.StatusNotFound, message: "no such path: " + r.URL.Path}
		}
	}
	handler := end.methods[r.Method]
	if handler == nil {
		w.Header().Set("Allow", allowed(end.methods))
		return &apiError{status: http.StatusMethodNotAllowed, message: r.Method + " is not possible here; possible: " + allowed(end.methods)}
	}
	if !end.open && !s.keys.open(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &apiError{status: http.StatusUnauthorized, code: "invalid_api_key",
			message: "missing or wrong API key: send 'Authorization: Bearer KEY'"}
	}
	if err := s.origin.Check(r); err != nil { // a page of another site that a browser shows cannot use this server
		return &apiError{status: http.StatusForbidden, message: err.Error()}
	}
	handler(w, r)
	return nil
}

// ready returns the model, or the 503 of a server that has none, is shutting down or has lost its device.
func (s *Server) ready() (*minisgl.LLM, *apiError) {
	llm := s.llm.Load()
	switch {
	case llm == nil:
		return nil, unavailable("the model is loading")
	case s.draining.Load():
		return nil, unavailable("the server is shutting down")
	}
	select {
	case <-llm.Done():
		return nil, unavailable("the engine has stopped")
	default:
		return llm, nil
	}
}

// modelName is the name that answers carry.
func (s *Server) modelName(llm *minisgl.LLM) string {
	if s.options.ModelName != "" {
		return s.options.ModelName
	}
	return llm.Name()
}

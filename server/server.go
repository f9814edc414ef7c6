// Package server answers HTTP: the OpenAI endpoints, SGLang's native ones, those of the two seed systems, metrics and
// health. It is a client of package minisgl like any other program; what a request means is decided there.
package server

import (
	"log/slog"
	"net/http"
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
}

// A Server is an http.Handler that answers 503 until a model is attached.
type Server struct{ _ struct{} }

// New makes a server without model.
func New(o Options) *Server { panic("TODO") }

// Observer is to be given to minisgl.Open, so that /metrics can tell latencies.
func (s *Server) Observer() minisgl.Observer { panic("TODO") }

// Attach makes the server ready. It is called once.
func (s *Server) Attach(llm *minisgl.LLM) { panic("TODO") }

// ShuttingDown makes new requests fail with 503, while running ones go on.
func (s *Server) ShuttingDown() { panic("TODO") }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("TODO") }

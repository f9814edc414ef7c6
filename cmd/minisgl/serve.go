package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"minisgl"
	"minisgl/server"
)

type serveCmd struct {
	modelFlags
	Host           string        `default:"127.0.0.1" help:"Address to listen on."`
	Port           int           `default:"1919" help:"Port to listen on; 0 takes a free one."`
	APIKey         []string      `name:"api-key" env:"MINISGL_API_KEY" help:"Key that clients must send as 'Authorization: Bearer KEY' (may be repeated)."`
	ServedName     string        `name:"served-model-name" help:"Name of the model in /v1/models."`
	MaxBodySize    int64         `default:"33554432" help:"Bytes of a request body at most."`
	RequestTimeout time.Duration `help:"End requests that take longer; 0 never does."`
	DrainTimeout   time.Duration `default:"30s" help:"How long running requests may go on after SIGTERM."`
	ShellMode      bool          `help:"Chat at the terminal instead of serving."`
}

func (c *serveCmd) Run(ctx context.Context, io streams) error {
	if c.ShellMode {
		return (&chatCmd{modelFlags: c.modelFlags, MultiTurn: true}).Run(ctx, io)
	}
	log, err := logger(io, false)
	if err != nil {
		return err
	}
	stride, err := envInt(io, "SERVER_STREAM_LOG_STRIDE", 32, 1)
	if err != nil {
		return err
	}
	all, err := envBool(io, "ENABLE_MULTI_DEVICE", true)
	if err != nil {
		return err
	}
	handler := server.New(server.Options{APIKeys: c.APIKey, ModelName: c.ServedName, MaxBodyBytes: c.MaxBodySize,
		RequestTimeout: c.RequestTimeout, Logger: log.WithGroup("server"), StreamLogStride: stride, Version: version()})

	// Listening first shows a port in use before minutes of loading; /health answers 503 until the model is there.
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--host %s --port %d: %w", c.Host, c.Port, err)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	defer web.Close()

	llm, err := c.open(ctx, io, log, func(o *minisgl.Options) { o.Observer, o.AllDevices = handler.Observer(), all })
	if err != nil {
		return err
	}
	defer llm.Close()
	if err := llm.Warmup(ctx); err != nil {
		return err
	}
	handler.Attach(llm)
	log.Info(fmt.Sprintf("Serving %s on http://%s", llm.Name(), listener.Addr()))

	select {
	case err := <-served:
		return err
	case <-llm.Done():
		handler.ShuttingDown()
		return errors.Join(fmt.Errorf("the engine has stopped: %w", llm.Err()), finishAnswers(web))
	case <-ctx.Done():
	}
	return c.drain(log.Info, handler, web, llm)
}

// drain lets running requests end, refuses new ones, and then closes the connections.
func (c *serveCmd) drain(logf func(string, ...any), handler *server.Server, web *http.Server, llm *minisgl.LLM) error {
	logf("Shutting down: waiting for running requests")
	handler.ShuttingDown()
	ctx, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	err := llm.Drain(ctx)
	if err != nil {
		logf("Drain timeout: aborting what still runs")
		llm.AbortAll()
	}
	return errors.Join(err, finishAnswers(web))
}

// finishAnswers waits until the answers that are on their way are written, but not for long.
func finishAnswers(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return web.Shutdown(ctx)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"minisgl"
	"minisgl/internal/bench"
	"minisgl/server"
)

// peerFlags are what the comparisons have in common.
type peerFlags struct {
	Prompt       string   `arg:"" optional:"" default:"Once upon a time" help:"The text to continue, greedily and without chat template."`
	MaxNewTokens int      `aliases:"max-tokens" default:"512" help:"Tokens to generate at most."`
	PeerCmd      []string `sep:"none" placeholder:"NAME=COMMAND" help:"A command to compare with: it prints its answer. {prompt} and {max_new_tokens} are filled in."`
	Out          string   `placeholder:"FILE" help:"Write the results as JSON, too."`
	modelFlags
}

func (f *peerFlags) commands() (list []bench.Contender, err error) {
	for _, peer := range f.PeerCmd {
		name, command, err := nameAndValue("--peer-cmd", peer)
		if err != nil {
			return nil, err
		}
		list = append(list, bench.Command(name, command))
	}
	return list, nil
}

func nameAndValue(flag, text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return "", "", fmt.Errorf("%s %q: expected NAME=VALUE", flag, text)
	}
	return name, value, nil
}

// engine is the options of our own engine, narrating warnings only.
func (f *peerFlags) engine(io streams) (minisgl.Options, error) {
	options, err := f.options(io)
	if err != nil {
		return options, err
	}
	options.Logger, err = logger(io, true)
	return options, err
}

// compare lets the contenders answer one after the other. Our own must; peers that cannot are left out, with a note.
func (f *peerFlags) compare(ctx context.Context, io streams, own, peers []bench.Contender, print func(*bench.Run)) ([]bench.Run, error) {
	var runs []bench.Run
	for i, c := range append(own, peers...) {
		fmt.Fprintf(io.err, "measuring %s\n", c.Name)
		run, err := c.Answer(ctx, f.Prompt, f.MaxNewTokens)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && i < len(own):
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		case err != nil:
			fmt.Fprintf(io.err, "%s is left out: %v\n", c.Name, err)
			continue
		}
		print(&run)
		runs = append(runs, run)
	}
	return runs, nil
}

type benchLocalCmd struct {
	peerFlags
}

func (c *benchLocalCmd) Run(ctx context.Context, io streams) error {
	if err := atLeast(1, map[string]int{"--max-new-tokens": c.MaxNewTokens}); err != nil {
		return err
	}
	peers, err := c.commands()
	if err != nil {
		return err
	}
	options, err := c.engine(io)
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "Benchmarking prompt='%s' | model=%s | max_new_tokens=%d\n", c.Prompt, options.Model, c.MaxNewTokens)
	fmt.Fprintln(io.out, "Local results:")
	own := []bench.Contender{bench.Engine("minisgl", options), bench.Engine("naive", bench.Naive(options))}
	runs, err := c.compare(ctx, io, own, peers, func(r *bench.Run) { r.PrintLocal(io.out) })
	if err != nil {
		return err
	}
	fmt.Fprintln(io.out, "Previews:")
	for i := range runs {
		runs[i].PrintPreview(io.out)
	}
	if c.Out == "" {
		return nil
	}
	return bench.WriteRuns(c.Out, "local", c.Prompt, c.MaxNewTokens, runs)
}

type benchServerCmd struct {
	peerFlags
	BaseURL   string        `name:"base-url" help:"A minisgl server that runs. Default: one is started for the measurement."`
	SGLangURL string        `name:"sglang-url" help:"An SGLang server to compare with."`
	Peer      []string      `sep:"none" placeholder:"NAME=URL" help:"A server to compare with, in OpenAI's dialect; in SGLang's if the URL begins with sglang+ or OpenAI's is missing."`
	APIKey    string        `name:"api-key" env:"MINISGL_API_KEY" help:"Sent to --base-url."`
	Timeout   time.Duration `default:"1h" help:"For one request."`
}

func (c *benchServerCmd) Run(ctx context.Context, io streams) error {
	if err := atLeast(1, map[string]int{"--max-new-tokens": c.MaxNewTokens}); err != nil {
		return err
	}
	peers, err := c.peers()
	if err != nil {
		return err
	}
	if c.BaseURL != "" && c.ModelPath == "" {
		c.ModelPath = bench.ModelPath(ctx, c.BaseURL, c.APIKey)
	}
	options, err := c.engine(io)
	if err != nil {
		return err
	}
	ours := c.served("minisgl", options)
	if c.BaseURL != "" {
		ours = bench.Server("minisgl", c.BaseURL, c.APIKey, c.Timeout)
	}
	own := []bench.Contender{ours, c.served("naive", bench.Naive(options))}
	runs, err := c.compare(ctx, io, own, peers, func(r *bench.Run) { r.PrintServed(io.out) })
	if err != nil || c.Out == "" {
		return err
	}
	return bench.WriteRuns(c.Out, "server", c.Prompt, c.MaxNewTokens, runs)
}

func (c *benchServerCmd) peers() (list []bench.Contender, err error) {
	if c.SGLangURL != "" {
		list = append(list, bench.Server("sglang", "sglang+"+strings.TrimPrefix(c.SGLangURL, "sglang+"), "", c.Timeout))
	}
	for _, peer := range c.Peer {
		name, url, err := nameAndValue("--peer", peer)
		if err != nil {
			return nil, err
		}
		list = append(list, bench.Server(name, url, os.Getenv("OPENAI_API_KEY"), c.Timeout))
	}
	commands, err := c.commands()
	return append(list, commands...), err
}

// served is an engine behind a server of its own on this machine, both there during Answer only.
func (c *benchServerCmd) served(name string, o minisgl.Options) bench.Contender {
	return bench.Contender{Name: name, Answer: func(ctx context.Context, prompt string, maxNewTokens int) (run bench.Run, err error) {
		handler := server.New(server.Options{})
		o.Observer = handler.Observer()
		llm, err := minisgl.Open(ctx, o)
		if err != nil {
			return run, err
		}
		defer llm.Close()
		if err := llm.Warmup(ctx); err != nil {
			return run, err
		}
		handler.Attach(llm)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return run, err
		}
		web := &http.Server{Handler: handler}
		served := make(chan error, 1)
		go func() { served <- web.Serve(listener) }()
		run, err = bench.Server(name, "http://"+listener.Addr().String(), "", c.Timeout).Answer(ctx, prompt, maxNewTokens)
		web.Close()
		if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
			err = errors.Join(err, stopped)
		}
		return run, err
	}}
}

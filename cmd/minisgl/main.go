// Command minisgl serves Qwen2-family language models, and tries them out at the terminal. Each subcommand has a file of
// its own; what they do, package minisgl does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// streams are what a command reads and writes, and the environment it sees.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

type cli struct {
	Serve        serveCmd        `cmd:"" help:"Serve a model over HTTP (OpenAI and SGLang dialects)."`
	Generate     generateCmd     `cmd:"" help:"Continue a prompt and print the text as it comes."`
	Chat         chatCmd         `cmd:"" help:"Chat at the terminal; an empty line ends."`
	Smoke        smokeCmd        `cmd:"" help:"Load a model, answer one prompt and sum up: does it work here?"`
	Pull         pullCmd         `cmd:"" help:"Download a model into the local cache."`
	Quantize     quantizeCmd     `cmd:"" help:"Write a model to one GGUF file, its weights quantised."`
	Info         infoCmd         `cmd:"" help:"Show the machine's features, the kernels chosen and the devices."`
	Bench        benchCmd        `cmd:"" help:"Measure this engine or a server, and compare with others."`
	ReleaseGate  releaseGateCmd  `cmd:"" help:"Hold reports of bench, token-parity and shadow mode against limits."`
	ShadowReport shadowReportCmd `cmd:"" help:"Sum up the divergences that a shadow has reported."`
	TokenParity  tokenParityCmd  `cmd:"" help:"Compare the tokens of two devices, kernel paths or ways to run one, and find where they part."`
	Eval         evalCmd         `cmd:"" help:"Hold the model's log-probabilities against those of another implementation, with limits."`
	Version      versionCmd      `cmd:"" help:"Show the version."`

	TokenParityJob tokenParityJobCmd `cmd:"" hidden:""`
}

// errSaid ends a command with exit code 1 that has told itself what is wrong, in words that other tools wait for.
var errSaid = errors.New("said already")

func main() {
	// The first interrupt asks to stop, the second kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// run is main without the process: it returns the exit code, 1 for an error and 2 for arguments that cannot be understood.
func run(ctx context.Context, args []string, io streams) int {
	var c cli
	exited, code := false, 0
	parser, err := kong.New(&c,
		kong.Name("minisgl"),
		kong.Description("An inference engine for Qwen2-family language models, on the CPU. Without a model it runs a small demo.\n\n"+modelHint),
		kong.Writers(io.out, io.err),
		kong.Exit(func(n int) { exited, code = true, n }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(io.err, "minisgl:", err)
		return 1
	}
	command, err := parser.Parse(args)
	if exited {
		return code
	}
	if err != nil {
		fmt.Fprintln(io.err, "minisgl:", err)
		return 2
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(io); err != nil {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errSaid) {
			fmt.Fprintln(io.err, "minisgl:", err)
		}
		return 1
	}
	return 0
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"minisgl"
)

type chatCmd struct {
	MultiTurn bool   `help:"Remember the conversation from turn to turn."`
	System    string `help:"A system prompt."`
	MaxTokens *int   `help:"Tokens of an answer at most. Default MINISGL_SHELL_MAX_TOKENS, else 2048."`
	modelFlags
}

func (c *chatCmd) Run(ctx context.Context, io streams) error {
	params, err := shellParams(io)
	if err != nil {
		return err
	}
	if c.MaxTokens != nil {
		params.MaxTokens = *c.MaxTokens
	}
	log, err := logger(io, true)
	if err != nil {
		return err
	}
	llm, err := c.open(ctx, io, log, nil)
	if err != nil {
		return err
	}
	defer llm.Close()
	return chat(ctx, io, llm, params, c.System, c.MultiTurn)
}

// shellParams reads the sampling parameters that the environment gives to chats.
func shellParams(io streams) (p minisgl.Params, err error) {
	if p.MaxTokens, err = envInt(io, "MINISGL_SHELL_MAX_TOKENS", 2048, 1); err != nil {
		return p, err
	}
	if p.TopK, err = envInt(io, "MINISGL_SHELL_TOP_K", -1, -1); err != nil {
		return p, err
	}
	if p.TopP, err = envFloat(io, "MINISGL_SHELL_TOP_P", 1); err != nil {
		return p, err
	}
	if p.Temperature, err = envFloat(io, "MINISGL_SHELL_TEMPERATURE", 0.6); err != nil {
		return p, err
	}
	var bad *minisgl.ParamError
	if err := p.Validate(); errors.As(err, &bad) {
		return p, fmt.Errorf("MINISGL_SHELL_%s: %s", strings.ToUpper(bad.Param), bad.Reason)
	}
	return p, nil
}

// chat answers lines until an empty one, the end of input or an interrupt.
func chat(ctx context.Context, io streams, llm *minisgl.LLM, params minisgl.Params, system string, multiTurn bool) error {
	var start []minisgl.Message
	if system != "" {
		start = append(start, minisgl.Message{Role: "system", Content: system})
	}
	messages := start
	lines := readLines(ctx, io)
	for {
		fmt.Fprint(io.out, "User: ")
		var line string // stays empty at the end of input and at an interrupt
		select {
		case line = <-lines:
		case <-ctx.Done():
		}
		if strings.TrimSpace(line) == "" {
			fmt.Fprintln(io.out)
			return nil
		}
		messages = append(messages, minisgl.Message{Role: "user", Content: line})
		fmt.Fprint(io.out, "Assistant: ")
		answer, err := printStream(ctx, io, llm, minisgl.Request{Messages: messages, Params: params})
		if errors.Is(err, minisgl.ErrTooLong) && len(messages) > len(start)+1 {
			fmt.Fprintln(io.out, "(the conversation no longer fits the model's context: it starts anew)")
			messages = start
			continue
		}
		if err != nil {
			return err
		}
		if multiTurn {
			messages = append(messages, minisgl.Message{Role: "assistant", Content: answer.Text})
		} else {
			messages = start
		}
	}
}

// readLines reads lines in the background, so that an interrupt need not wait for the next one.
func readLines(ctx context.Context, io streams) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(io.in)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

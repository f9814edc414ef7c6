package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"minisgl"
	"minisgl/scheduler"
)

// A Contender answers a prompt, greedily and without a chat template, and is compared with others that do.
type Contender struct {
	Name   string
	Answer func(ctx context.Context, prompt string, maxNewTokens int) (Run, error)
}

// A Run is one answer of a contender.
type Run struct {
	Name      string  `json:"name"`
	TTFBS     float64 `json:"ttfb_s"` // from the request to the first text
	DurationS float64 `json:"duration_s"`
	Tokens    int     `json:"tokens"`
	Text      string  `json:"text"`
}

func (r *Run) throughput() float64 { return rate(r.Tokens, time.Duration(r.DurationS*1e9)) }

// PrintLocal and PrintServed write a run as the two benches of the seed do.
func (r *Run) PrintLocal(w io.Writer) {
	fmt.Fprintf(w, "- %s: tokens=%d duration=%.3fs throughput=%.2f tok/s\n", r.Name, r.Tokens, r.DurationS, r.throughput())
}

func (r *Run) PrintServed(w io.Writer) {
	fmt.Fprintf(w, "- %s: TTFB=%.3fs duration=%.3fs tokens=%d throughput=%.2f tok/s\n", r.Name, r.TTFBS, r.DurationS, r.Tokens, r.throughput())
}

const previewCharacters = 120

// PrintPreview writes the beginning of the answer on one line.
func (r *Run) PrintPreview(w io.Writer) {
	text := []rune(r.Text)
	preview := string(text[:min(len(text), previewCharacters)])
	fmt.Fprintf(w, "- %s: %s\n", r.Name, strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(preview))
}

// Naive is what an engine is without batching and without prefix cache: one request at a time, one step at a time.
func Naive(o minisgl.Options) minisgl.Options {
	o.MaxRunning, o.Cache, o.NoOverlap, o.GraphMaxBatch = 1, scheduler.Naive, true, -1
	return o
}

// Engine is a contender in this process, without HTTP. The engine is open during Answer only, so that contenders do not
// share the machine's memory; opening it is not measured.
func Engine(name string, o minisgl.Options) Contender {
	return Contender{name, func(ctx context.Context, prompt string, maxNewTokens int) (run Run, err error) {
		llm, err := minisgl.Open(ctx, o)
		if err != nil {
			return run, err
		}
		defer llm.Close()
		if err := llm.Warmup(ctx); err != nil {
			return run, err
		}
		start := time.Now()
		stream, err := llm.Stream(ctx, minisgl.Request{Prompt: prompt, Params: minisgl.Params{MaxTokens: maxNewTokens}})
		if err != nil {
			return run, err
		}
		defer stream.Close()
		run.Name = name
		for stream.Next() {
			c := stream.Chunk()
			if run.Tokens == 0 && len(c.Tokens) > 0 {
				run.TTFBS = time.Since(start).Seconds()
			}
			run.Tokens += len(c.Tokens)
			run.Text += c.Text
		}
		run.DurationS = time.Since(start).Seconds()
		if err := stream.Err(); err != nil {
			return run, err
		}
		return run, ctx.Err()
	}}
}

// Server is a contender behind a URL, in OpenAI's dialect, or in SGLang's if the URL begins with sglang+ or the server has
// no /v1/models. A first, short request warms it up.
func Server(name, url, apiKey string, timeout time.Duration) Contender {
	return Contender{name, func(ctx context.Context, prompt string, maxNewTokens int) (run Run, err error) {
		url, native := strings.CutPrefix(url, "sglang+")
		client := NewClient(url, apiKey, timeout)
		defer client.Close()
		if native {
			client.Endpoint = Generate
		} else if models, err := client.models(ctx); err == nil {
			client.Model = models[0]
		} else {
			var info map[string]any
			if client.get(ctx, "/get_model_info", &info) != nil {
				return run, err // the first error: the URL may be wrong
			}
			client.Endpoint = Generate
		}
		if _, err := client.stream(ctx, &call{text: "Hello", maxTokens: 4}); err != nil {
			return run, err
		}
		a, err := client.stream(ctx, &call{text: prompt, maxTokens: maxNewTokens})
		if err != nil {
			return run, err
		}
		return Run{Name: name, TTFBS: a.first.Sub(a.start).Seconds(), DurationS: a.e2e(), Tokens: a.outputTokens, Text: a.text}, nil
	}}
}

// Command is a contender that is started for each answer. {prompt} and {max_new_tokens} in its arguments are filled in, and
// the environment has them as MINISGL_PROMPT and MINISGL_MAX_NEW_TOKENS. Its standard output is the answer. If the last
// line is JSON such as {"tokens": 64, "duration_s": 1.5}, those count; else the words do, and the time of the whole process.
func Command(name, command string) Contender {
	return Contender{name, func(ctx context.Context, prompt string, maxNewTokens int) (run Run, err error) {
		limit := strconv.Itoa(maxNewTokens)
		args := strings.Fields(command)
		if len(args) == 0 {
			return run, fmt.Errorf("the command is empty")
		}
		for i, arg := range args {
			args[i] = strings.NewReplacer("{prompt}", prompt, "{max_new_tokens}", limit).Replace(arg)
		}
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Env = append(os.Environ(), "MINISGL_PROMPT="+prompt, "MINISGL_MAX_NEW_TOKENS="+limit)
		output := firstByte{start: time.Now()}
		var complaints bytes.Buffer
		c.Stdout, c.Stderr = &output, &complaints
		if err := c.Run(); err != nil {
			said := strings.TrimSpace(complaints.String())
			return run, fmt.Errorf("%s: %w: %s", args[0], err, said[max(0, len(said)-1000):])
		}
		run = Run{Name: name, TTFBS: output.after.Seconds(), DurationS: time.Since(output.start).Seconds()}
		run.Text = strings.ToValidUTF8(output.text.String(), string(utf8.RuneError))
		run.ownFigures()
		return run, nil
	}}
}

// ownFigures takes what the last line tells, or counts words.
func (r *Run) ownFigures() {
	text := strings.TrimRight(r.Text, "\r\n")
	last := text[strings.LastIndexByte(text, '\n')+1:]
	var figures struct {
		Tokens    *int
		DurationS *float64 `json:"duration_s"`
		TTFBS     *float64 `json:"ttfb_s"`
	}
	if json.Unmarshal([]byte(last), &figures) != nil || figures.Tokens == nil {
		r.Tokens = len(strings.Fields(r.Text))
		return
	}
	r.Tokens, r.Text = *figures.Tokens, strings.TrimSuffix(text, last)
	if figures.DurationS != nil {
		r.DurationS = *figures.DurationS
	}
	if figures.TTFBS != nil {
		r.TTFBS = *figures.TTFBS
	}
}

// firstByte is a buffer that knows when it was first written to. (It does not embed the buffer, whose ReadFrom would be used
// in place of Write.)
type firstByte struct {
	text  strings.Builder
	start time.Time
	after time.Duration
}

func (b *firstByte) Write(p []byte) (int, error) {
	if b.after == 0 {
		b.after = time.Since(b.start)
	}
	return b.text.Write(p)
}

// WriteRuns writes runs as JSON.
func WriteRuns(path, mode, prompt string, maxNewTokens int, runs []Run) error {
	return WriteJSON(path, map[string]any{"mode": mode, "timestamp_utc": timestamp(), "prompt": prompt, "max_new_tokens": maxNewTokens, "runs": runs})
}

// ModelPath asks a server of ours where its model lies; empty if it does not tell.
func ModelPath(ctx context.Context, url, apiKey string) string {
	client := NewClient(url, apiKey, 10*time.Second)
	defer client.Close()
	var info struct {
		ModelPath string `json:"model_path"`
	}
	if client.get(ctx, "/model_info", &info) != nil {
		return ""
	}
	return info.ModelPath
}

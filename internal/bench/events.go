package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const maxEventBytes = 16 << 20

var errCut = errors.New("the stream was cut off before [DONE]")

// readEvents calls handle with the data of each server-sent event, up to [DONE]. The servers that it is for put an event's
// data, which is JSON, on one line; so each data line is taken as it comes, whether or not a blank line follows. The data is
// valid until handle returns.
func readEvents(r io.Reader, handle func(data []byte) error) error {
	lines := bufio.NewReaderSize(r, 32<<10)
	var long []byte // a line that the reader's buffer does not hold
	for {
		line, err := lines.ReadSlice('\n')
		if err == bufio.ErrBufferFull || len(long) > 0 {
			if long = append(long, line...); len(long) > maxEventBytes {
				return fmt.Errorf("an event of more than %d bytes", maxEventBytes)
			}
			if err == bufio.ErrBufferFull {
				continue
			}
			line = long
		}
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			switch data = bytes.TrimSpace(data); {
			case string(data) == "[DONE]":
				io.Copy(io.Discard, io.LimitReader(lines, 4096)) // so that the connection can be used again
				return nil
			case len(data) > 0:
				if err := handle(data); err != nil {
					return err
				}
			}
		}
		long = long[:0]
		switch {
		case err == io.EOF:
			return errCut
		case err != nil:
			return fmt.Errorf("the stream was cut off: %w", err)
		}
	}
}

// A chunkReader turns events into an answer.
type chunkReader struct {
	*answer
	endpoint Endpoint
	last     time.Time
	chunks   int
	reported int // output tokens that the server has told of
	pieces   strings.Builder
	final    []byte // the last event of SGLang's dialect, which repeats all text
}

type openAIUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	Details          *struct {
		CachedTokens *int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

func (r *chunkReader) event(data []byte) error {
	now := time.Now()
	var e struct {
		Choices []struct {
			Text  string
			Delta struct {
				Content   string
				Reasoning string `json:"reasoning_content"`
			}
		}
		Usage *openAIUsage
		Meta  *struct {
			PromptTokens     int  `json:"prompt_tokens"`
			CompletionTokens int  `json:"completion_tokens"`
			CachedTokens     *int `json:"cached_tokens"`
		} `json:"meta_info"`
		Error json.RawMessage
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("an event is not the JSON expected: %w", err)
	}
	if len(e.Error) > 0 && string(e.Error) != "null" {
		return errors.New("the server failed: " + errorText(e.Error))
	}
	if r.endpoint == Generate {
		if e.Meta == nil {
			return errors.New("an event has no meta_info")
		}
		if e.Meta.CompletionTokens > r.reported {
			r.chunk(now)
		}
		r.usage(e.Meta.PromptTokens, e.Meta.CompletionTokens, e.Meta.CachedTokens)
		r.final = append(r.final[:0], data...)
		return nil
	}
	for _, c := range e.Choices {
		if text := c.Text + c.Delta.Reasoning + c.Delta.Content; text != "" {
			r.pieces.WriteString(text)
			r.chunk(now)
		}
	}
	if u := e.Usage; u != nil {
		var cached *int
		if u.Details != nil {
			cached = u.Details.CachedTokens
		}
		r.usage(u.PromptTokens, u.CompletionTokens, cached)
	}
	return nil
}

func (r *chunkReader) chunk(now time.Time) {
	if r.chunks++; r.chunks == 1 {
		r.first = now
	} else {
		r.gaps = append(r.gaps, milliseconds(now.Sub(r.last)))
	}
	r.last = now
}

func (r *chunkReader) usage(prompt, output int, cached *int) {
	r.promptTokens, r.reported = prompt, output
	if cached != nil {
		r.cachedTokens = *cached
	}
}

// finish fills in what follows from all events. A server that tells no usage is taken to send one token a chunk; an answer
// without any text has its first token at its end.
func (r *chunkReader) finish(now time.Time) {
	r.end = now
	if r.chunks == 0 {
		r.first = now
	}
	if r.outputTokens = r.reported; r.outputTokens == 0 {
		r.outputTokens = r.chunks
	}
	r.text = r.pieces.String()
	if r.final != nil {
		var e struct {
			Text      string
			OutputIDs []int32 `json:"output_ids"`
		}
		if json.Unmarshal(r.final, &e) == nil {
			r.text, r.outputIDs = e.Text, e.OutputIDs
		}
	}
}

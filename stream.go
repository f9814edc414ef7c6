package minisgl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"minisgl/device"
	"minisgl/model/tokenizer"
	"minisgl/scheduler"
)

// A Stream is a running request, read like a bufio.Scanner:
//
//	for stream.Next() {
//		fmt.Print(stream.Chunk().Text)
//	}
//	err := stream.Err()
//
// A reader that is slow gets larger chunks: the engine never waits for it. A Stream has one reader; Close may be called
// from anywhere, and must be if the stream is not read to its end.
type Stream struct {
	llm     *LLM
	replica *replica // that runs it
	inbox   inbox
	cancel  func() bool // stops watching the context

	request     *scheduler.Request
	includeStop bool
	narrate     bool
	decoder     *tokenizer.Decoder // nil without tokenizer
	stop        stopMatcher
	spare       []Token // the tokens of the chunk before, whose memory the inbox takes next
	generated   int
	last        int32 // the token generated last
	done        bool
	chunk       Chunk
	err         error
}

// A Chunk is what has come since the last one.
type Chunk struct {
	// Text is new output text. It lags behind Tokens while a character is unfinished or a stop string may be beginning.
	Text   string
	Tokens []Token
	// Prompt holds the scores of the prompt's tokens, whole, in the first chunk after they are known; see Params.PromptLogprobs.
	// The token at index 0 has none.
	Prompt []Token
	// Finish is set in the last chunk.
	Finish *Finish
}

// A Token is one token with its log-probability, if asked for.
type Token struct {
	ID      int32
	Logprob float32
	Top     []device.TokenLogprob // the likeliest tokens at this place, likeliest first
	Scored  bool                  // Logprob and Top are set
}

// Finish tells how a request ended.
type Finish struct {
	Reason FinishReason
	// Matched is the stop string (string) or the stop token (int32) that ended the output; nil otherwise.
	Matched any
	Usage   scheduler.Usage
}

// FinishReason is "stop", "length" or "abort".
type FinishReason = scheduler.FinishReason

// Output is a finished request.
type Output struct {
	Text     string
	TokenIDs []int32
	Tokens   []Token // the same with log-probabilities
	Prompt   []Token // the prompt's scores, if asked for
	Finish
}

// Stream starts a request. An error means that it never ran: bad parameters, a prompt that is too long, a full queue. When
// ctx ends, the request is aborted.
func (l *LLM) Stream(ctx context.Context, r Request) (*Stream, error) {
	p, err := l.Prepare(r)
	if err != nil {
		return nil, err
	}
	return p.Stream(ctx)
}

// A Prepared request is rendered, encoded and checked, so that of many either all or none can be started.
type Prepared struct{ stream *Stream }

// Prepare does all of Stream that needs no engine. Its errors are those of the request itself.
func (l *LLM) Prepare(r Request) (Prepared, error) {
	request, err := l.prepare(&r)
	if err != nil {
		return Prepared{}, err
	}
	s := &Stream{llm: l, request: request, includeStop: r.Params.IncludeStop, narrate: true,
		stop: stopMatcher{stops: r.Params.Stop, min: r.Params.MinTokens}}
	if t := l.checkpoint.Tokenizer; t != nil {
		s.decoder = t.NewDecoder(!r.Params.KeepSpecial)
	} else if len(r.Params.Stop) > 0 {
		return Prepared{}, &ParamError{"stop", ErrNoTokenizer.Error()}
	}
	s.inbox = inbox{wake: make(chan struct{}, 1), logprobs: r.Params.Logprobs != nil, observer: l.observer}
	request.Sink = &s.inbox
	return Prepared{s}, nil
}

// Stream starts the request, as LLM.Stream does. It is called once.
func (p Prepared) Stream(ctx context.Context) (*Stream, error) { return p.on(ctx, p.stream.llm.submit) }

// on starts the request where submit puts it.
func (p Prepared) on(ctx context.Context, submit func(*Stream) (*replica, error)) (*Stream, error) {
	s := p.stream
	l, request := s.llm, s.request
	s.inbox.started = time.Now()
	if s.narrate {
		l.log.Info(fmt.Sprintf("Starting generation run | prompt_tokens=%d max_new_tokens=%d", len(request.Prompt), request.MaxTokens))
	}
	r, err := submit(s)
	if err != nil {
		return nil, err
	}
	if s.narrate {
		l.log.Info(fmt.Sprintf("Running prefill_forward with sequence length=%d on device=%s", len(request.Prompt), r.name))
	}
	s.replica = r
	s.cancel = context.AfterFunc(ctx, func() { r.engine.Abort(request.ID) })
	return s, nil
}

// ID is the request's ID; Prompt are its tokens.
func (s *Stream) ID() string      { return s.request.ID }
func (s *Stream) Prompt() []int32 { return s.request.Prompt }

// Next waits for more output. It is false at the end, after the chunk that has Finish, or on an error, after what came before the error.
func (s *Stream) Next() bool {
	if s.done {
		return false
	}
	for {
		tokens, scores, finish := s.inbox.take(s.spare[:0])
		s.spare = tokens
		s.chunk = Chunk{Prompt: scores}
		if s.generated == 0 && len(tokens) > 0 {
			s.logPrefill()
		}
		for i := range tokens {
			if s.accept(&tokens[i]) {
				tokens = tokens[:i+1]
				s.end(scheduler.Stop, s.stop.matched)
				s.replica.engine.Abort(s.request.ID)
				break
			}
		}
		if !s.done && finish != nil {
			switch finish.Reason {
			case scheduler.Failed:
				s.done, s.err = true, fmt.Errorf("request %s: %w", s.request.ID, s.replica.fault(finish.Err))
				s.cancel()
				if len(tokens) == 0 && scores == nil {
					return false
				}
			case scheduler.Stop:
				s.end(scheduler.Stop, s.last)
			default:
				s.end(finish.Reason, nil)
			}
		}
		if len(tokens) > 0 || scores != nil || s.done {
			s.chunk.Tokens, s.chunk.Text = tokens, s.stop.emit(s.done)
			return true
		}
		<-s.inbox.wake
	}
}

// accept decodes one token and reports whether a stop string has ended the output.
func (s *Stream) accept(t *Token) bool {
	s.generated, s.last = s.generated+1, t.ID
	if s.decoder == nil {
		return false
	}
	isStop := slices.Contains(s.request.StopIDs, t.ID) && s.generated > s.request.MinTokens
	before := len(s.stop.buffer)
	if !isStop || s.includeStop {
		s.stop.buffer = s.decoder.Append(s.stop.buffer, t.ID)
	}
	if s.narrate {
		s.logToken(t, string(s.stop.buffer[before:]), isStop)
	}
	return s.stop.scan(s.generated, s.includeStop)
}

func (s *Stream) logPrefill() {
	if cached := s.inbox.cachedTokens(); s.narrate && cached > 0 {
		s.llm.log.Info(fmt.Sprintf("Prefill cache hit | cached_tokens=%d prompt_tokens=%d", cached, len(s.request.Prompt)))
	}
}

func (s *Stream) logToken(t *Token, text string, finished bool) {
	step := s.generated - 1
	if step == 0 {
		s.llm.log.Info(fmt.Sprintf("Prefill emitted token_id=%d text='%s'", t.ID, text))
	}
	finished = finished || s.generated == s.request.MaxTokens
	if step%s.llm.options.DecodeLogStride == 0 || finished {
		s.llm.log.Info(fmt.Sprintf("Decode step %d emitted token_id=%d text='%s' finished=%v", step, t.ID, text, finished))
	}
}

// end sets the chunk's Finish. What the decoder still holds may complete a stop string.
func (s *Stream) end(reason FinishReason, matched any) {
	s.done = true
	s.cancel()
	if s.decoder != nil && matched == nil {
		s.stop.buffer = s.decoder.Flush(s.stop.buffer)
		if s.stop.scan(s.generated, s.includeStop) {
			reason, matched = scheduler.Stop, s.stop.matched
		}
	}
	usage := scheduler.Usage{Prompt: len(s.request.Prompt), Cached: s.inbox.cachedTokens(), Output: s.generated}
	s.chunk.Finish = &Finish{Reason: reason, Matched: matched, Usage: usage}
	if s.narrate {
		s.llm.log.Info(fmt.Sprintf("Generation complete | %d tokens emitted", s.generated))
	}
}

// Chunk is what the last Next found. Its slices are valid until the next call of Next.
func (s *Stream) Chunk() Chunk { return s.chunk }

// Err is the error that ended the stream, nil if it ended well. An abort is no error.
func (s *Stream) Err() error { return s.err }

// Close aborts the request if it still runs.
func (s *Stream) Close() {
	s.cancel()
	s.replica.engine.Abort(s.request.ID)
}

// Output reads the stream to its end.
func (s *Stream) Output() (Output, error) {
	var out Output
	var text strings.Builder
	for s.Next() {
		c := s.Chunk()
		text.WriteString(c.Text)
		out.Tokens = append(out.Tokens, c.Tokens...)
		out.Prompt = append(out.Prompt, c.Prompt...)
		if c.Finish != nil {
			out.Finish = *c.Finish
		}
	}
	if s.err != nil {
		return Output{}, s.err
	}
	out.Text = text.String()
	out.TokenIDs = make([]int32, len(out.Tokens))
	for i, t := range out.Tokens {
		out.TokenIDs[i] = t.ID
	}
	return out, nil
}

// An inbox is the Sink of a stream: the engine puts in, the reader takes out.
type inbox struct {
	wake     chan struct{} // has a value when there may be something new
	logprobs bool
	observer Observer
	started  time.Time
	ended    func() // nil, or called before the reader hears of the end

	mu     sync.Mutex
	last   time.Time // of the last token
	tokens []Token
	scores []Token
	cached int
	finish *scheduler.Finish
}

func (b *inbox) Start(cached int) {
	b.mu.Lock()
	b.cached = cached
	b.mu.Unlock()
}

func (b *inbox) token(r device.Result, scored bool) Token {
	t := Token{ID: r.Token, Scored: scored}
	if scored {
		t.Logprob, t.Top = r.Logprob, slices.Clone(r.Top)
	}
	return t
}

func (b *inbox) Score(index int, r device.Result) {
	b.mu.Lock()
	b.scores = append(b.scores, b.token(r, true))
	b.mu.Unlock()
}

func (b *inbox) Token(r device.Result) {
	now := time.Now()
	b.mu.Lock()
	if b.last.IsZero() {
		b.observer.TimeToFirstToken(now.Sub(b.started))
	} else {
		b.observer.InterTokenLatency(now.Sub(b.last))
	}
	b.last = now
	b.tokens = append(b.tokens, b.token(r, b.logprobs))
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) Finish(f scheduler.Finish) {
	b.observer.Finished(f.Reason, f.Usage, time.Since(b.started))
	if b.ended != nil {
		b.ended()
	}
	b.mu.Lock()
	b.finish = &f
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take moves what has come out of the inbox; into is reused for the next tokens.
func (b *inbox) take(into []Token) (tokens, scores []Token, finish *scheduler.Finish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tokens, b.tokens = b.tokens, into
	if len(tokens) > 0 || b.finish != nil {
		scores, b.scores = b.scores, nil
	}
	return tokens, scores, b.finish
}

func (b *inbox) cachedTokens() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cached
}

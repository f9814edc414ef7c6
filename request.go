package minisgl

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"

	"minisgl/device"
	"minisgl/model/chat"
	"minisgl/scheduler"
)

// A Request asks for one continuation. Exactly one of Prompt, TokenIDs and Messages is set.
type Request struct {
	ID string // unique among the requests that run; made up if empty

	Prompt   string // raw text, without chat template
	TokenIDs []int32
	Messages []Message // a conversation, rendered with the model's chat template

	Chat     ChatOptions // how Messages are rendered
	Params   Params
	Priority int // higher runs first
}

// Message is one turn of a conversation: a role ("system", "user", "assistant") and its text.
type Message = chat.Message

// ChatOptions change how a conversation is rendered.
type ChatOptions struct {
	// NoGenerationPrompt leaves out the header of the answer that is to come.
	NoGenerationPrompt bool
	Tools              []any
	Kwargs             map[string]any
}

// Params say how to draw tokens and when to stop. The zero value is greedy decoding up to the end of the context.
type Params struct {
	MaxTokens int // 0: up to the end of the context; NoTokens: none, only score the prompt
	MinTokens int

	Temperature float64 // 0: greedy
	TopK        int     // ≤ 0: all
	TopP        float64 // in (0, 1]; 0 means 1
	MinP        float64 // in [0, 1]
	Seed        *uint64 // nil: a different one each time

	RepetitionPenalty float64 // in (0, 10]; 0 means 1
	PresencePenalty   float64 // in [-2, 2]
	FrequencyPenalty  float64 // in [-2, 2]
	LogitBias         map[int32]float64

	Stop        []string // texts that end the output
	StopIDs     []int32  // tokens that end the output, beside the model's own
	IgnoreEOS   bool     // the model's own stop ids do not end the output
	IncludeStop bool     // the text keeps the stop string or token that ended it
	KeepSpecial bool     // special tokens show up in the text

	// Logprobs asks for each token's log-probability and the n likeliest alternatives; nil: none.
	Logprobs *int
	// PromptLogprobs asks the same of the prompt's tokens from this index on; nil: none.
	PromptLogprobs *int
}

// NoTokens is the MaxTokens of a request that only scores its prompt.
const NoTokens = -1

// Limits of Params.
const (
	MaxLogprobs    = 128
	MaxStopStrings = 64
	MaxStopBytes   = 4096 // of one stop string
	MaxLogitBias   = 4096
)

// A ParamError is about one parameter. Param is its name in the OpenAI dialect.
type ParamError struct{ Param, Reason string }

func (e *ParamError) Error() string { return e.Param + ": " + e.Reason }

func paramError(param, format string, args ...any) error {
	return &ParamError{param, fmt.Sprintf(format, args...)}
}

// Validate checks what can be checked without the model.
func (p *Params) Validate() error {
	for _, f := range []struct {
		name          string
		value, lo, hi float64
	}{
		{"temperature", p.Temperature, 0, 100},
		{"top_p", p.TopP, 0, 1},
		{"min_p", p.MinP, 0, 1},
		{"repetition_penalty", p.RepetitionPenalty, 0, 10},
		{"presence_penalty", p.PresencePenalty, -2, 2},
		{"frequency_penalty", p.FrequencyPenalty, -2, 2},
	} {
		if !(f.value >= f.lo && f.value <= f.hi) { // also refuses NaN
			return paramError(f.name, "%v is outside [%v, %v]", f.value, f.lo, f.hi)
		}
	}
	if p.TopK > math.MaxInt32 || p.TopK < -1 {
		return paramError("top_k", "%d: expected -1 (all) or a positive number", p.TopK)
	}
	if p.MaxTokens < NoTokens {
		return paramError("max_tokens", "%d: expected at least 1", p.MaxTokens)
	}
	if p.MinTokens < 0 || p.MaxTokens > 0 && p.MinTokens > p.MaxTokens {
		return paramError("min_tokens", "%d: expected 0 up to max_tokens", p.MinTokens)
	}
	if len(p.Stop) > MaxStopStrings {
		return paramError("stop", "%d strings, at most %d", len(p.Stop), MaxStopStrings)
	}
	for _, s := range p.Stop {
		if s == "" || len(s) > MaxStopBytes {
			return paramError("stop", "a stop string has %d bytes, expected 1 to %d", len(s), MaxStopBytes)
		}
	}
	if len(p.LogitBias) > MaxLogitBias {
		return paramError("logit_bias", "%d entries, at most %d", len(p.LogitBias), MaxLogitBias)
	}
	if p.Logprobs != nil && (*p.Logprobs < 0 || *p.Logprobs > MaxLogprobs) {
		return paramError("logprobs", "%d is outside [0, %d]", *p.Logprobs, MaxLogprobs)
	}
	if p.PromptLogprobs != nil && *p.PromptLogprobs < 0 {
		return paramError("prompt_logprobs", "%d: expected 0 or more", *p.PromptLogprobs)
	}
	return nil
}

// prepare turns a request into the scheduler's form: rendered, encoded and checked against the model.
func (l *LLM) prepare(r *Request) (*scheduler.Request, error) {
	p := &r.Params
	if err := p.Validate(); err != nil {
		return nil, err
	}
	prompt, err := l.encode(r)
	if err != nil {
		return nil, err
	}
	room := l.maxSeqLen - len(prompt)
	if room < 1 && !(room == 0 && p.MaxTokens == NoTokens) {
		return nil, &scheduler.TooLongError{Prompt: len(prompt), Limit: l.maxSeqLen - 1}
	}
	maxTokens := min(p.MaxTokens, room)
	switch p.MaxTokens {
	case 0:
		maxTokens = room
	case NoTokens:
		maxTokens = 0
	}
	sampling, err := l.sampling(p)
	if err != nil {
		return nil, err
	}
	q := &scheduler.Request{ID: r.ID, Prompt: prompt, MaxTokens: maxTokens, MinTokens: min(p.MinTokens, maxTokens),
		StopIDs: sampling.Suppress, Sampling: sampling, ScoreFrom: -1, Priority: r.Priority}
	if p.PromptLogprobs != nil {
		q.ScoreFrom = *p.PromptLogprobs
		sampling.Logprobs = max(sampling.Logprobs, 0)
	}
	if q.ID == "" {
		q.ID = "minisgl-" + strconv.FormatUint(l.nextID.Add(1), 36)
	}
	return q, nil
}

func (l *LLM) encode(r *Request) ([]int32, error) {
	given := 0
	for _, set := range []bool{r.Prompt != "", len(r.TokenIDs) > 0, len(r.Messages) > 0} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, paramError("prompt", "exactly one of text, token ids and messages must be given, and not be empty")
	}
	if r.TokenIDs != nil {
		for i, id := range r.TokenIDs {
			if id < 0 || int(id) >= l.checkpoint.Program.Vocab {
				return nil, paramError("input_ids", "token %d is %d, the vocabulary is [0, %d)", i, id, l.checkpoint.Program.Vocab)
			}
		}
		return r.TokenIDs, nil
	}
	text := r.Prompt
	if len(r.Messages) > 0 {
		var err error
		if text, err = l.RenderChat(r.Messages, r.Chat); err != nil {
			return nil, err
		}
	}
	return l.Encode(text, r.Messages == nil)
}

// Encode returns the tokens of a text, special tokens included. With bos they begin with the token that the model's
// tokenizer puts before every text, if it has one; rendered chats hold it already.
func (l *LLM) Encode(text string, bos bool) ([]int32, error) {
	t := l.checkpoint.Tokenizer
	if t == nil {
		return nil, ErrNoTokenizer
	}
	if !utf8.ValidString(text) {
		return nil, paramError("prompt", "the text is not valid UTF-8")
	}
	ids := t.Encode(text, true)
	if id, ok := t.AddBOS(); ok && bos && (len(ids) == 0 || ids[0] != id) {
		ids = append([]int32{id}, ids...)
	}
	return ids, nil
}

// RenderChat returns the text that the model's chat template makes of a conversation.
func (l *LLM) RenderChat(messages []Message, o ChatOptions) (string, error) {
	if l.checkpoint.Chat == nil {
		return "", ErrNoChatTemplate
	}
	text, err := l.checkpoint.Chat.Render(messages, chat.Options{
		AddGenerationPrompt: !o.NoGenerationPrompt, Tools: o.Tools, Kwargs: o.Kwargs})
	if err != nil {
		return "", &ParamError{"messages", err.Error()}
	}
	return text, nil
}

// sampling translates Params for devices. Its Suppress holds every token that ends the request.
func (l *LLM) sampling(p *Params) (*device.Sampling, error) {
	s := &device.Sampling{
		Temperature: float32(p.Temperature), TopK: int32(p.TopK), TopP: float32(orOne(p.TopP)), MinP: float32(p.MinP),
		RepetitionPenalty: float32(orOne(p.RepetitionPenalty)), PresencePenalty: float32(p.PresencePenalty),
		FrequencyPenalty: float32(p.FrequencyPenalty), Logprobs: -1,
	}
	if p.Seed != nil {
		s.Seed = *p.Seed
	} else {
		s.Seed = rand.Uint64()
	}
	if p.Logprobs != nil {
		s.Logprobs = int32(*p.Logprobs)
	}
	vocab := l.checkpoint.Program.Vocab
	for id, bias := range p.LogitBias {
		if id < 0 || int(id) >= vocab || !(bias >= -100 && bias <= 100) {
			return nil, paramError("logit_bias", "token %d with %v: expected ids in [0, %d) and values in [-100, 100]", id, bias, vocab)
		}
		s.Bias = append(s.Bias, device.TokenBias{Token: id, Bias: float32(bias)})
	}
	for _, id := range p.StopIDs {
		if id < 0 || int(id) >= vocab {
			return nil, paramError("stop_token_ids", "%d: the vocabulary is [0, %d)", id, vocab)
		}
	}
	if !p.IgnoreEOS {
		s.Suppress = append(s.Suppress, l.checkpoint.StopIDs...)
	}
	s.Suppress = append(s.Suppress, p.StopIDs...)
	return s, nil
}

func orOne(x float64) float64 {
	if x == 0 {
		return 1
	}
	return x
}

package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"minisgl"
	"minisgl/scheduler"
)

// A Job is what one process is asked to do: the workload on one side, or a trace.
type Job struct {
	Model   Model   `json:"model"`
	Profile Profile `json:"profile"`
	Seed    uint64  `json:"seed"`
	Backend string  `json:"backend"`         // the side, as ParseSide reads it
	Trace   *Replay `json:"trace,omitempty"` // if set, the job is to trace
}

// An Answer is what a process says to a Job.
type Answer struct {
	Sets  []Outputs `json:"sets,omitempty"`
	Trace *Trace    `json:"trace,omitempty"`
}

// Outputs are the answers to one set of prompts, in their order.
type Outputs struct {
	Name     string   `json:"name"`
	Skipped  string   `json:"skipped,omitempty"` // why the set was not run
	Duration float64  `json:"duration"`          // seconds
	Outputs  []Output `json:"outputs"`
}

// An Output is the tokens of one request, with their log-probabilities and how much likelier each was than the next one.
type Output struct {
	Prompt   []int32  `json:"prompt"`
	Tokens   []int32  `json:"tokens"`
	Logprobs []Figure `json:"logprobs"`
	Margins  []Figure `json:"margins"`
}

// The names of the sets.
const (
	TextPrompts  = "text_prompts"
	TokenPrompts = "token_prompts"
)

// Run does a job in this process. Progress gets a line now and then.
func (j *Job) Run(ctx context.Context, progress func(string)) (Answer, error) {
	if j.Trace != nil {
		trace, err := j.trace(ctx, progress)
		return Answer{Trace: trace}, err
	}
	sets, err := j.generate(ctx, progress)
	return Answer{Sets: sets}, err
}

// generate runs both sets on a side: the texts up to their end token, the random prompts to max_tokens.
func (j *Job) generate(ctx context.Context, progress func(string)) ([]Outputs, error) {
	side, err := ParseSide(j.Backend)
	if err != nil {
		return nil, err
	}
	options := j.Model.options(&j.Profile)
	side.apply(&options)
	counter := &counter{progress: progress}
	options.Observer = counter
	progress(fmt.Sprintf("%s: loading %s", j.Backend, j.Model.Path))
	llm, err := minisgl.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	defer llm.Close()

	two := 2
	params := minisgl.Params{MaxTokens: j.Profile.MaxTokens, Logprobs: &two}
	var textRequests, tokenRequests []minisgl.Request
	for _, text := range texts {
		textRequests = append(textRequests, minisgl.Request{Prompt: text, Params: params})
	}
	params.IgnoreEOS = true
	for _, ids := range j.Profile.randomPrompts(j.Seed, llm.Config().Vocab) {
		tokenRequests = append(tokenRequests, minisgl.Request{TokenIDs: ids, Params: params})
	}

	textSet := Outputs{Name: TextPrompts}
	if llm.Tokenizer() == nil {
		textSet.Skipped = "the checkpoint has no tokenizer"
	} else {
		counter.begin(j.Backend, TextPrompts, len(textRequests))
		if err := textSet.run(ctx, llm, textRequests); err != nil {
			return nil, err
		}
	}
	tokenSet := Outputs{Name: TokenPrompts}
	// With a shared prefix the first prompt runs before the others, so that these find the prefix in the cache.
	alone := 0
	if j.Profile.SharedPrefixLen > 0 {
		alone = min(1, len(tokenRequests))
	}
	counter.begin(j.Backend, TokenPrompts, len(tokenRequests))
	for _, requests := range [][]minisgl.Request{tokenRequests[:alone], tokenRequests[alone:]} {
		if err := tokenSet.run(ctx, llm, requests); err != nil {
			return nil, err
		}
	}
	return []Outputs{textSet, tokenSet}, nil
}

// run answers requests, all at once, and appends their outputs.
func (o *Outputs) run(ctx context.Context, llm *minisgl.LLM, requests []minisgl.Request) error {
	start := time.Now()
	answers, err := llm.Run(ctx, requests)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, errors.Join(err, llm.Err()))
	}
	o.Duration += time.Since(start).Seconds()
	for i, answer := range answers {
		prompt := requests[i].TokenIDs
		if prompt == nil {
			if prompt, err = llm.Encode(requests[i].Prompt, true); err != nil {
				return err
			}
		}
		output := Output{Prompt: slices.Clone(prompt), Tokens: answer.TokenIDs}
		for _, t := range answer.Tokens {
			margin := 0.0
			if len(t.Top) == 2 {
				margin = float64(t.Top[0].Logprob) - float64(t.Top[1].Logprob)
			}
			output.Logprobs, output.Margins = append(output.Logprobs, Figure(t.Logprob)), append(output.Margins, Figure(margin))
		}
		o.Outputs = append(o.Outputs, output)
	}
	return nil
}

// A counter reports how many requests of a set have ended, once a second and at the set's end. It is the engine's observer;
// begin is called while nothing runs.
type counter struct {
	progress func(string)
	what     string
	total    int
	done     int
	last     time.Time
}

func (c *counter) begin(backend, set string, total int) {
	c.what, c.total, c.done, c.last = backend+": "+set, total, 0, time.Now()
}

func (c *counter) TimeToFirstToken(time.Duration)  {}
func (c *counter) InterTokenLatency(time.Duration) {}

func (c *counter) Finished(scheduler.FinishReason, scheduler.Usage, time.Duration) {
	c.done++
	if now := time.Now(); now.Sub(c.last) > time.Second || c.done == c.total {
		c.last = now
		c.progress(fmt.Sprintf("%s %d/%d", c.what, c.done, c.total))
	}
}

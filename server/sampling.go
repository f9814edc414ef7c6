package server

import (
	"net/http"

	"minisgl"
)

// defaults are the parameters of a request that names none: the checkpoint's, else OpenAI's.
func defaults(llm *minisgl.LLM) minisgl.Params {
	p := minisgl.Params{Temperature: 1, TopP: 1, RepetitionPenalty: 1}
	d := llm.Defaults()
	set := func(target, value *float64) {
		if value != nil {
			*target = *value
		}
	}
	set(&p.Temperature, d.Temperature)
	set(&p.TopP, d.TopP)
	set(&p.MinP, d.MinP)
	set(&p.RepetitionPenalty, d.RepetitionPenalty)
	if d.TopK != nil {
		p.TopK = *d.TopK
	}
	return p
}

// sampling takes the parameters whose names all dialects share.
func (f *fields) sampling(p *minisgl.Params) {
	f.float("temperature", &p.Temperature)
	f.floatAbove("top_p", &p.TopP, 0)
	f.int("top_k", &p.TopK)
	f.float("min_p", &p.MinP)
	f.floatAbove("repetition_penalty", &p.RepetitionPenalty, 0)
	f.float("presence_penalty", &p.PresencePenalty)
	f.float("frequency_penalty", &p.FrequencyPenalty)
	take(f, "logit_bias", &p.LogitBias, "an object from token ids to numbers", parseBias)
	take(f, "stop", &p.Stop, "a string or an array of strings", parseOneOrMany(2*minisgl.MaxStopStrings, parseString))
	take(f, "stop_token_ids", &p.StopIDs, "an array of token ids", parseTokens)
	f.bool("ignore_eos", &p.IgnoreEOS)
	skipSpecial := true
	f.bool("skip_special_tokens", &skipSpecial)
	p.KeepSpecial = !skipSpecial
}

// mostOutputs is how many outputs a job may ask for: more could never be taken at once.
func mostOutputs(llm *minisgl.LLM) int {
	o := llm.Options()
	return (o.MaxQueue + o.MaxRunning) * len(llm.Engines())
}

// choices repeats the requests n times each, every time with another seed if one is given.
func (f *fields) choices(llm *minisgl.LLM, requests []minisgl.Request, n int) []minisgl.Request {
	if n == 1 {
		return requests
	}
	if len(requests)*n > mostOutputs(llm) {
		f.fail("n", "%d outputs of each of %d prompts, at most %d fit at once", n, len(requests), mostOutputs(llm))
		return nil
	}
	all := make([]minisgl.Request, 0, n*len(requests))
	for _, r := range requests {
		seed := r.Params.Seed
		for i := range n {
			if seed != nil {
				own := *seed + uint64(i)
				r.Params.Seed = &own
			}
			all = append(all, r)
		}
	}
	return all
}

// maxChoices is OpenAI's limit of n.
const maxChoices = 128

func (f *fields) count(name string) int {
	n := 1
	if f.int(name, &n) && (n < 1 || n > maxChoices) {
		f.fail(name, "%d: expected 1 to %d", n, maxChoices)
		return 1
	}
	return n
}

// openAI holds what the two OpenAI endpoints have in common.
type openAI struct {
	params       minisgl.Params
	n            int
	priority     int
	stream       bool
	includeUsage bool
}

// maxTokens takes one of the names of the most tokens to generate.
func (f *fields) maxTokens(name string, p *minisgl.Params) {
	if f.int(name, &p.MaxTokens) && p.MaxTokens < 1 {
		f.fail(name, "%d: expected at least 1", p.MaxTokens)
	}
}

func (f *fields) openAI(llm *minisgl.LLM) openAI {
	o := openAI{params: defaults(llm)}
	p := &o.params
	f.sampling(p)
	f.int("min_tokens", &p.MinTokens)
	f.bool("include_stop_str_in_output", &p.IncludeStop)
	take(f, "seed", &p.Seed, "a whole number", parseSeed)
	f.int("priority", &o.priority)
	o.n = f.count("n")
	if bestOf := o.n; f.int("best_of", &bestOf) && bestOf != o.n {
		f.fail("best_of", "%d: only supported where it equals n", bestOf)
	}
	f.bool("stream", &o.stream)
	var options *fields
	if f.object("stream_options", &options) {
		if !o.stream {
			f.fail("stream_options", "only allowed with stream")
		}
		options.bool("include_usage", &o.includeUsage)
		options.bool("continuous_usage_stats", new(bool))
		f.adopt(options)
	}
	return o
}

// adopt takes over the error of an object inside this one.
func (f *fields) adopt(inner *fields) {
	if f.err == nil {
		f.err = inner.err
	}
}

// checkModel accepts the names that the model goes by.
func (s *Server) checkModel(llm *minisgl.LLM, f *fields) *apiError {
	var name string
	f.string("model", &name)
	switch name {
	case "", "default", s.modelName(llm), llm.Name(), llm.Options().Model:
		return nil
	}
	return s.noSuchModel(llm, name)
}

func (s *Server) noSuchModel(llm *minisgl.LLM, name string) *apiError {
	return &apiError{status: http.StatusNotFound, param: "model", code: "model_not_found",
		message: "the model " + quoted(name) + " does not exist; served here: " + s.modelName(llm)}
}

func quoted(s string) string { return shown(appendString(nil, s)) }

// unsupported are members that would change the answer, with the values (compact JSON) that do not. Those in nothing never do.
var unsupported = map[string][]string{
	"tools": nil, "tool_choice": {`"none"`, `"auto"`}, "functions": nil, "function_call": {`"none"`, `"auto"`},
	"response_format": {`{"type":"text"}`}, "suffix": nil, "use_beam_search": nil, "length_penalty": {"1", "1.0"},
	"guided_json": nil, "guided_regex": nil, "guided_choice": nil, "guided_grammar": nil, "structured_outputs": nil,
	"regex": nil, "json_schema": nil, "ebnf": nil, "structural_tag": nil, "stop_regex": nil,
	"audio": nil, "modalities": {`["text"]`}, "prediction": nil, "web_search_options": nil, "documents": nil,
	"logits_processors": nil, "custom_logit_processor": nil, "custom_params": nil, "lora": nil, "lora_path": nil, "lora_request": nil,
	"allowed_token_ids": nil, "bad_words": nil, "prompt_embeds": nil, "input_embeds": nil, "image_data": nil, "audio_data": nil,
	"video_data": nil, "token_ids_logprob": nil, "prompt_logprobs": nil, "truncate_prompt_tokens": nil, "return_hidden_states": nil,
	"session_params": nil, "chat_template": nil, "continue_final_message": nil, "return_token_ids": nil, "return_tokens_as_token_ids": nil,
}

// nothing are the values by which clients say that they do not use a parameter.
var nothing = []string{"null", "false", `""`, "[]"}

// meaningless are members that change nothing here.
var meaningless = []string{
	"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
	"reasoning_effort", "verbosity", "spaces_between_special_tokens", "log_metrics", "request_id",
}

// finish refuses what is unsupported among what is left, and returns the first error of all.
func (f *fields) finish() *apiError {
	f.refuse(unsupported)
	if f.err != nil {
		return f.err
	}
	for name := range unsupported {
		delete(f.values, name)
	}
	for _, name := range meaningless {
		delete(f.values, name)
	}
	return nil
}

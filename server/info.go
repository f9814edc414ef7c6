package server

import (
	_ "embed"
	"net/http"
	"strings"
	"time"

	"minisgl"
)

//go:embed playground.html
var playgroundPage []byte

func (s *Server) playground(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
	w.Write(playgroundPage)
}

func (s *Server) statusOK(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"status": "ok"})
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"version": s.options.Version})
}

// health is 200 as soon as requests are taken. It is empty if all is well, and names the devices that are lost while others go on.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		var lost []string
		for _, e := range llm.Engines() {
			if e.Err != nil {
				lost = append(lost, e.Name)
			}
		}
		if lost != nil {
			writeJSON(w, map[string]any{"status": "degraded", "lost_devices": lost})
		}
		return nil
	})
}

// healthGenerate generates a token on each device to see that it still works.
func (s *Server) healthGenerate(w http.ResponseWriter, r *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		if err := llm.Probe(r.Context()); err != nil {
			return asAPIError(err, nil)
		}
		return nil
	})
}

// withModel calls handle with the model, or answers 503.
func (s *Server) withModel(w http.ResponseWriter, handle func(*minisgl.LLM) *apiError) {
	llm, e := s.ready()
	if e == nil {
		e = handle(llm)
	}
	if e != nil {
		writeError(w, e)
	}
}

type modelCard struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"`
	Created     int64   `json:"created"`
	OwnedBy     string  `json:"owned_by"`
	Root        string  `json:"root"`
	Parent      *string `json:"parent"`
	MaxModelLen int     `json:"max_model_len"`
}

func (s *Server) card(llm *minisgl.LLM) modelCard {
	return modelCard{ID: s.modelName(llm), Object: "model", Created: s.started.Unix(), OwnedBy: "minisgl", Root: llm.Options().Model,
		MaxModelLen: llm.MaxSeqLen()}
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		writeJSON(w, map[string]any{"object": "list", "data": []modelCard{s.card(llm)}})
		return nil
	})
}

// modelEndpoint is /v1/models/{id}; ids may hold slashes.
func (s *Server) modelEndpoint(path string) (endpoint, bool) {
	id, ok := strings.CutPrefix(path, "/v1/models/")
	handler := func(w http.ResponseWriter, _ *http.Request) {
		s.withModel(w, func(llm *minisgl.LLM) *apiError {
			if id != s.modelName(llm) {
				return s.noSuchModel(llm, id)
			}
			writeJSON(w, s.card(llm))
			return nil
		})
	}
	return endpoint{methods: map[string]http.HandlerFunc{"GET": handler, "HEAD": handler}}, ok
}

func (s *Server) modelInfo(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		config := llm.Config()
		writeJSON(w, map[string]any{
			"model_path": llm.Options().Model, "tokenizer_path": llm.Options().Model, "is_generation": true,
			"preferred_sampling_params": nil, "weight_version": "default", "model_type": config.Architecture,
			"has_image_understanding": false, "has_audio_understanding": false,
			"has_tokenizer": llm.Tokenizer() != nil, "has_chat_template": llm.HasChatTemplate(),
			"dtype": config.DType.String(), "vocab_size": config.Vocab, "max_model_len": llm.MaxSeqLen(), "stop_token_ids": llm.StopIDs(),
		})
		return nil
	})
}

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		o, device, memory, stats := llm.Options(), llm.DeviceInfo(), llm.Memory(), llm.Stats()
		writeJSON(w, map[string]any{
			"status": "ready", "version": s.options.Version, "served_model_name": s.modelName(llm), "model_path": o.Model,
			"device": device.Name, "device_description": device.Description, "kernels": device.Kernels,
			"context_length": llm.MaxSeqLen(), "max_running_requests": o.MaxRunning, "max_queued_requests": o.MaxQueue,
			"chunked_prefill_size": o.MaxStepTokens, "page_size": o.PageSize, "max_total_num_tokens": stats.Pages * o.PageSize,
			"disable_overlap_schedule": o.NoOverlap, "uptime_s": time.Since(s.started).Seconds(),
			"memory_bytes":    map[string]int64{"weights": memory.Weights, "kv": memory.KV, "scratch": memory.Scratch},
			"internal_states": engineStates(llm),
		})
		return nil
	})
}

// engineStates has an object for each engine, as SGLang's has for each data-parallel rank.
func engineStates(llm *minisgl.LLM) []any {
	var states []any
	for _, e := range llm.Engines() {
		status := "ready"
		if e.Err != nil {
			status = e.Err.Error()
		}
		states = append(states, map[string]any{
			"device": e.Name, "status": status,
			"num_running_reqs": e.Stats.Running, "num_queue_reqs": e.Stats.Waiting, "num_used_tokens": e.Stats.TokensInUse,
			"free_pages": e.Stats.FreePages, "cached_pages": e.Stats.CachedPages, "held_pages": e.Stats.HeldPages,
			"steps": e.Stats.Steps, "prompt_tokens": e.Stats.PromptTokens, "cached_tokens": e.Stats.CachedTokens,
			"output_tokens": e.Stats.OutputTokens, "retractions": e.Stats.Retractions, "evictions": e.Stats.Evictions,
		})
	}
	return states
}

func (s *Server) load(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		var loads []any
		for i, e := range llm.Engines() {
			loads = append(loads, map[string]int{"dp_rank": i, "num_reqs": e.Stats.Running + e.Stats.Waiting,
				"num_waiting_reqs": e.Stats.Waiting, "num_tokens": e.Stats.TokensInUse})
		}
		writeJSON(w, loads)
		return nil
	})
}

func (s *Server) flushCache(w http.ResponseWriter, _ *http.Request) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if stats := llm.Stats(); stats.Running+stats.Waiting > 0 || !llm.FlushCache() {
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte("The cache was not flushed: requests are running or waiting.\n"))
			return nil
		}
		w.Write([]byte("Cache flushed.\n"))
		return nil
	})
}

// abortRequest takes {"rid": …} or {"abort_all": true}. Unknown ids are ignored: the request may just have ended.
func (s *Server) abortRequest(w http.ResponseWriter, r *http.Request) {
	s.withBody(w, r, func(llm *minisgl.LLM, f *fields) (any, *apiError) {
		var id string
		var all bool
		hasID := f.string("rid", &id)
		f.bool("abort_all", &all)
		if f.err == nil && !all && !hasID {
			f.fail("rid", "expected a request id, or abort_all")
		}
		if e := f.finish(); e != nil {
			return nil, e
		}
		if all {
			llm.AbortAll()
		} else {
			s.abort(id)
		}
		return nil, nil
	})
}

// withBody answers a request with a JSON body by a JSON value; nil is an empty answer.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request, handle func(*minisgl.LLM, *fields) (any, *apiError)) {
	s.withModel(w, func(llm *minisgl.LLM) *apiError {
		body, e := s.readBody(w, r)
		if e != nil {
			return e
		}
		f, e := parseFields(body)
		if e != nil {
			return e
		}
		answer, e := handle(llm, f)
		if e == nil && answer != nil {
			writeJSON(w, answer)
		}
		return e
	})
}

// tokenize takes vLLM's {"prompt": …} or {"messages": …}.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	s.withBody(w, r, func(llm *minisgl.LLM, f *fields) (any, *apiError) {
		if e := s.checkModel(llm, f); e != nil {
			return nil, e
		}
		var request minisgl.Request
		hasPrompt := f.string("prompt", &request.Prompt)
		hasMessages := f.conversation(&request)
		bos, strings := !hasMessages, false
		f.bool("add_special_tokens", &bos)
		f.bool("return_token_strs", &strings)
		if f.err == nil && hasPrompt == hasMessages {
			f.fail("prompt", "expected either prompt or messages")
		}
		if e := f.finish(); e != nil {
			return nil, e
		}
		text := request.Prompt
		if hasMessages {
			var err error
			if text, err = llm.RenderChat(request.Messages, request.Chat); err != nil {
				return nil, asAPIError(err, map[string]string{"prompt": "messages"})
			}
		}
		ids, err := llm.Encode(text, bos)
		if err != nil {
			return nil, asAPIError(err, map[string]string{"prompt": "prompt"})
		}
		answer := tokenized{Count: len(ids), MaxModelLen: llm.MaxSeqLen(), Tokens: ids}
		if ids == nil {
			answer.Tokens = []int32{}
		}
		if strings {
			texts := tokenTexts{llm.Tokenizer()}
			answer.TokenStrs = []string{}
			for _, id := range ids {
				answer.TokenStrs = append(answer.TokenStrs, texts.text(id))
			}
		}
		return answer, nil
	})
}

type tokenized struct {
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Tokens      []int32  `json:"tokens"`
	TokenStrs   []string `json:"token_strs"`
}

// detokenize takes {"tokens": […]}.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	s.withBody(w, r, func(llm *minisgl.LLM, f *fields) (any, *apiError) {
		if e := s.checkModel(llm, f); e != nil {
			return nil, e
		}
		var ids []int32
		if !take(f, "tokens", &ids, "an array of token ids", parseTokens) {
			f.fail("tokens", "expected an array of token ids")
		}
		skip := false
		f.bool("skip_special_tokens", &skip)
		if e := f.finish(); e != nil {
			return nil, e
		}
		if llm.Tokenizer() == nil {
			return nil, asAPIError(minisgl.ErrNoTokenizer, map[string]string{"prompt": "tokens"})
		}
		for i, id := range ids {
			if id < 0 || int(id) >= llm.Config().Vocab {
				return nil, badParam("tokens", "token %d is %d, the vocabulary is [0, %d)", i, id, llm.Config().Vocab)
			}
		}
		return map[string]string{"prompt": llm.Tokenizer().Decode(ids, skip)}, nil
	})
}

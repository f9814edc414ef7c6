package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// An Endpoint is a path of a server and the dialect spoken there.
type Endpoint string

const (
	Completions Endpoint = "completions" // OpenAI: POST /v1/completions
	Chat        Endpoint = "chat"        // OpenAI: POST /v1/chat/completions
	Generate    Endpoint = "generate"    // SGLang: POST /generate
)

func (e Endpoint) path() string {
	return map[Endpoint]string{Completions: "/v1/completions", Chat: "/v1/chat/completions", Generate: "/generate"}[e]
}

// A Client sends requests to one server and times what comes back. It may be used from many goroutines.
type Client struct {
	BaseURL  string // without path: http://127.0.0.1:1919
	APIKey   string
	Endpoint Endpoint
	Model    string // in the bodies of OpenAI's dialect

	http *http.Client
}

// NewClient makes a client that gives up on a request after timeout; 0 is never. A base URL may end in /v1, as OpenAI's
// clients have it.
func NewClient(baseURL, apiKey string, timeout time.Duration) *Client {
	baseURL = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(baseURL, "/"), "/v1"), "/")
	return &Client{BaseURL: baseURL, APIKey: apiKey, Endpoint: Completions, http: &http.Client{Timeout: timeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4096, DisableCompression: true}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A message of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// A call is one request: a prompt in one of three forms, and how long the answer may be.
type call struct {
	ids       []int32
	text      string
	messages  []message
	maxTokens int
	ignoreEOS bool
}

// An answer is what came back for a call, and when.
type answer struct {
	start, first, end time.Time
	gaps              []float64 // milliseconds between chunks, after the first
	promptTokens      int       // 0 where the server does not tell
	cachedTokens      int       // -1 where the server does not tell
	outputTokens      int
	outputIDs         []int32 // SGLang's dialect only
	text              string
}

func (a *answer) ttft() float64 { return milliseconds(a.first.Sub(a.start)) }
func (a *answer) e2e() float64  { return a.end.Sub(a.start).Seconds() }

// tpot is the mean time per token after the first, in milliseconds; 0 for a single token.
func (a *answer) tpot() float64 {
	if a.outputTokens < 2 {
		return 0
	}
	return milliseconds(a.end.Sub(a.first)) / float64(a.outputTokens-1)
}

func (c *Client) body(q *call) ([]byte, error) {
	if c.Endpoint == Generate {
		body := map[string]any{"stream": true, "sampling_params": map[string]any{
			"temperature": 0, "max_new_tokens": q.maxTokens, "ignore_eos": q.ignoreEOS}}
		if q.ids != nil {
			body["input_ids"] = q.ids
		} else {
			body["text"] = q.text
		}
		return json.Marshal(body)
	}
	body := map[string]any{"model": c.Model, "stream": true, "stream_options": map[string]any{"include_usage": true},
		"temperature": 0, "max_tokens": q.maxTokens}
	if q.ignoreEOS {
		body["ignore_eos"] = true
	}
	switch {
	case c.Endpoint == Chat:
		body["messages"] = q.messages
	case q.ids != nil:
		body["prompt"] = q.ids
	default:
		body["prompt"] = q.text
	}
	return json.Marshal(body)
}

// stream sends a call and reads the answer to its end.
func (c *Client) stream(ctx context.Context, q *call) (*answer, error) {
	body, err := c.body(q)
	if err != nil {
		return nil, err
	}
	r, err := c.request(ctx, http.MethodPost, c.Endpoint.path(), body)
	if err != nil {
		return nil, err
	}
	a := &answer{cachedTokens: -1, gaps: make([]float64, 0, q.maxTokens)}
	reader := chunkReader{answer: a, endpoint: c.Endpoint}
	a.start = time.Now()
	response, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if err := readEvents(response.Body, reader.event); err != nil {
		return nil, fmt.Errorf("POST %s: %w", r.URL, err)
	}
	reader.finish(time.Now())
	return a, nil
}

// get reads a JSON value.
func (c *Client) get(ctx context.Context, path string, into any) error {
	data, err := c.read(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("GET %s%s: %w", c.BaseURL, path, err)
	}
	return nil
}

func (c *Client) read(ctx context.Context, path string) ([]byte, error) {
	r, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(io.LimitReader(response.Body, 16<<20))
}

func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.APIKey)
	}
	return r, nil
}

// do sends a request; a status other than 200 is an error with what the server says.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	text := strings.TrimSpace(string(said))
	var object struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(said, &object) == nil && object.Error != nil {
		text = errorText(object.Error)
	}
	return nil, fmt.Errorf("%s %s: %s: %s", r.Method, r.URL, response.Status, text)
}

// errorText is the message of an error object, or the object itself where it has none.
func errorText(raw json.RawMessage) string {
	var object struct{ Message string }
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return object.Message
	}
	return string(raw)
}

// models returns the ids that GET /v1/models lists.
func (c *Client) models(ctx context.Context) ([]string, error) {
	var list struct {
		Data []struct{ ID string }
	}
	if err := c.get(ctx, "/v1/models", &list); err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("GET %s/v1/models lists no model", c.BaseURL)
	}
	return ids, nil
}

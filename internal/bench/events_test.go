package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestReadEvents(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name, stream string
		want         []string
		err          string
	}{
		{"plain", "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n", []string{"1", "2"}, ""},
		{"without space, with carriage returns", "data:1\r\n\r\ndata:2\r\n\r\ndata:[DONE]\r\n\r\n", []string{"1", "2"}, ""},
		{"comments and other fields", ": ping\n\nevent: x\nid: 7\ndata: 1\nretry: 5\n\ndata: [DONE]\n\n", []string{"1"}, ""},
		{"no blank lines, as seed A", "data: 1\ndata: 2\ndata: [DONE]\n", []string{"1", "2"}, ""},
		{"end without line end", "data: 1\n\ndata: [DONE]", []string{"1"}, ""},
		{"longer than the buffer", "data: " + long + "\n\ndata: " + long + "2\n\ndata: [DONE]\n\n", []string{long, long + "2"}, ""},
		{"what follows the end does not count", "data: [DONE]\n\ndata: 1\n\n", nil, ""},
		{"cut off", "data: 1\n\n", []string{"1"}, errCut.Error()},
		{"cut off within an event", "data: 1\n\ndata: 2", []string{"1", "2"}, errCut.Error()},
		{"empty", "", nil, errCut.Error()},
	} {
		for _, split := range []struct {
			name string
			wrap func(io.Reader) io.Reader
		}{{"whole", func(r io.Reader) io.Reader { return r }}, {"byte by byte", iotest.OneByteReader}, {"halves", iotest.HalfReader}} {
			var got []string
			err := readEvents(split.wrap(strings.NewReader(c.stream)), func(data []byte) error { got = append(got, string(data)); return nil })
			if !slices.Equal(got, c.want) || fmt.Sprint(err) != c.err && !(err == nil && c.err == "") {
				t.Errorf("%s, %s: %d events, %v; want %d, %q", c.name, split.name, len(got), err, len(c.want), c.err)
			}
		}
	}
	broken := errors.New("broken")
	err := readEvents(io.MultiReader(strings.NewReader("data: 1\n"), iotest.ErrReader(broken)), func([]byte) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n"), false)
	f.Add([]byte("data: {\"meta_info\":{\"completion_tokens\":1},\"text\":\"a\"}\n\ndata: [DONE]\n\n"), true)
	f.Add([]byte(": x\r\ndata:\r\n"), false)
	f.Fuzz(func(t *testing.T, stream []byte, native bool) {
		r := chunkReader{answer: &answer{}, endpoint: Completions}
		if native {
			r.endpoint = Generate
		}
		if readEvents(iotest.HalfReader(strings.NewReader(string(stream))), r.event) != nil {
			return
		}
		r.finish(time.Now())
		if len(r.gaps) != max(r.chunks-1, 0) {
			t.Errorf("%d gaps between %d chunks", len(r.gaps), r.chunks)
		}
	})
}

// scripted answers every POST with the same stream, pausing where the script has an empty piece.
func scripted(t *testing.T, status int, pieces ...string) *Client {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		for _, piece := range pieces {
			if piece == "" {
				time.Sleep(30 * time.Millisecond)
			}
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(web.Close)
	c := NewClient(web.URL, "", 0)
	t.Cleanup(c.Close)
	return c
}

func TestAnswersOfServers(t *testing.T) {
	const openAIUsage = `data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}` + "\n\n"
	const done = "data: [DONE]\n\n"
	for _, c := range []struct {
		name     string
		endpoint Endpoint
		pieces   []string
		want     answer // but for times
		gaps     int
	}{
		{"completions", Completions, []string{"", `data: {"choices":[{"text":"He"}]}` + "\n", "\n", "", `data: {"choices":[{"text":"llo"}]}` + "\n\n", openAIUsage, done},
			answer{promptTokens: 9, cachedTokens: 4, outputTokens: 5, text: "Hello"}, 1},
		{"chat: the role is no token", Chat, []string{`data: {"choices":[{"delta":{"role":"assistant","content":""}}]}` + "\n\n", "",
			`data: {"choices":[{"delta":{"content":"Hi"}}]}` + "\n\n", `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n", openAIUsage, done},
			answer{promptTokens: 9, cachedTokens: 4, outputTokens: 5, text: "Hi"}, 0},
		{"a server that tells no usage", Completions, []string{"", `data: {"choices":[{"text":"a"}],"usage":null}` + "\n\n", "", `data: {"choices":[{"text":"b"}]}` + "\n\n", done},
			answer{cachedTokens: -1, outputTokens: 2, text: "ab"}, 1},
		{"usage without details", Completions, []string{"", `data: {"choices":[{"text":"a"}]}` + "\n\n", `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}` + "\n\n", done},
			answer{promptTokens: 3, cachedTokens: -1, outputTokens: 1, text: "a"}, 0},
		{"SGLang", Generate, []string{"", `data: {"text":"He","output_ids":[1],"meta_info":{"prompt_tokens":3,"completion_tokens":1,"cached_tokens":2}}` + "\n\n", "",
			`data: {"text":"Hello","output_ids":[1,2,3],"meta_info":{"prompt_tokens":3,"completion_tokens":3,"cached_tokens":2,"finish_reason":{"type":"length"}}}` + "\n\n", done},
			answer{promptTokens: 3, cachedTokens: 2, outputTokens: 3, text: "Hello", outputIDs: []int32{1, 2, 3}}, 1},
		{"no text at all", Completions, []string{"", openAIUsage, done}, answer{promptTokens: 9, cachedTokens: 4, outputTokens: 5}, 0},
	} {
		client := scripted(t, http.StatusOK, c.pieces...)
		client.Endpoint = c.endpoint
		got, err := client.stream(context.Background(), &call{text: "x", maxTokens: 5})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.promptTokens != c.want.promptTokens || got.cachedTokens != c.want.cachedTokens || got.outputTokens != c.want.outputTokens ||
			got.text != c.want.text || !slices.Equal(got.outputIDs, c.want.outputIDs) || len(got.gaps) != c.gaps {
			t.Errorf("%s: %+v, want %+v and %d gaps", c.name, *got, c.want, c.gaps)
		}
		if got.ttft() < 30 || got.e2e() < 0.03 || got.end.Before(got.first) {
			t.Errorf("%s: first token after %.1f ms, end after %.3f s; the server waited 30 ms", c.name, got.ttft(), got.e2e())
		}
		last := got.ttft() // a chunk that is read late makes the gap behind it shorter
		for i, gap := range got.gaps {
			if last += gap; last < float64(30*(i+2)) {
				t.Errorf("%s: chunk %d after %.1f ms, the server waited %d", c.name, i+1, last, 30*(i+2))
			}
		}
	}
}

func TestServersThatFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		pieces []string
		want   string
	}{
		{"refused", 400, []string{`{"error":{"message":"prompt: too long","type":"invalid_request_error"}}`}, "400 Bad Request: prompt: too long"},
		{"refused in plain words", 503, []string{"try later\n"}, "503 Service Unavailable: try later"},
		{"error within the stream", 200, []string{`data: {"choices":[{"text":"a"}]}` + "\n\n", `data: {"error":{"message":"device lost"}}` + "\n\n"}, "the server failed: device lost"},
		{"error that is a text", 200, []string{`data: {"error":"boom"}` + "\n\n"}, `the server failed: "boom"`},
		{"cut off", 200, []string{`data: {"choices":[{"text":"a"}]}` + "\n\n"}, errCut.Error()},
		{"not JSON", 200, []string{"data: hello\n\n"}, "not the JSON expected"},
	} {
		client := scripted(t, c.status, c.pieces...)
		_, err := client.stream(context.Background(), &call{text: "x", maxTokens: 5})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "/v1/completions") {
			t.Errorf("%s: %v, want the path and %q", c.name, err, c.want)
		}
	}
	if _, err := scripted(t, 200, `{"data":[]}`).models(context.Background()); err == nil || !strings.Contains(err.Error(), "lists no model") {
		t.Errorf("a server without models: %v", err)
	}
}

// Kept-alive connections are used again, or a benchmark would measure TCP handshakes.
func TestConnectionsAreUsedAgain(t *testing.T) {
	addresses := map[string]bool{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses[r.RemoteAddr] = true
		io.WriteString(w, "data: [DONE]\n\n")
	}))
	defer web.Close()
	c := NewClient(web.URL+"/v1/", "", 0)
	defer c.Close()
	for range 5 {
		if _, err := c.stream(context.Background(), &call{text: "x", maxTokens: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("%d connections for 5 requests", len(addresses))
	}
}

// What the client spends on each event decides how much of a shared machine it takes from the server.
func BenchmarkEvents(b *testing.B) {
	const events = 1000
	event := `data: {"id":"cmpl-0123456789ABCDEF","object":"text_completion","created":1795304975,"model":"Qwen2.5-0.5B","choices":[{"index":0,"text":" word","logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"
	stream := strings.Repeat(event, events) + "data: [DONE]\n\n"
	b.ReportAllocs()
	for b.Loop() {
		r := chunkReader{answer: &answer{}, endpoint: Completions}
		if err := readEvents(strings.NewReader(stream), r.event); err != nil || r.chunks != events {
			b.Fatal(r.chunks, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}

package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"minisgl"
	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/server"
)

var deviceNames atomic.Int64

// register makes a fake device available under a new name.
func register(o fake.Options) string {
	name := fmt.Sprintf("fake%d", deviceNames.Add(1))
	device.Register(device.Driver{Name: name, Open: func(device.OpenOptions) (device.Device, error) { return fake.New(o), nil }})
	return name
}

// paced is a fake device whose steps take a given time.
func paced(_ testing.TB, step time.Duration) string {
	return register(fake.Options{Run: fake.Concurrent, Trusting: true, Fault: func(int) fake.Fault { return fake.Fault{Delay: step} }})
}

// get posts to /v1/completions and returns the body as far as it comes.
func (s *site) get(ctx context.Context, body string) string {
	r, err := http.NewRequestWithContext(ctx, "POST", s.web.URL+"/v1/completions", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	response, err := s.web.Client().Do(r)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

const long = `{"prompt": "Tell me a long story", "max_tokens": 480, "ignore_eos": true, "stream": true, "temperature": 0`

func TestLeavingClientFreesPages(t *testing.T) {
	noLeaks(t)
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) { mo.Device = paced(t, 5*time.Millisecond) })
	for _, body := range []string{long + "}", long + `, "n": 3}`, strings.Replace(long, `"stream": true`, `"stream": false`, 1) + "}"} {
		ctx, leave := context.WithCancel(context.Background())
		answered := make(chan string)
		go func() { answered <- s.get(ctx, body) }()
		eventually(t, "pages are held", func() bool { return s.llm.Stats().HeldPages > 0 })
		before := s.llm.Stats()
		leave()
		<-answered
		eventually(t, "pages are free", func() bool { stats := s.llm.Stats(); return stats.HeldPages == 0 && stats.Running == 0 })
		// One step may be running when the abort arrives and one may be queued behind it; a busy machine tells the server late.
		if steps := s.llm.Stats().Steps - before.Steps; steps > 200 {
			t.Errorf("%d more steps after the client had left", steps)
		}
	}
}

func TestAbortRequest(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) { mo.Device = paced(t, 20*time.Millisecond) })
	for _, abort := range []string{`{"rid": "mine"}`, `{"abort_all": true}`} {
		answer := make(chan string)
		go func() {
			_, _, text := s.do("POST", "/generate", `{"text": "x", "rid": "mine", "sampling_params": {"max_new_tokens": 480, "ignore_eos": true}}`)
			answer <- text
		}()
		eventually(t, "it runs", func() bool { return s.llm.Stats().Running == 1 })
		if status, _, text := s.do("POST", "/generate", `{"text": "x", "rid": "mine"}`); status != 400 || *decode[failure](t, text).Error.Param != "rid" {
			t.Errorf("an id that is in use: %d %s", status, text)
		}
		s.post("/abort_request", `{"rid": "unknown"}`)
		s.post("/abort_request", abort)
		if got := decode[generated](t, <-answer); got.Meta.FinishReason.Type != "abort" || got.Meta.ID != "mine" || got.Meta.CompletionTokens > 470 {
			t.Errorf("%s: %+v", abort, got.Meta)
		}
		eventually(t, "it runs no more", func() bool { return s.llm.Stats().Running == 0 })
	}
}

func TestRequestTimeout(t *testing.T) {
	noLeaks(t)
	s := fakeText(t, func(mo *minisgl.Options, so *server.Options) {
		mo.Device, so.RequestTimeout = paced(t, 5*time.Millisecond), 100*time.Millisecond
	})
	status, _, text := s.do("POST", "/v1/completions", strings.Replace(long, `"stream": true`, `"stream": false`, 1)+"}")
	if status != http.StatusGatewayTimeout || *decode[failure](t, text).Error.Code != "timeout" {
		t.Errorf("whole: %d %s", status, text)
	}
	all := events(t, s.get(context.Background(), long+"}"))
	if last := decode[completion](t, all[len(all)-1]).Choices[0]; *last.FinishReason != "abort" {
		t.Errorf("streamed: %+v", last)
	}
	eventually(t, "a short one is answered in time", func() bool {
		status, _, _ := s.do("POST", "/v1/completions", `{"prompt": "x", "max_tokens": 2}`)
		return status == 200
	})
}

func TestReadiness(t *testing.T) {
	o := server.Options{}
	handler := server.New(o)
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
		return w.Code, w.Header().Get("Retry-After")
	}
	for _, c := range [][2]string{{"GET", "/health"}, {"GET", "/health_generate"}, {"GET", "/v1/models"}, {"POST", "/v1/completions"}, {"POST", "/generate"}} {
		if status, retry := ask(c[0], c[1]); status != 503 || retry == "" {
			t.Errorf("before the model is there, %s: %d, Retry-After %q", c[1], status, retry)
		}
	}
	if status, _ := ask("GET", "/v1"); status != 200 {
		t.Errorf("/v1: %d", status)
	}

	// The device fails for good in the middle of a stream.
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		mo.Device = register(fake.Options{Fault: func(step int) fake.Fault {
			if step == 8 {
				return fake.Fault{Err: device.ErrLost}
			}
			return fake.Fault{Delay: 5 * time.Millisecond}
		}})
		mo.NoOverlap = true
	})
	if status, _, text := s.do("GET", "/health", ""); status != 200 || text != "" {
		t.Errorf("healthy: %d %q", status, text)
	}
	s.post("/v1/completions", `{"prompt": "x", "max_tokens": 2}`)
	text := s.get(context.Background(), long+"}")
	parts := strings.Split(strings.TrimSpace(text), "\n\n")
	if last := decode[failure](t, strings.TrimPrefix(parts[len(parts)-1], "data: ")); last.Error.Type != "server_error" || len(parts) < 2 {
		t.Errorf("the stream ends with %s", parts[len(parts)-1])
	}
	eventually(t, "unhealthy", func() bool { status, _, _ := s.do("GET", "/health", ""); return status == 503 })
	if status, _, text := s.do("POST", "/v1/completions", `{"prompt": "x"}`); status != 503 {
		t.Errorf("after the device was lost: %d %s", status, text)
	}
}

// A step that fails ends its requests; each dialect says so in the middle of its stream, and the next request is well.
func TestFailureInMidStream(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		mo.Device = register(fake.Options{Fault: func(step int) fake.Fault {
			if step%10 == 9 {
				return fake.Fault{Err: errors.New("a cable came off")}
			}
			return fake.Fault{Delay: 2 * time.Millisecond}
		}})
		mo.NoOverlap = true
	})
	const object = `{"error":{"message":"request MESSAGE: a cable came off","type":"server_error","param":null,"code":null}}`
	for _, c := range []struct{ path, body, end string }{
		{"/v1/chat/completions", hello + `, "stream": true}`, "data: " + object + "\n\n"},
		{"/v1/completions", long + "}", "data: " + object + "\n\n"},
		{"/generate", `{"text": "x", "stream": true}`, "data: " + object + "\n\ndata: [DONE]\n\n"},
		{"/generate", `{"prompt": "x", "max_tokens": 100, "ignore_eos": true}`, "data: " + object + "\n"},
		{"/generate", `{"prompt": "x", "ignore_eos": null}`, object + "\n"},
	} {
		status, _, text := s.do("POST", c.path, c.body)
		before, after, _ := strings.Cut(c.end, "MESSAGE")
		if i := strings.LastIndex(text, before); status != 200 || i <= 0 || !strings.HasSuffix(text, after) {
			t.Errorf("%s %s: %d, the stream ends with %q", c.path, c.body, status, text[max(0, len(text)-200):])
		}
		if status, _, text := s.do("POST", "/v1/completions", `{"prompt": "x"}`); status != http.StatusInternalServerError {
			t.Errorf("a whole answer that fails: %d %s", status, text)
		}
		if status, _, text := s.do("POST", "/v1/completions", `{"prompt": "x", "max_tokens": 2}`); status != http.StatusOK {
			t.Errorf("the next request: %d %s", status, text)
		}
		s.post("/v1/completions", `{"prompt": "x", "max_tokens": 1}`)
	}
}

func TestDrain(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) { mo.Device = paced(t, time.Millisecond) })
	answer := make(chan string)
	go func() { answer <- s.get(context.Background(), long+"}") }()
	eventually(t, "it runs", func() bool { return s.llm.Stats().Running == 1 })
	s.server.ShuttingDown()
	if status, h, _ := s.do("POST", "/v1/completions", `{"prompt": "x"}`); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("a new request: %d", status)
	}
	if err := s.llm.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	all := events(t, <-answer)
	if last := decode[completion](t, all[len(all)-1]).Choices[0]; *last.FinishReason != "length" {
		t.Errorf("the running one ended with %+v", last)
	}
}

// A client that does not read is dropped, however much there is to say.
func TestSlowClient(t *testing.T) {
	s := fakeText(t, func(mo *minisgl.Options, so *server.Options) {
		mo.Device, so.IOTimeout = paced(t, 10*time.Millisecond), 500*time.Millisecond
	})
	connection, err := net.Dial("tcp", s.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	body := `{"text": "x", "stream": true, "return_logprob": true, "top_logprobs_num": 60, "sampling_params": {"max_new_tokens": 500, "ignore_eos": true}}`
	fmt.Fprintf(connection, "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	// What there is to say grows with each token: it soon is more than the connection holds.
	eventually(t, "the client is dropped", func() bool {
		return s.scrape()["sglang:num_aborted_requests_total"].Metric[0].Counter.GetValue() == 1
	})
	connection.SetReadDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(connection)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("the connection is still open")
	}
	if strings.Contains(string(text), "[DONE]") || !strings.Contains(string(text), "HTTP/1.1 200") {
		t.Errorf("the client got all %d bytes", len(text))
	}

	// The deadline does not outlive the response: the connection of a good client goes on.
	again, err := net.Dial("tcp", s.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	reader := bufio.NewReader(again)
	for i := range 2 {
		time.Sleep(time.Duration(i) * 700 * time.Millisecond)
		const short = `{"prompt": "x", "max_tokens": 2}`
		fmt.Fprintf(again, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(short), short)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("%v %v", response, err)
		}
		io.Copy(io.Discard, response.Body)
	}
}

func TestSlowBody(t *testing.T) {
	s := fakeText(t, func(_ *minisgl.Options, so *server.Options) { so.IOTimeout = 100 * time.Millisecond })
	connection, err := net.Dial("tcp", s.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprint(connection, "POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%v %v", response, err)
	}
}

func TestUnknownParametersAreLogged(t *testing.T) {
	log := &safeBuffer{}
	s := fakeText(t, func(_ *minisgl.Options, so *server.Options) {
		so.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.post("/v1/completions", `{"prompt": "x", "made_up": 1, "user": "me"}`)
	if text := log.String(); !strings.Contains(text, "made_up") || strings.Contains(text, "user") {
		t.Errorf("log:\n%s", text)
	}
}

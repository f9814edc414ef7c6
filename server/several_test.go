package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minisgl"
	"minisgl/device"
	"minisgl/device/fake"
	"minisgl/server"
)

// breakable is a fake device which is lost once a flag is set. Its steps take so long that a busy machine can look at what runs before
// that has ended, until there is a hurry.
func breakable(lost, hurry *atomic.Bool) string {
	return register(fake.Options{Run: fake.Concurrent, Fault: func(int) fake.Fault {
		if lost.Load() {
			return fake.Fault{Err: fmt.Errorf("%w: it fell off the bus", device.ErrLost)}
		}
		if hurry.Load() {
			return fake.Fault{}
		}
		return fake.Fault{Delay: 20 * time.Millisecond}
	}})
}

// values are a metric's, by device.
func (s *site) values(metric string) map[string]float64 {
	got := map[string]float64{}
	for _, m := range s.scrape()[metric].GetMetric() {
		got[labelsOf(m)["device"]] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return got
}

func TestServingOnSeveralDevices(t *testing.T) {
	noLeaks(t)
	var lost [2]atomic.Bool
	var hurry atomic.Bool
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		mo.Device = breakable(&lost[0], &hurry) + "," + breakable(&lost[1], &hurry)
	})
	if status, _, text := s.do("GET", "/health", ""); status != 200 || text != "" {
		t.Errorf("healthy: %d %q", status, text)
	}
	if status, _, text := s.do("GET", "/health_generate", ""); status != 200 || text != "" {
		t.Errorf("health_generate: %d %q", status, text)
	}
	eventually(t, "a token was generated on each device", func() bool {
		got := s.values("minisgl:engine_generation_tokens_total")
		return got["fake#0"] == 1 && got["fake#1"] == 1
	})

	// Six streams, three on each. Then a device is lost.
	texts := make([]string, 6)
	var clients sync.WaitGroup
	for i := range texts {
		clients.Go(func() { texts[i] = s.get(context.Background(), strings.Replace(long, "Tell", fmt.Sprint(i), 1)+"}") })
	}
	eventually(t, "all run", func() bool {
		got := s.values("minisgl:engine_running_requests")
		return got["fake#0"] == 3 && got["fake#1"] == 3
	})
	type load struct {
		Rank int `json:"dp_rank"`
		N    int `json:"num_reqs"`
	}
	_, _, text := s.do("GET", "/get_load", "")
	if loads := decode[[]load](t, text); len(loads) != 2 || loads[1] != (load{1, 3}) {
		t.Errorf("/get_load: %s", text)
	}
	if got := s.scrape()["vllm:num_requests_running"].Metric[0].Gauge.GetValue(); got != 6 {
		t.Errorf("%v requests run in all", got)
	}
	// Each of the three gets a token in every step, but for those in flight.
	before := s.values("minisgl:engine_generation_tokens_total")["fake#1"]
	eventually(t, "all have begun", func() bool { return s.values("minisgl:engine_generation_tokens_total")["fake#1"] >= before+30 })
	lost[1].Store(true)
	hurry.Store(true)
	clients.Wait()
	failed := 0
	for i, text := range texts {
		parts := strings.Split(strings.TrimSpace(text), "\n\n")
		if len(parts) < 2 { // a token at least, and how it ended
			t.Errorf("stream %d: %q", i, text)
		}
		switch last := parts[len(parts)-1]; {
		case last == "data: [DONE]":
			if c := decode[completion](t, strings.TrimPrefix(parts[len(parts)-2], "data: ")); *c.Choices[0].FinishReason != "length" {
				t.Errorf("stream %d: %s", i, parts[len(parts)-2])
			}
		default:
			failed++
			e := decode[failure](t, strings.TrimPrefix(last, "data: ")).Error
			if e.Type != "server_error" || !strings.Contains(e.Message, "device fake#1: device lost: it fell off the bus") {
				t.Errorf("stream %d ends with %s", i, last)
			}
		}
	}
	if failed != 3 {
		t.Errorf("%d streams failed, want the 3 of the lost device", failed)
	}

	eventually(t, "it is told", func() bool { _, _, text := s.do("GET", "/health", ""); return text != "" })
	if status, _, text := s.do("GET", "/health", ""); status != 200 || text != `{"lost_devices":["fake#1"],"status":"degraded"}` {
		t.Errorf("one of two: %d %s", status, text)
	}
	if got := s.values("minisgl:engine_up"); got["fake#0"] != 1 || got["fake#1"] != 0 || len(got) != 2 {
		t.Errorf("up: %v", got)
	}
	type info struct {
		Device string
		States []struct{ Device, Status string } `json:"internal_states"`
		Tokens int                               `json:"max_total_num_tokens"`
	}
	_, _, text = s.do("GET", "/get_server_info", "")
	if got := decode[info](t, text); got.Device != "fake,fake" || got.Tokens != 4*8192 || len(got.States) != 2 || got.States[0].Status != "ready" ||
		got.States[1].Device != "fake#1" || !strings.Contains(got.States[1].Status, "device lost") {
		t.Errorf("/get_server_info: %s", text)
	}
	for range 4 {
		s.post("/v1/completions", `{"prompt": "x", "max_tokens": 2}`)
	}
	s.post("/v1/completions", `{"prompt": ["x", "y", "z"], "n": 3, "max_tokens": 2}`)

	lost[0].Store(true)
	if status, _, text := s.do("POST", "/v1/completions", `{"prompt": "x"}`); status != 500 || !strings.Contains(text, "device fake#0: device lost") {
		t.Errorf("the request that meets the last loss: %d %s", status, text)
	}
	eventually(t, "unhealthy", func() bool { status, _, _ := s.do("GET", "/health", ""); return status == 503 })
	if status, _, text := s.do("POST", "/v1/completions", `{"prompt": "x"}`); status != 503 {
		t.Errorf("a later request: %d %s", status, text)
	}
	if got := s.values("minisgl:engine_up"); got["fake#0"] != 0 || got["fake#1"] != 0 {
		t.Errorf("up: %v", got)
	}
}

func TestAbortsAndDrainOnSeveralDevices(t *testing.T) {
	noLeaks(t)
	var lost, hurry atomic.Bool
	s := fakeText(t, func(mo *minisgl.Options, _ *server.Options) {
		slow := breakable(&lost, &hurry)
		mo.Device = slow + "," + slow
	})
	// One body, four outputs: they spread, one abort ends them all, and a client that leaves frees all pages.
	ask := func(ctx context.Context) chan string {
		answer := make(chan string)
		go func() { answer <- s.get(ctx, long+`, "n": 4}`) }()
		eventually(t, "they run on both", func() bool {
			e := s.llm.Engines()
			return e[0].Stats.Running > 0 && e[1].Stats.Running > 0 && s.llm.Stats().Running == 4
		})
		return answer
	}
	answer := ask(context.Background())
	s.post("/abort_request", `{"abort_all": true}`)
	if n := strings.Count(<-answer, `"finish_reason":"abort"`); n != 4 {
		t.Errorf("%d of 4 outputs were aborted", n)
	}
	ctx, leave := context.WithCancel(context.Background())
	answer = ask(ctx)
	leave()
	<-answer
	eventually(t, "pages are free", func() bool { stats := s.llm.Stats(); return stats.HeldPages+stats.Running == 0 })

	answer = ask(context.Background())
	hurry.Store(true)
	s.server.ShuttingDown()
	if err := s.llm.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(<-answer, `"finish_reason":"length"`); n != 4 {
		t.Errorf("%d of 4 outputs were drained", n)
	}
}

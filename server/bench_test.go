package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minisgl"
	"minisgl/server"
)

// 64 chats stream at the same time from a device that costs nearly nothing, so this is what serving costs, clients included.
// A reader that cannot keep up gets several tokens in one event: events/token tells.
func BenchmarkStreams(b *testing.B) {
	for _, step := range []time.Duration{3 * time.Millisecond, 2 * time.Millisecond, time.Millisecond, 0} {
		device := paced(b, step)
		b.Run(fmt.Sprintf("step=%v", step), func(b *testing.B) { benchmarkStreams(b, device) })
	}
}

func benchmarkStreams(b *testing.B, device string) {
	const streams, tokens = 64, 400
	s := fakeText(b, func(mo *minisgl.Options, _ *server.Options) {
		mo.Device, mo.NumPages, mo.MaxRunning = device, 64*256, streams
	})
	transport := &http.Transport{MaxIdleConnsPerHost: streams}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var events atomic.Int64
	read := func(i int) {
		body := fmt.Sprintf(`{"messages": [{"role": "user", "content": "Stream %d"}], "stream": true, "temperature": 0, "max_tokens": %d, "ignore_eos": true}`, i, tokens)
		response, err := client.Post(s.web.URL+"/v1/chat/completions", "application/json", strings.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		defer response.Body.Close()
		buffer := make([]byte, 16<<10)
		var tail []byte
		for err == nil {
			var n int
			n, err = response.Body.Read(buffer)
			events.Add(int64(bytes.Count(buffer[:n], []byte("\n\n"))))
			if n > 0 {
				tail = append(tail[:0], buffer[max(0, n-20):n]...)
			}
		}
		if err != io.EOF || !bytes.HasSuffix(tail, []byte("[DONE]\n\n")) {
			b.Errorf("the stream ends with %q, %v", tail, err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		var clients sync.WaitGroup
		for i := range streams {
			clients.Go(func() { read(i) })
		}
		clients.Wait()
	}
	total := float64(b.N * streams * tokens)
	b.ReportMetric(total/b.Elapsed().Seconds(), "tokens/s")
	b.ReportMetric(float64(events.Load())/total, "events/token")
}

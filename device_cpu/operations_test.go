package cpu

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"minisgl/device"
	"minisgl/tensor"
)

// A meter adds up how long the tasks of a step take, by kind: from the start of a task's first unit to the end of its last.
type meter struct {
	names   map[*task]string
	mutex   sync.Mutex
	task    *task
	started time.Time
	ended   time.Time
	sums    map[string]time.Duration
	busy    map[string]time.Duration // of all workers
}

// taskNames says what each task of a runner does.
func taskNames(r *runner) map[*task]string {
	return map[*task]string{&r.linear.work: "linear", &r.linear.rounding: "round", &r.linear.tiling: "round", &r.attention.work: "attention",
		&r.head.work: "head", &r.head.read: "sampling", &r.head.part: "sampling",
		&r.rowwise.embedding: "embed", &r.rowwise.normalising: "norm",
		&r.rowwise.gating: "silu", &r.gated.work: "gates", &r.rowwise.rotating: "rotary"}
}

func newMeter(r *runner) *meter {
	m := &meter{names: taskNames(r)}
	m.reset()
	r.pool.observe = m.observe
	return m
}

func (m *meter) reset() { m.sums, m.busy = map[string]time.Duration{}, map[string]time.Duration{} }

func (m *meter) observe(t *task, _ int, from, to time.Time) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.busy[m.names[t]] += to.Sub(from)
	if t != m.task {
		m.close()
		m.task, m.started, m.ended = t, from, to
	}
	if from.Before(m.started) {
		m.started = from
	}
	if to.After(m.ended) {
		m.ended = to
	}
}

// close adds the task that ended last.
func (m *meter) close() {
	if m.task != nil {
		m.sums[m.names[m.task]] += m.ended.Sub(m.started)
	}
	m.task = nil
}

// BenchmarkOperations prints what each kind of operation takes of a step of Qwen2.5-0.5B in bf16, in ms: of prompts and of a decode
// row behind 4,095 tokens. "gates" are products together with their SiLU. What no task accounts for is "other". Attention's arithmetic, or the bytes it reads where
// that takes longer, stand beside the machine's limit, measured in the same run.
func BenchmarkOperations(b *testing.B) {
	const pageSize = 16
	kinds := []string{"linear", "gates", "round", "attention", "silu", "norm", "rotary", "embed", "head"}
	for _, v := range usableVariants() {
		if v.name == "generic" {
			continue
		}
		for _, activations := range []tensor.DType{tensor.Invalid, tensor.BF16} {
			if activations == tensor.BF16 && v.pairs == nil && v.amx == nil {
				continue
			}
			name := v.name
			if activations == tensor.BF16 {
				name += " bfloat16"
			}
			b.Run(name, func(b *testing.B) {
				read, multiply := readRate(v), multiplyRate(v)
				loaded := benchRunner(b, v, benchThreads, pageSize, activations)
				r := loaded.(*runner)
				m := newMeter(r)
				for _, c := range []struct{ rows, position int }{{512, 0}, {2048, 0}, {1, 4095}} {
					b.Run(fmt.Sprintf("%d rows at %d", c.rows, c.position), func(b *testing.B) {
						s := benchStep(1, c.rows, c.position, pageSize, device.Greedy())
						runStep(b, loaded, s)
						best := map[string]time.Duration{}
						total := time.Duration(math.MaxInt64)
						var attentionBusy time.Duration
						for b.Loop() {
							m.reset()
							start := time.Now()
							runStep(b, loaded, s)
							took := time.Since(start)
							m.close()
							if took < total {
								total, best, attentionBusy = took, m.sums, m.busy["attention"]
							}
						}
						rest := total
						for _, kind := range kinds {
							b.ReportMetric(best[kind].Seconds()*1e3, kind+"-ms")
							rest -= best[kind]
						}
						b.ReportMetric(rest.Seconds()*1e3, "other-ms")
						b.ReportMetric(total.Seconds()*1e3, "step-ms")
						seconds := best["attention"].Seconds()
						b.ReportMetric(attentionBusy.Seconds()/seconds/benchThreads*100, "%attention-busy")
						seen := float64(c.rows) * (float64(c.position) + float64(c.rows+1)/2)
						if c.rows > 1 {
							rate := 4 * seen * benchHeads * benchHeadDim * benchLayers / seconds
							b.ReportMetric(rate/1e9, "GFLOP/s")
							b.ReportMetric(rate/multiply*100, "%multiply")
							return
						}
						rate := seen * float64(r.Memory().KV) / float64(r.Pages()*pageSize) / seconds
						b.ReportMetric(rate/1e9, "GB/s")
						b.ReportMetric(rate/read*100, "%read")
					})
				}
			})
		}
	}
}

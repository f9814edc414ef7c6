package shadow

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"minisgl/device"
)

// DefaultQueue is how many steps the shadow device may be behind before steps are passed over.
const DefaultQueue = 8

// MirrorOptions of a Mirror.
type MirrorOptions struct {
	Primary, Second string // names of the devices in records
	MaxRows         int    // rows of a step that the second runner takes
	MaxSlots        int
	Queue           int // 0: DefaultQueue
}

// A Mirror is the primary runner to those who use it. When the primary has run a step, the step is handed to a second runner with the
// tokens that the primary sampled, and a goroutine compares what that one would have sampled. The primary never waits: if the queue is
// full, the step is passed over, and the second runner catches up in a later one.
//
// The sampling parameters of a request must stay as they are until Close.
type Mirror struct {
	device.Runner
	options  MirrorOptions
	shadow   *Shadow
	second   device.Runner
	composer *composer
	steps    uint64 // that the primary has run
	epoch    int64  // of composer

	jobs    chan *job
	done    chan struct{}
	trusted atomic.Int64 // the epoch in which the second runner is; an error begins a new one, in which it starts from nothing
	lost    atomic.Bool  // nothing is followed any more
}

// Beside returns a Mirror of a primary runner and the second one, which must have as many pages. Close closes both.
func (s *Shadow) Beside(primary, second device.Runner, o MirrorOptions) *Mirror {
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	m := &Mirror{Runner: primary, options: o, shadow: s, second: second, jobs: make(chan *job, o.Queue), done: make(chan struct{}),
		composer: newComposer(newTable(primary.Pages(), s.options.PageSize, o.MaxSlots), o.MaxRows)}
	go m.work()
	return m
}

// Wait waits for the primary, and lets the second runner follow.
func (m *Mirror) Wait(s *device.Step) error {
	err := m.Runner.Wait(s)
	if fault := guard(func() { m.follow(s, err != nil) }); fault != nil && !m.lost.Swap(true) {
		m.exception(fault, m.steps, nil)
	}
	return err
}

// Close lets the second runner finish what it has begun, and closes both.
func (m *Mirror) Close() error {
	close(m.jobs)
	<-m.done
	return errors.Join(m.second.Close(), m.Runner.Close())
}

func (m *Mirror) follow(s *device.Step, failed bool) {
	number := m.steps
	m.steps++
	if m.lost.Load() {
		return
	}
	m.composer.store(s, failed)
	if failed { // what it has drawn is read by rows whose KV builds on what is unknown now
		return
	}
	if number%uint64(m.shadow.options.EveryN) == 0 {
		m.enqueue(s, number)
	}
	m.composer.sampled(s)
}

func (m *Mirror) enqueue(s *device.Step, number uint64) {
	if len(m.jobs) == cap(m.jobs) {
		for i := range s.Outputs {
			if compared(&s.Outputs[i]) {
				m.shadow.skipped.Add(1)
			}
		}
		return
	}
	if trusted := m.trusted.Load(); trusted != m.epoch {
		m.epoch = trusted
		m.composer.forget()
	}
	j, skipped := m.composer.compose(s, func(sequence int) []string { return m.shadow.requestOf(s, sequence) })
	m.shadow.skipped.Add(skipped)
	if len(j.step.Sequences) > 0 {
		j.number, j.epoch = number, m.epoch
		m.jobs <- j
	}
}

func (m *Mirror) work() {
	defer close(m.done)
	for j := range m.jobs {
		if m.lost.Load() || j.epoch != m.trusted.Load() {
			m.shadow.skipped.Add(uint64(len(j.answers)))
			continue
		}
		if err := m.run(&j.step); err != nil {
			m.exception(err, j.number, j)
			m.trusted.Add(1)
			continue
		}
		for i := range j.answers {
			m.compare(j, i)
		}
	}
}

// run runs a step on the second runner. A panic there, or a lost device, ends the shadowing.
func (m *Mirror) run(s *device.Step) (err error) {
	fault := guard(func() {
		m.second.Submit(s)
		err = m.second.Wait(s)
	})
	if fault != nil || errors.Is(err, device.ErrLost) {
		m.lost.Store(true)
	}
	return errors.Join(fault, err)
}

func (m *Mirror) compare(j *job, i int) {
	m.shadow.outputs.Add(1)
	want, got := j.answers[i].token, j.step.Results[i].Token
	if got == want {
		return
	}
	r := m.record(j.number)
	r.Kind, r.RequestIDs = "sampled_tokens", j.answers[i].requests
	r.Reason = fmt.Sprintf("value mismatch at idx=%d: %d != %d", j.answers[i].output, want, got)
	if !m.shadow.journal.full() && want != device.NoToken && got != device.NoToken {
		r.Margin = m.margin(j, i, want, got)
	}
	m.shadow.journal.write(r)
}

// margin is by how much likelier the shadow device finds its own token than the primary's, as the difference of their logits before
// penalties and bias. It computes the row again to score both. Nil if that fails.
func (m *Mirror) margin(j *job, i int, primary, second int32) *float64 {
	o := j.step.Outputs[i]
	var sequence device.Sequence
	for _, q := range j.step.Sequences {
		if q.First <= o.Row && o.Row < q.First+q.Rows {
			sequence = q
		}
	}
	plain := device.Greedy()
	plain.Logprobs = 0
	probe := device.Step{Tokens: j.step.Tokens[o.Row : o.Row+1 : o.Row+1],
		Sequences: []device.Sequence{{Slot: o.Slot, Rows: 1, Position: o.Position - 1, Pages: sequence.Pages}}}
	for _, target := range []int32{second, primary} {
		probe.Outputs = append(probe.Outputs, device.Output{Slot: o.Slot, Target: target, Position: o.Position, Params: plain})
	}
	if m.run(&probe) != nil {
		m.trusted.Add(1)
		return nil
	}
	margin := float64(probe.Results[0].Logprob) - float64(probe.Results[1].Logprob)
	if math.IsNaN(margin) || math.IsInf(margin, 0) {
		return nil
	}
	return &margin
}

func (m *Mirror) exception(err error, step uint64, j *job) {
	r := m.record(step)
	r.Kind, r.Reason = "sampled_tokens_exception", err.Error()
	if j != nil {
		for _, a := range j.answers {
			r.RequestIDs = append(r.RequestIDs, a.requests...)
		}
	}
	m.shadow.journal.write(r)
}

func (m *Mirror) record(step uint64) Record {
	return Record{Step: &step, PrimaryBackend: m.options.Primary, ShadowBackend: m.options.Second}
}

package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A Load says when the conversations of a workload begin. The zero value begins all at once.
type Load struct {
	RequestRate float64 `json:"request_rate"` // Poisson arrivals a second; 0: not paced
	Concurrency int     `json:"concurrency"`  // conversations at a time; 0: without bound
}

// A driver sends a workload to a server.
type driver struct {
	client    *Client
	maxTokens int
	rng       *random
	progress  Progress
}

// run sends all conversations and returns what came of each request, in order of sending within a conversation. The error
// is only that of the context: requests that fail are outcomes, too.
func (d *driver) run(ctx context.Context, stage string, all []conversation, load Load) (outcomes []outcome, took time.Duration, err error) {
	total, results := 0, make([][]outcome, len(all))
	for i := range all {
		total += len(all[i].turns)
	}
	var done atomic.Int64
	stop := watch(func(uint64) { d.progress(stage, int(done.Load()), total) }, 0)
	converse := func(i int) { results[i] = d.converse(ctx, all[i], &done) }

	start := time.Now()
	var running sync.WaitGroup
	switch {
	case load.RequestRate > 0:
		var slots chan struct{}
		if load.Concurrency > 0 {
			slots = make(chan struct{}, load.Concurrency)
		}
		for i, at := 0, start; i < len(all) && sleepUntil(ctx, at); i++ {
			running.Go(func() {
				if slots != nil {
					slots <- struct{}{}
					defer func() { <-slots }()
				}
				converse(i)
			})
			at = at.Add(time.Duration(d.rng.exponential(load.RequestRate) * 1e9))
		}
	default:
		workers := len(all)
		if load.Concurrency > 0 {
			workers = min(workers, load.Concurrency)
		}
		var next atomic.Int64
		for range workers {
			running.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(all) && ctx.Err() == nil; i = next.Add(1) - 1 {
					converse(int(i))
				}
			})
		}
	}
	running.Wait()
	took = time.Since(start)
	stop()
	d.progress(stage, int(done.Load()), total)
	for _, r := range results {
		outcomes = append(outcomes, r...)
	}
	return outcomes, took, ctx.Err()
}

// An outcome is an answer, or why there is none.
type outcome struct {
	answer *answer
	err    error
}

// converse sends the turns of a conversation, each after the answer to the one before. The first failure ends it.
func (d *driver) converse(ctx context.Context, c conversation, done *atomic.Int64) (outcomes []outcome) {
	talk := dialogue{conversation: c}
	for turn := range c.turns {
		a, err := d.client.stream(ctx, talk.call(d.client.Endpoint, turn, d.maxTokens))
		done.Add(1)
		outcomes = append(outcomes, outcome{a, err})
		if err != nil {
			if skipped := len(c.turns) - turn - 1; skipped > 0 {
				done.Add(int64(skipped))
				for range skipped {
					outcomes = append(outcomes, outcome{err: errors.New("not sent: the turn before it failed")})
				}
			}
			break
		}
		talk.heard(a)
	}
	return outcomes
}

// sleepUntil reports whether the time came before the context ended.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package simulate

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Load is a run of many messages.
type Load struct {
	Message     func(i int) Message // makes the i-th
	Count       int
	Concurrency int     // requests at once; 1 if 0
	Rate        float64 // messages a second at most; no bound if 0
}

// Report is what came of a Load.
type Report struct {
	Sent     []Sent // that were answered, in no order
	Errors   []error
	Statuses map[int]int // answers by status
	Elapsed  time.Duration

	latencies []time.Duration // sorted
}

// Run sends the messages of a Load until all are sent or ctx ends.
func (s *Simulator) Run(ctx context.Context, l Load) Report {
	limit := rate.Inf
	if l.Rate > 0 {
		limit = rate.Limit(l.Rate)
	}
	limiter := rate.NewLimiter(limit, 1)
	report := Report{Statuses: map[int]int{}}
	start := time.Now()
	var mu sync.Mutex
	var senders sync.WaitGroup
	next := make(chan int)
	for range cmp.Or(l.Concurrency, 1) {
		senders.Go(func() {
			for i := range next {
				began := time.Now()
				sent, err := s.Send(ctx, l.Message(i))
				mu.Lock()
				report.add(sent, err, time.Since(began))
				mu.Unlock()
			}
		})
	}
	for i := range l.Count {
		if limiter.Wait(ctx) != nil {
			break
		}
		next <- i
	}
	close(next)
	senders.Wait()
	report.Elapsed = time.Since(start)
	slices.Sort(report.latencies)
	return report
}

func (r *Report) add(sent Sent, err error, latency time.Duration) {
	if err != nil {
		r.Errors = append(r.Errors, err)
		return
	}
	r.Sent = append(r.Sent, sent)
	r.Statuses[sent.Status]++
	r.latencies = append(r.latencies, latency)
}

// Latency is the q-th quantile, from 0 to 1, of the time until an answer; 0
// without any.
func (r *Report) Latency(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[int(math.Round(q*float64(len(r.latencies)-1)))]
}

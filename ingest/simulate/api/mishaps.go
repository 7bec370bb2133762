package api

import (
	"sync"

	"mmspipe/ingest/simulate/cdn"
)

// Outcome is what comes of one message that a client posts. The zero value is
// accepted, answered, sent and delivered.
type Outcome struct {
	// Refuse is a status, such as 429 (with Retry-After: 1), 500 or 400, that the
	// request is answered with instead of being accepted.
	Refuse int
	// Code is Twilio's error code: of the refusal, 20000 and its status if 0; or of
	// a message that is accepted and then fails.
	Code int
	// Answer is what the client sees of a message that is accepted: ServerError;
	// Silent, which ends when the client hangs up; Reset; or, if empty, 201.
	Answer cdn.Fault
	// Callbacks are the statuses that are called back, in this order. If nil, sent
	// and delivered, or failed, and before these queued with a Messaging Service;
	// none if empty. A message whose media cannot be read fails in the usual order.
	Callbacks []string
}

// cutPage is a page of a list, counted from 0.
type cutPage struct {
	operation Operation
	page      int
}

// Mishaps say what goes wrong with requests of the API, and count them. Its methods may be
// called from many goroutines.
type Mishaps struct {
	mu        sync.Mutex
	script    []Outcome
	throttles map[Operation]int
	cuts      map[cutPage]int
	calls     map[Operation]int
}

func newMishaps() *Mishaps {
	return &Mishaps{throttles: map[Operation]int{}, cuts: map[cutPage]int{}, calls: map[Operation]int{}}
}

// Script says what comes of the next messages that clients post, one each,
// whatever else is wrong with them. Those after are accepted and delivered.
func (f *Mishaps) Script(outcomes ...Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, outcomes...)
}

// outcome takes the outcome of the next message from the script.
func (f *Mishaps) outcome() (o Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.script) > 0 {
		o, f.script = f.script[0], f.script[1:]
	}
	return o
}

// Cut breaks the connection in the middle of the next answer that is this page
// of a list, counted from 0. What is cut twice is broken twice.
func (f *Mishaps) Cut(list Operation, page int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts[cutPage{list, page}]++
}

// cut tells whether this answer is cut, and takes that off the list.
func (f *Mishaps) cut(list Operation, page int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := cutPage{list, page}
	if f.cuts[at] == 0 {
		return false
	}
	f.cuts[at]--
	return true
}

// Throttle answers every n-th request of an operation, counted from the start,
// with 429 and Retry-After: 1; none if n is 0.
func (f *Mishaps) Throttle(o Operation, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.throttles[o] = n
}

// Calls is how often an operation was asked for with the right credentials,
// whatever came of it.
func (f *Mishaps) Calls(o Operation) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[o]
}

// throttled counts a request and tells whether it is one too many.
func (f *Mishaps) throttled(o Operation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[o]++
	n := f.throttles[o]
	return n > 0 && f.calls[o]%n == 0
}

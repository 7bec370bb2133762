package receive_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
)

// TestUnsigned: what is not signed is slowed down and then refused by address, and what
// is signed is taken meanwhile, from the same address too.
func TestUnsigned(t *testing.T) {
	h := ingesttest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	var refused, slowed, other atomic.Int32
	forge := func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Webhook, bytes.NewReader(make([]byte, 200<<10)))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("X-Twilio-Signature", "forged")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		if err != nil { // cut off when the body was not wanted, or by the test's end
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		switch response.StatusCode {
		case http.StatusForbidden:
			refused.Add(1)
		case http.StatusTooManyRequests:
			slowed.Add(1)
		default:
			other.Add(1)
		}
	}
	var forgers sync.WaitGroup
	for range 20 {
		forgers.Go(func() {
			for ctx.Err() == nil {
				forge()
			}
		})
	}
	h.Eventually("forgers are slowed down", func() bool { return slowed.Load() > 0 })
	for range 100 {
		h.Send(simulate.Message{Body: "signed"}) // fails unless it is answered 200
	}
	stop()
	forgers.Wait()
	if refused.Load() == 0 || other.Load() > 0 {
		t.Errorf("%d forged webhooks answered 403, %d 429, %d otherwise", refused.Load(), slowed.Load(), other.Load())
	}
}

package outbound_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// callbacks are the statuses that the provider calls back, each after the answer to the
// one before.
var callbacks = []string{"queued", "sending", "sent", "delivered", "read"}

// TestOrder: sixteen workers tell the statuses of forty messages in the order in which
// their callbacks came: in the feed, at the application, and in the record. The bucket
// and the application are slower at some times than at others.
func TestOrder(t *testing.T) {
	const messages = 40
	h := ingesttest.New(t)
	told := &teller{statuses: map[string][]string{}}
	application := httptest.NewServer(told)
	t.Cleanup(application.Close)
	h.Permit(application.URL)
	h.Setup.Relay, h.Setup.PublicURL = true, h.URL(h.Webhook).JoinPath("/../..")
	outcomes := make([]simulate.Outcome, messages)
	for i := range outcomes {
		outcomes[i].Callbacks = callbacks
	}
	h.Twilio.Script(outcomes...)
	r := h.Rooms(uneven{storetest.OpenDir(t)})
	h.Run(r)

	var sids []store.MessageSID
	for range messages {
		sid := store.NewMessageSID(false)
		sids = append(sids, sid)
		form := url.Values{"AccountSid": {ingesttest.AccountSID}, "To": {"+15558675310"}, "From": {"+15005550006"}, "Body": {"hello"}, "StatusCallback": {application.URL}}
		h.Queue(stream.NewOutbound(store.NewOutgoing(h.Account, sid, form, time.Now())))
	}
	h.Eventually("every status is told", func() bool { return told.count() == messages*len(callbacks) && h.Queued() == 0 })
	for _, sid := range sids {
		if got := told.of(sid.String()); !slices.Equal(got, callbacks) {
			t.Errorf("the application was told %v of %s", got, sid)
		}
		var announced []string
		for _, e := range h.Events(sid.String()) {
			var data struct{ MessageStatus string }
			if e.Type == stream.EventStatus && json.Unmarshal(e.Data, &data) == nil {
				announced = append(announced, data.MessageStatus)
			}
		}
		if !slices.Equal(announced, callbacks) {
			t.Errorf("the feed has %v of %s", announced, sid)
		}
		if m, err := r.Store.Message(t.Context(), h.Account, sid); err != nil || m.Status != "read" {
			t.Errorf("%s is %s, %v", sid, m.Status, err)
		}
	}
}

// teller is an application that notes what it is told.
type teller struct {
	mu       sync.Mutex
	statuses map[string][]string // by message
	total    int
}

func (a *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	linger()
	a.mu.Lock()
	defer a.mu.Unlock()
	sid := r.PostForm.Get("MessageSid")
	a.statuses[sid] = append(a.statuses[sid], r.PostForm.Get("MessageStatus"))
	a.total++
	fmt.Fprint(w, "ok")
}

func (a *teller) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

func (a *teller) of(sid string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.statuses[sid])
}

// linger takes up to 20 ms, mostly none.
func linger() {
	if rand.IntN(4) == 0 {
		<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
}

// uneven is a bucket that is slow at times.
type uneven struct{ store.Bucket }

func (u uneven) Put(ctx context.Context, key string, r io.Reader, size int64, cond store.Condition) (store.Object, error) {
	linger()
	return u.Bucket.Put(ctx, key, r, size, cond)
}

func (u uneven) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, store.Object, error) {
	linger()
	return u.Bucket.Get(ctx, key, offset, length)
}

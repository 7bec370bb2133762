package operate_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/stream"
)

// TestReconcile: of 2,000 messages upstream over several pages some are missing
// here, some gone there, with 429 in between and pages that are cut off. It is
// stopped in the middle and goes on, is begun again from the beginning, and what is
// missing is exactly what is queued.
func TestReconcile(t *testing.T) {
	h, b := ingesttest.New(t), dir(t)
	want, goneMedia := history(h, b)
	c := h.Rooms(b).Operations.Reconciler
	h.Twilio.Throttle(simulate.ListMessage, 7)
	h.Twilio.Throttle(simulate.ListMedia, 30)
	h.Twilio.Cut(simulate.ListMessage, 2)

	dry, err := c.Reconcile(t.Context(), operate.ReconcileOptions{}, nil)
	if err != nil || h.Queued() != 0 || dry.Queued != 0 {
		t.Fatalf("without Fix: %d jobs, %v", h.Queued(), err)
	}
	if dry.Pages != 10 || dry.Messages != 1000 || dry.GoneMedia != goneMedia || dry.Missing != len(want) || !maps.Equal(whys(dry.List), want) {
		t.Errorf("%+v, want %d missing and %d gone, got whys equal %v", dry.Progress, len(want), goneMedia, maps.Equal(whys(dry.List), want))
	}

	// Stopped after the fourth page.
	ctx, cancel := context.WithCancel(t.Context())
	first, err := c.Reconcile(ctx, operate.ReconcileOptions{Fix: true}, func(p operate.Progress) {
		if p.Pages == 4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || first.Queued == 0 || first.Queued == len(want) {
		t.Fatalf("stopped: %d queued, %v", first.Queued, err)
	}
	second, err := c.Reconcile(t.Context(), operate.ReconcileOptions{Account: first.Account, Until: first.Position, Fix: true}, nil)
	if err != nil || second.Pages > 7 || first.Queued+second.Queued != len(want) {
		t.Errorf("continued: %d queued before and %d on %d pages, want %d, %v", first.Queued, second.Queued, second.Pages, len(want), err)
	}
	again, err := c.Reconcile(t.Context(), operate.ReconcileOptions{Fix: true}, nil)
	if err != nil || again.Queued != 0 || again.AlreadyQueued != len(want) || h.Queued() != uint64(len(want)) {
		t.Errorf("again: %d queued, %d before, %d jobs, %v", again.Queued, again.AlreadyQueued, h.Queued(), err)
	}

	h.Twilio.Throttle(simulate.ListMessage, 0)
	h.Twilio.Throttle(simulate.ListMedia, 0)
	h.WorkAll(h.Rooms(b))
	after, err := c.Reconcile(t.Context(), operate.ReconcileOptions{}, nil)
	if err != nil || len(after.List) != 0 || after.GoneMedia != goneMedia {
		t.Errorf("after the jobs: %+v, %v", after, err)
	}
}

// history makes 2,000 messages, every second of them with media, and keeps most of
// them. It returns why which are missing, and how many media are gone.
func history(h *ingesttest.House, b store.Bucket) (missing map[string]string, gone int) {
	t, s := h.TB, h.Rooms(b).Store
	start := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	missing = map[string]string{}
	var keeping sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range 2000 {
		at := start.Add(time.Duration(i) * time.Second)
		if i%2 == 0 {
			h.Twilio.Host(simulate.Message{Body: "text"}, at)
			continue
		}
		sent := h.Twilio.Host(simulate.Message{Outbound: i%4 == 1, Media: []simulate.Media{ingesttest.Card, ingesttest.Card}}, at)
		sent.Form.Set("NumMedia", "2")
		n, message := 2, sent.MessageSID
		for j, address := range sent.MediaURLs { // the form of an outbound message has none
			sent.Form.Set("MediaUrl"+string(rune('0'+j)), address)
		}
		var then func(store.Message) error
		switch i % 200 {
		case 11: // its webhook never came
			missing[message], n = operate.NoRecord, -1
		case 13: // nor did that of one that is gone upstream, too
			deleteUpstream(h, sent.MediaURLs...)
			gone, n = gone+2, -1
		case 15: // one medium is missing
			missing[message], n = operate.MediaMissing, 1
		case 17: // one has failed
			missing[message], n = operate.MediaFailed, 1
			then = func(m store.Message) error {
				_, err := s.UpdateMessage(t.Context(), h.Account, m.SID, func(m *store.Message) error {
					m.Failures = map[store.MediaSID]store.Failure{ingesttest.IDs(t, sent, 1).Media: {Index: 1, Reason: "status", Job: 1 << 40}}
					return nil
				})
				return err
			}
		case 19: // one is gone here and there
			deleteUpstream(h, sent.MediaURLs[1])
			gone, n = gone+1, 1
		case 21: // both are gone there, and kept here
			deleteUpstream(h, sent.MediaURLs...)
		case 23: // deleted here
			then = func(m store.Message) error {
				_, err := s.DeleteMessage(t.Context(), h.Account, m.SID, time.Now())
				return err
			}
			n = 0
		case 25: // one medium is deleted here
			then = func(m store.Message) error {
				_, err := s.UpdateMedia(t.Context(), ingesttest.IDs(t, sent, 0), func(m *store.Media) error {
					m.Deleted = time.Now()
					return nil
				})
				return err
			}
		}
		if n < 0 {
			continue
		}
		keeping.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			m, err := keep(h, s, sent, at, n)
			if err == nil && then != nil {
				err = then(m)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	keeping.Wait()
	return missing, gone
}

// deleteUpstream deletes media there, as somebody else does.
func deleteUpstream(h *ingesttest.House, addresses ...string) {
	h.Helper()
	for _, address := range addresses {
		r, err := http.NewRequestWithContext(h.Context(), http.MethodDelete, address+".json", nil)
		if err != nil {
			h.Fatal(err)
		}
		r.SetBasicAuth(ingesttest.AccountSID, ingesttest.Token)
		response, err := http.DefaultClient.Do(r)
		if err != nil || response.StatusCode != http.StatusNoContent {
			h.Fatalf("delete: %v, %v", response, err)
		}
		response.Body.Close()
	}
}

// whys are the reasons by message.
func whys(list []operate.Missing) map[string]string {
	all := map[string]string{}
	for _, m := range list {
		all[m.Message.String()] = m.Why
	}
	return all
}

// TestReconcileQueue: the Jobs that are queued are replays of those messages, and
// one that has failed again since is queued again.
func TestReconcileQueue(t *testing.T) {
	h, b := ingesttest.New(t), dir(t)
	c := h.Rooms(b).Operations.Reconciler
	at := time.Now().Add(-time.Hour)
	sent := h.Twilio.Host(simulate.Message{Media: []simulate.Media{ingesttest.Card}}, at)
	m, err := keep(h, c.Store, sent, at, 0)
	if err != nil {
		t.Fatal(err)
	}
	for job := range uint64(3) {
		r, err := c.Reconcile(t.Context(), operate.ReconcileOptions{Account: h.Account, Since: at.Add(-time.Second), Fix: true}, nil)
		if err != nil || r.Queued != 1 || r.MissingMedia != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		d, err := h.Streams.Next(t.Context())
		if err != nil || d.Kind != stream.Replay || d.Message != m.SID || !d.AsksUpstream() {
			t.Fatalf("job %+v, %v", d, err)
		}
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = c.Store.UpdateMessage(t.Context(), h.Account, m.SID, func(m *store.Message) error {
			m.Failures = map[store.MediaSID]store.Failure{ingesttest.IDs(t, sent, 0).Media: {Job: job + 1}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	later, err := c.Reconcile(t.Context(), operate.ReconcileOptions{Since: at.Add(time.Minute)}, nil)
	if err != nil || later.Messages != 0 {
		t.Errorf("outside of the time: %+v, %v", later, err)
	}
	c.API = nil
	if _, err := c.Reconcile(t.Context(), operate.ReconcileOptions{}, nil); err == nil {
		t.Error("no error without an API")
	}
}

package operate_test

import (
	"bytes"
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/upstream"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	token      = "0123456789abcdef0123456789abcdef"
	patience   = 3 * time.Minute
)

var (
	account = sid(store.ParseAccountSID(accountSID))
	secret  = []byte("secret")
	card    = simulate.Media{Data: []byte("BEGIN:VCARD\nEND:VCARD\n"), ContentType: "text/vcard"}
)

func sid[T any](s T, err error) T {
	if err != nil {
		panic(err)
	}
	return s
}

// house is what an Operator works in: real streams and a real bucket, a simulated
// Twilio outside.
type house struct {
	t       *testing.T
	streams *stream.Streams
	twilio  *simulate.Simulator
	origin  *url.URL
}

func newHouse(t *testing.T) *house {
	t.Helper()
	streams, err := stream.Open(t.Context(), storetest.StartNATS(t), stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	twilio, err := simulate.Start(simulate.Options{Account: accountSID, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twilio.Close() })
	return &house{t, streams, twilio, sid(url.Parse(twilio.Origin()))}
}

// dir is an empty directory bucket.
func dir(t *testing.T) store.Bucket {
	t.Helper()
	b, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (h *house) api() *upstream.Client {
	return upstream.New(h.origin, map[store.AccountSID][]string{account: {token}})
}

func (h *house) operator(b store.Bucket) *operate.Operator {
	return &operate.Operator{
		Store: store.New(b, secret), Streams: h.streams, Accounts: []store.AccountSID{account}, Upstream: h.origin,
		API: h.api(), Log: zerolog.Nop(),
	}
}

// work has workers do all Jobs that are queued.
func (h *house) work(b store.Bucket) {
	h.t.Helper()
	allow := sid(fetch.ParseAllow("127.0.0.0/8:" + sid(url.Parse(h.twilio.CDN())).Port()))
	w := ingest.NewWorker(ingest.Options{
		Store: store.New(b, secret), Streams: h.streams, Accounts: ingest.Accounts{account: {token}},
		Fetcher: fetch.New(fetch.Options{Upstream: h.origin, Allow: allow, Slots: 16}), API: h.api(),
		Fitter: resize.New(resize.Options{}), Profile: sid(resize.ProfileNamed("us")), Upstream: h.origin, Log: zerolog.Nop(),
	})
	ctx, stop := context.WithCancel(h.t.Context())
	var working sync.WaitGroup
	working.Go(func() { w.Run(ctx) })
	defer working.Wait()
	defer stop()
	deadline := time.After(patience)
	for h.queued() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			h.t.Fatalf("%d jobs after %v", h.queued(), patience)
		}
	}
}

// queued is the number of Jobs that are not done.
func (h *house) queued() uint64 {
	h.t.Helper()
	state, err := h.streams.State(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return state.Jobs
}

// keep stores a message of upstream's as if its webhook had come when it was made,
// with the first n of its media.
func (h *house) keep(s *store.Store, sent simulate.Sent, at time.Time, n int) (store.Message, error) {
	ctx := h.t.Context()
	m := store.Message{
		Account: account, SID: sid(store.ParseMessageSID(sent.MessageSID)), Direction: store.Inbound, From: "+1", To: "+2",
		NumMedia: len(sent.MediaSIDs), Form: sent.Form, DateCreated: at, Announced: 1,
	}
	m, _, err := s.CreateMessage(ctx, m)
	for i := 0; i < n && err == nil; i++ {
		record := store.Media{
			Account: account, Message: m.SID, SID: sid(store.ParseMediaSID(sent.MediaSIDs[i])), Index: i,
			ContentType: card.ContentType, DateCreated: at, Announced: 1,
		}
		record.Blob, _, err = s.PutBlob(ctx, account, m.SID, record.SID, store.Original, bytes.NewReader(card.Data), int64(len(card.Data)))
		if err == nil {
			_, _, err = s.CreateMedia(ctx, record)
		}
	}
	return m, err
}

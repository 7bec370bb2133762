package feed_test

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	secret  = []byte("secret")
	account = must(store.ParseAccountSID("AC" + strings.Repeat("1", 32)))
	message = must(store.ParseMessageSID("MM" + strings.Repeat("2", 32)))
	medium  = must(store.ParseMediaSID("ME" + strings.Repeat("3", 32)))
	sent    = must(store.ParseMessageSID("MM" + strings.Repeat("4", 32)))
	date    = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// house is a feed of a store's records, over real streams.
type house struct {
	*testing.T
	*feed.Feed
	store   *store.Store
	bucket  store.Bucket
	streams *stream.Streams
}

func newHouse(t *testing.T) house {
	t.Helper()
	streams, err := stream.Open(t.Context(), storetest.StartNATS(t), stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := storetest.OpenDir(t)
	s := store.New(b, secret)
	return house{t, feed.New(s, streams), s, b, streams}
}

// everything is a message, with a medium, that has every fact there is.
func everything() (store.Message, store.Media) {
	failure := store.Failure{Index: 1, Reason: "status", Detail: "fetch medium 1: answered 410", Status: 410, Attempts: 2, Job: 7, Date: date}
	m := store.Message{
		Account: account, SID: message, Direction: store.OutboundAPI, From: "+14155550095", To: "+15558675310", Body: "the text", NumMedia: 2, Status: "queued",
		Form: url.Values{"MessagingServiceSid": {"MG1"}}, DateCreated: date, DateUpdated: date,
		Failures: map[store.MediaSID]store.Failure{must(store.ParseMediaSID("ME" + strings.Repeat("5", 32))): failure},
		Forwards: map[string]store.Forward{"delivered": {Attempts: 3, Failure: &store.Failure{Reason: store.ReasonForward, Status: 500, Attempts: 3, Job: 8, Date: date}}},
		Outgoing: &store.Outgoing{
			Profile: "us", Upstream: sent,
			Failure: &store.Failure{Reason: store.ReasonUpstream, Detail: "the provider refuses the message with code 21610", Status: 400, Attempts: 1, Job: 9, Date: date},
		},
	}
	medium := store.Media{
		Account: account, Message: message, SID: medium, ContentType: "image/jpeg", Blob: store.Blob{Size: 1000, SHA256: strings.Repeat("a", 64)},
		Width: 40, Height: 30, Attempts: 1, Milliseconds: 5, DateCreated: date, DateUpdated: date, UpstreamDeleted: date,
		Variants: []store.Variant{{Name: "us", ContentType: "image/jpeg", Blob: store.Blob{Size: 500, SHA256: strings.Repeat("b", 64)}, Width: 20, Height: 15, Quality: 90, Scale: 0.5, Lost: []string{"metadata"}, Milliseconds: 2}},
	}
	return m, medium
}

// events are all of the feed.
func (h house) events() []stream.Entry {
	h.Helper()
	entries, err := h.streams.Events(h.Context(), stream.Query{}, 1000)
	if err != nil {
		h.Fatal(err)
	}
	return entries
}

func (h house) types() (types []string) {
	h.Helper()
	for _, e := range h.events() {
		types = append(types, e.Type)
	}
	return types
}

func (h house) create(m store.Message, media ...store.Media) {
	h.Helper()
	if _, _, err := h.store.CreateMessage(h.Context(), m); err != nil {
		h.Fatal(err)
	}
	for _, medium := range media {
		if _, _, err := h.store.CreateMedia(h.Context(), medium); err != nil {
			h.Fatal(err)
		}
	}
}

// announceAll announces all facts of a message and its medium.
func (h house) announceAll(m store.Message, media store.Media, besides ...feed.Fact) (store.Message, store.Media) {
	h.Helper()
	m, err := h.Announce(h.Context(), m, besides...)
	if err != nil {
		h.Fatal(err)
	}
	if media, err = h.AnnounceMedia(h.Context(), media); err != nil {
		h.Fatal(err)
	}
	return m, media
}

// TestFacts: every fact is published as consumers know it, once, and is noted where it
// is found again. What the events say is a golden file.
func TestFacts(t *testing.T) {
	h := newHouse(t)
	m, media := everything()
	h.create(m, media)
	other := store.Message{Account: account, SID: sent}
	m, media = h.announceAll(m, media,
		feed.Status(m, "delivered", "", date), feed.Conflict(m, "fingerprint", date, 1, []string{"From", "Body"}),
		feed.Failed(other, store.Failure{Reason: store.ReasonUpstream, Status: 404, Attempts: 1, Job: 10, Date: date}),
		feed.ForwardFailed(other, "delivered", store.Failure{Reason: store.ReasonForward, Attempts: 1, Job: 11, Date: date}))
	media, err := h.store.UpdateMedia(t.Context(), media.Key(), func(m *store.Media) error { m.Deleted = date; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if media, err = h.AnnounceMedia(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	again, err := h.store.Message(t.Context(), account, message)
	if err != nil {
		t.Fatal(err)
	}
	ready := again
	ready.Outgoing.Failure = nil
	if _, err = h.store.UpdateMessage(t.Context(), account, message, func(m *store.Message) error { m.Outgoing.Failure = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Announce(t.Context(), ready, feed.Ready(ready, date, []feed.Leaving{{MediaSID: medium, ContentType: "image/jpeg", Bytes: 500, URL: "https://mms.example.com/x"}}, true)); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, e := range h.events() {
		lines.Write(append(e.JSON, '\n'))
	}
	if *update {
		if err := os.WriteFile("testdata/events.golden", []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile("testdata/events.golden")
	if err != nil || lines.String() != string(golden) {
		t.Errorf("the feed has\n%s\nwant\n%s%v", lines.String(), golden, err)
	}
	for _, fact := range h.Of(again, []store.Media{media}) {
		if fact.Sequence == 0 {
			t.Errorf("%s %s is not noted", fact.Type, fact.ID)
		}
	}
	count := len(h.events())
	if _, err := h.Announce(t.Context(), m); err != nil || len(h.events()) != count {
		t.Errorf("announced again: %v, %d events, were %d", err, len(h.events()), count)
	}
}

// TestAnnounceDeleted: what is announced of a message just when it is deleted is not in
// the feed afterwards, and its tombstone names it until then.
func TestAnnounceDeleted(t *testing.T) {
	h := newHouse(t)
	m, media := everything()
	m.Outgoing.Failure = nil
	h.create(m, media)
	if _, err := h.store.DeleteMessage(t.Context(), account, message, date); err != nil {
		t.Fatal(err)
	}
	_, err := h.Announce(t.Context(), m, feed.Ready(m, date, nil, false), feed.Status(m, "sent", "", date))
	if !errors.Is(err, store.ErrDeleted) {
		t.Errorf("announce: %v", err)
	}
	if got := h.types(); len(got) != 0 {
		t.Errorf("the feed still has %v", got)
	}
	tombstone, err := h.store.Message(t.Context(), account, message)
	if err != nil || len(tombstone.Events) == 0 {
		t.Errorf("the tombstone names no events: %+v, %v", tombstone, err)
	}
}

// TestClear: a tombstone that names a ready event loses it, and of an erased message
// everything; an event that was published and never noted is found too.
func TestClear(t *testing.T) {
	for _, c := range []struct {
		name        string
		erase, lost bool // lost: the ready event is not noted
		want        []string
	}{
		{"deleted", false, false, []string{stream.EventReceived}},
		{"deleted, not noted", false, true, []string{stream.EventReceived}},
		{"erased", true, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			m := store.Message{Account: account, SID: message, Direction: store.OutboundAPI, From: "+1", To: "+2", DateCreated: date, Outgoing: &store.Outgoing{}, Form: url.Values{}}
			h.create(m)
			ready := feed.Ready(m, date, nil, false)
			m, err := h.Announce(t.Context(), m, ready)
			if err != nil {
				t.Fatal(err)
			}
			if c.lost {
				if m, err = h.store.UpdateMessage(t.Context(), account, message, func(m *store.Message) error { m.Outgoing.Ready = 0; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			tombstone, err := h.store.DeleteMessage(t.Context(), account, message, date)
			if c.erase {
				tombstone, err = h.store.EraseMessage(t.Context(), store.MessageEntry{Message: m}, date)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := h.Clear(t.Context(), tombstone); err != nil {
					t.Fatal(err)
				}
				if got := h.types(); !slices.Equal(got, c.want) {
					t.Errorf("the feed has %v, want %v", got, c.want)
				}
			}
		})
	}
}

// TestSuperseded: a message that was given up meanwhile is not announced as ready.
func TestSuperseded(t *testing.T) {
	h := newHouse(t)
	m, _ := everything()
	h.create(m)
	m, err := h.Announce(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Announce(t.Context(), m, feed.Ready(m, date, nil, false)); !errors.Is(err, feed.ErrSuperseded) {
		t.Errorf("announce: %v", err)
	}
	if slices.Contains(h.types(), stream.EventReady) {
		t.Error("the ready event is in the feed")
	}
}

// TestRestore: whatever is lost of the feed is announced again, in the same words.
func TestRestore(t *testing.T) {
	h := newHouse(t)
	m, media := everything()
	h.create(m, media)
	m, media = h.announceAll(m, media)
	before := map[string]string{}
	for _, e := range h.events() {
		before[e.ID] = e.Type
		if removed, err := h.streams.RemoveEvent(t.Context(), e.Sequence, message); err != nil || !removed {
			t.Fatal(removed, err)
		}
	}
	// The server would know the ids of what was only removed: another server has lost
	// them with the events.
	lost := newHouse(t)
	restored := feed.New(h.store, lost.streams)
	n, err := restored.Restore(t.Context(), m, []store.Media{media})
	if err != nil || n != len(before) {
		t.Errorf("restored %d of %d, %v", n, len(before), err)
	}
	after := map[string]string{}
	for _, e := range lost.events() {
		after[e.ID] = e.Type
	}
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the feed has %v, want %v", after, before)
	}
	stored, err := h.store.Message(t.Context(), account, message)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := restored.Restore(t.Context(), stored, nil); err != nil || n != 0 {
		t.Errorf("restored again: %d, %v", n, err)
	}
}

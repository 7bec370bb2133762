package verify_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/verify"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// damage cuts an object off.
func (s *scene) damage(key string) {
	s.t.Helper()
	kinds["cut"](s.t, s.bucket, key, ingesttest.Objects(s.t, s.bucket)[key])
}

// verifyWithout verifies where there is no provider.
func (s *scene) verifyWithout() verify.Verified {
	s.t.Helper()
	v := s.verifier()
	v.API = nil
	r, err := v.Verify(s.t.Context(), true, func(verify.Verified) {})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// emptyFeed takes all events of the victim from the feed.
func (s *scene) emptyFeed() {
	s.t.Helper()
	for _, e := range s.Events(s.victim.MessageSID) {
		if _, err := s.Streams.RemoveEvent(s.t.Context(), e.Sequence, ingesttest.IDs(s.t, s.victim, 0).Message); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestBare: a message that the provider does not have is recorded as far as the feed, or
// the index alone, tells, and is found by its numbers: an erasure removes it, and what is
// in quarantine of it.
func TestBare(t *testing.T) {
	for name, forget := range map[string]func(*scene){"from the feed": func(*scene) {}, "from the index": (*scene).emptyFeed} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, dirs(t))
			before := s.Message(s.rooms, ingesttest.IDs(t, s.victim, 0).Message)
			s.damage(s.objects()["message"])
			forget(s)
			if r := s.verifyWithout(); r.Quarantined != 1 || r.Left != 0 || r.Damaged != 1 {
				t.Errorf("verify finds %+v", r)
			}
			m := s.Message(s.rooms, before.SID)
			if !m.DateCreated.Equal(before.DateCreated) || m.NumMedia != 1 || m.From != "" || m.FromHash != s.rooms.Store.HashNumber(number) {
				t.Errorf("the record is %+v", m)
			}
			if s.verifyWithout().Damaged != 0 {
				t.Error("it is still damaged")
			}
			storetest.AuditIndex(t, s.bucket, ingesttest.Secret)
			r, err := s.rooms.Operations.Eraser.Erase(t.Context(), store.AccountSID{}, number, false, func(operate.Receipt) {})
			if err != nil || r.Messages != 1 || r.Media != 1 {
				t.Errorf("erased %+v, %v", r, err)
			}
			s.work()
			s.NoTrace(t, s.bucket, number, s.victim.MessageSID)
		})
	}
}

// TestUnreachable: while the provider cannot be asked, a record is left as it is, because
// later it can be made whole.
func TestUnreachable(t *testing.T) {
	s := newScene(t, dirs(t))
	s.damage(s.objects()["message"])
	before := ingesttest.Objects(t, s.bucket)[s.objects()["message"]]
	if err := s.Twilio.Close(); err != nil {
		t.Fatal(err)
	}
	if r := s.verify(true); r.Left != 1 || r.Damaged != 1 {
		t.Errorf("verify finds %+v", r)
	}
	if ingesttest.Objects(t, s.bucket)[s.objects()["message"]] != before {
		t.Error("the record was changed")
	}
}

// TestDeletedStays: the damaged tombstone of what was deleted or erased becomes one again,
// though the provider still has it all.
func TestDeletedStays(t *testing.T) {
	for _, object := range []string{"message", "medium"} {
		for name, remove := range map[string]func(*scene){
			"erased": func(s *scene) {
				if _, err := s.rooms.Operations.Eraser.Erase(s.t.Context(), store.AccountSID{}, number, false, func(operate.Receipt) {}); err != nil {
					s.t.Fatal(err)
				}
			},
			"deleted": func(s *scene) { s.call(http.MethodDelete, "/Messages/"+s.victim.MessageSID+".json") },
			"medium deleted": func(s *scene) {
				s.call(http.MethodDelete, "/Messages/"+s.victim.MessageSID+"/Media/"+s.victim.MediaSIDs[0])
			},
			"feed over": func(s *scene) { s.call(http.MethodDelete, "/Messages/"+s.victim.MessageSID+".json") },
			"feed over, part": func(s *scene) {
				s.call(http.MethodDelete, "/Messages/"+s.victim.MessageSID+"/Media/"+s.victim.MediaSIDs[0])
			},
		} {
			t.Run(object+", "+name, func(t *testing.T) {
				if part := strings.Contains(name, "medium") || strings.Contains(name, "part"); part && object == "message" {
					return // that one is no tombstone
				}
				s := newScene(t, dirs(t))
				remove(s)
				s.work()
				if strings.Contains(name, "over") {
					s.emptyFeed()
				}
				s.damage(s.objects()[object])
				downloads := s.Twilio.Downloads(s.victim.MediaSIDs[0])
				if r := s.verify(true); r.Damaged == 0 || r.Left != 0 {
					t.Errorf("verify finds %+v", r)
				}
				s.work()
				if s.verify(false).Damaged != 0 {
					t.Error("it is still damaged")
				}
				if s.Twilio.Downloads(s.victim.MediaSIDs[0]) != downloads {
					t.Error("the medium was downloaded again")
				}
				if response := s.call(http.MethodGet, "/Messages/"+s.victim.MessageSID+"/Media/"+s.victim.MediaSIDs[0]); response.Code != http.StatusNotFound {
					t.Errorf("the medium: %d", response.Code)
				}
				if name == "erased" {
					s.NoTrace(t, s.bucket, number)
				}
			})
		}
	}
}

// TestNobodyElse: an original that is damaged and deleted at the provider is moved into
// quarantine, its failure stays, and replay does not lose it.
func TestNobodyElse(t *testing.T) {
	s := newScene(t, dirs(t))
	key := ingesttest.IDs(t, s.victim, 0)
	if r, err := s.rooms.Operations.Copies.Delete(t.Context(), time.Now().Add(time.Hour), false, nil); err != nil || r.Media != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	s.damage(s.objects()["original"])
	damaged := ingesttest.Objects(t, s.bucket)[s.objects()["original"]]
	s.Queue(stream.NewReplay(key.Account, key.Message, "run"))
	s.work()
	if r := s.verify(true); r.Quarantined != 1 || r.Left != 0 {
		t.Errorf("verify finds %+v", r)
	}
	if s.verify(false).Damaged != 0 {
		t.Error("it is still damaged")
	}
	found := false
	for name, data := range ingesttest.Objects(t, s.bucket) {
		found = found || strings.HasPrefix(name, "quarantine/") && strings.HasSuffix(name, "/original") && data == damaged
	}
	if failure := s.Message(s.rooms, key.Message).Failures[key.Media]; !found || failure.Reason != store.ReasonDamaged || failure.Announced == 0 {
		t.Errorf("in quarantine: %v; failure %+v", found, failure)
	}
}

// TestOutgoing: an outgoing message whose record is damaged before it left is never sent,
// by whatever Job; one that left is known again by the provider's SID.
func TestOutgoing(t *testing.T) {
	for _, sent := range []bool{false, true} {
		h := ingesttest.New(t)
		h.Setup.Relay = true
		host := h.Shelf(map[string]ingesttest.File{"/card": {Data: ingesttest.Card.Data, ContentType: ingesttest.Card.ContentType}})
		b := dirs(t)
		s := &scene{House: h, t: t, bucket: b, rooms: h.Rooms(b)}
		form := ingesttest.Form(host.URL + "/card")
		m := store.NewOutgoing(h.Account, store.NewMessageSID(true), form, time.Now().UTC())
		if _, _, err := s.rooms.Store.CreateMessage(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if _, err := s.rooms.Feed.Announce(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		h.Queue(stream.NewOutbound(m))
		var before store.Message
		if sent {
			s.work()
			if before = s.Message(s.rooms, m.SID); before.Outgoing.Upstream.IsZero() {
				t.Fatalf("it was not sent: %+v", before)
			}
			key := "sent/" + ingesttest.AccountSID + "/" + before.Outgoing.Upstream.String()
			s.damage(key)
			if r := s.verify(true); r.Mended != 1 || r.Damaged != 1 {
				t.Errorf("of a damaged claim verify finds %+v", r)
			}
			if owner, err := s.rooms.Store.Claimed(t.Context(), h.Account, before.Outgoing.Upstream); err != nil || owner != m.SID {
				t.Errorf("claimed by %v, %v", owner, err)
			}
		}
		s.damage("message/" + ingesttest.AccountSID + "/" + m.SID.String() + ".json")
		if r := s.verify(true); r.Quarantined != 1 || r.Left != 0 {
			t.Errorf("sent %v: verify finds %+v", sent, r)
		}
		s.work()
		h.Queue(stream.NewSendAgain(h.Account, m.SID, "again"))
		s.work()
		after := s.Message(s.rooms, m.SID)
		posted := len(h.Twilio.Accepted())
		switch {
		case sent && (posted != 1 || after.Outgoing.Upstream != before.Outgoing.Upstream || after.To != before.To || after.Body != before.Body):
			t.Errorf("after it was sent: posted %d times, %+v", posted, after)
		case !sent && (posted != 0 || after.Status != "failed" || after.Outgoing.Failure == nil || after.Outgoing.Failure.Reason != store.ReasonDamaged):
			t.Errorf("before it was sent: posted %d times, %+v", posted, after)
		}
	}
}

// TestRedacted: a text that is taken from a message leaves the quarantine too.
func TestRedacted(t *testing.T) {
	s := newScene(t, dirs(t))
	key := s.objects()["message"]
	put(t, s.bucket, key, []byte(strings.TrimSuffix(ingesttest.Objects(t, s.bucket)[key], "}")))
	s.verify(true)
	if !strings.Contains(strings.Join(slices.Collect(maps.Values(ingesttest.Objects(t, s.bucket))), ""), "private text") {
		t.Fatal("there is nothing to redact")
	}
	if response := s.post("/Messages/"+s.victim.MessageSID+".json", "Body="); response.Code != http.StatusOK {
		t.Fatalf("%d %s", response.Code, response.Body)
	}
	for key, data := range ingesttest.Objects(t, s.bucket) {
		if strings.Contains(data, "private text") {
			t.Errorf("the text is in %s", key)
		}
	}
}

// TestInterrupted: a verification that dies at any call of the bucket, before its effect or
// after, is begun again and mends all; nothing that was damaged is lost, and nothing is told
// twice.
func TestInterrupted(t *testing.T) {
	for at, whole := 1, false; !whole; at++ {
		after := at%2 == 0
		s := newScene(t, dirs(t))
		damaged := map[string]string{}
		for _, object := range []string{"message", "medium"} {
			s.damage(s.objects()[object])
			damaged[s.objects()[object]] = ingesttest.Objects(t, s.bucket)[s.objects()[object]]
		}
		dying := &storetest.Faulty{Bucket: s.bucket, At: at, After: after}
		v := s.verifier()
		r := s.Rooms(dying)
		v.Store, v.Feed = r.Store, r.Feed
		_, err := v.Verify(t.Context(), true, func(verify.Verified) {})
		if whole = dying.Calls() < at; !whole && err == nil {
			t.Errorf("call %d fails, and verify returns no error", at)
		}
		s.verify(true)
		s.work()
		if again := s.verify(false); again.Damaged != 0 {
			t.Errorf("call %d: left are %+v", at, again.List)
		}
		if got := strings.Join(s.EventTypes(s.victim.MessageSID), " "); got != "mms.received mms.stored" {
			t.Errorf("call %d: events %s", at, got)
		}
		objects := ingesttest.Objects(t, s.bucket)
		for key, data := range damaged {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(objects)), func(aside string) bool {
				return strings.HasPrefix(aside, "quarantine/") && strings.HasSuffix(aside, "/"+key) && objects[aside] == data
			}) {
				t.Errorf("call %d: %s is not in quarantine", at, key)
			}
		}
	}
}

// TestVerifyEvents: an event that is lost is told again, as it was.
func TestVerifyEvents(t *testing.T) {
	s := newScene(t, dirs(t))
	lost := s.Events(s.second.MessageSID)[1]
	if _, err := s.Streams.RemoveEvent(t.Context(), lost.Sequence, ingesttest.IDs(t, s.second, 0).Message); err != nil {
		t.Fatal(err)
	}
	if r := s.verify(false); r.Damaged != 1 || r.List[0].What != "events" {
		t.Errorf("verify finds %+v", r)
	}
}

// scrubbing counts which blobs are read of a bucket, and ends a context at one of them.
type scrubbing struct {
	store.Bucket
	reads  map[string]int
	at     int
	cancel context.CancelFunc
}

func (b *scrubbing) Get(ctx context.Context, key string, offset, length int64) (r io.ReadCloser, o store.Object, err error) {
	if _, name, ok := store.ParseMediaKey(key); ok && name != "" {
		b.reads[key]++
		if len(b.reads) == b.at {
			b.cancel()
		}
	}
	return b.Bucket.Get(ctx, key, offset, length)
}

// TestScrub: a scrub reads every blob once a month, goes on where a restart interrupted it,
// leaves the work to one process, and has damage listed, told and made good.
func TestScrub(t *testing.T) {
	s := newScene(t, dirs(t))
	s.damage(s.objects()["original"])
	ctx, cancel := context.WithCancel(t.Context())
	counted := &scrubbing{Bucket: s.bucket, reads: map[string]int{}, at: 4, cancel: cancel}
	over := func(b store.Bucket) *verify.Verifier {
		r := s.Rooms(b)
		return &verify.Verifier{Store: r.Store, Streams: s.Streams, Feed: r.Feed, Log: zerolog.Nop()}
	}
	if err := over(counted).ScrubRound(ctx, "first"); err == nil {
		t.Error("a round that is interrupted is no error")
	}
	if err := over(counted).ScrubRound(t.Context(), "second"); err != nil || len(counted.reads) != 4 {
		t.Errorf("beside another process: %v, %v", counted.reads, err)
	}
	if err := over(counted).ScrubRound(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if err := over(counted).ScrubRound(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	total := 0
	for key, n := range counted.reads {
		if total++; n > 2 {
			t.Errorf("%s is read %d times", key, n)
		}
	}
	if total != 4 {
		t.Errorf("%d blobs are read, want 4: %v", total, counted.reads)
	}
	key := ingesttest.IDs(t, s.victim, 0)
	events := s.Events(s.victim.MessageSID)
	var told struct{ Reason string }
	if err := json.Unmarshal(events[len(events)-1].Data, &told); err != nil || told.Reason != store.ReasonDamaged {
		t.Errorf("the feed tells %s", events[len(events)-1].JSON)
	}
	if failure := s.Message(s.rooms, key.Message).Failures[key.Media]; failure.Reason != store.ReasonDamaged {
		t.Errorf("failure %+v", failure)
	}
	s.work()
	if len(s.Message(s.rooms, key.Message).Failures) != 0 || s.verify(false).Damaged != 0 {
		t.Error("it is not mended")
	}
}

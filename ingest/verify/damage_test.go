package verify_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/operate"
	"mmspipe/ingest/simulate"
	"mmspipe/ingest/verify"
	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/link"
	"mmspipe/store/rest"
	"mmspipe/store/storetest"

	"github.com/rs/zerolog"
)

const (
	number = "+15005550100" // of the message that is damaged
	other  = "+15005550199"
)

// scene is a bucket with two messages, of which one is going to be damaged.
type scene struct {
	*ingesttest.House
	t      *testing.T
	bucket store.Bucket
	rooms  *ingesttest.Rooms
	victim simulate.Sent
	second simulate.Sent
	limit  time.Time // the victim came before it, the second message after it
}

func newScene(t *testing.T, b store.Bucket) *scene {
	t.Helper()
	h := ingesttest.New(t)
	s := &scene{House: h, t: t, bucket: b, rooms: h.Rooms(b)}
	s.victim = h.Send(simulate.Message{From: number, To: other, Body: "the private text", Media: []simulate.Media{ingesttest.JPEG}})
	s.limit = time.Now()
	s.second = h.Send(simulate.Message{From: other, To: other, Media: []simulate.Media{ingesttest.Card}})
	s.work()
	return s
}

// work has all Jobs done.
func (s *scene) work() {
	s.t.Helper()
	for s.Queued() > 0 {
		s.Next(s.rooms)
	}
}

func (s *scene) verifier() *verify.Verifier {
	return &verify.Verifier{
		Store: s.rooms.Store, Streams: s.Streams, Feed: s.rooms.Feed, Accounts: []store.AccountSID{s.Account}, API: s.rooms.API, Log: zerolog.Nop(),
	}
}

func (s *scene) verify(fix bool) verify.Verified {
	s.t.Helper()
	r, err := s.verifier().Verify(s.t.Context(), fix, func(verify.Verified) {})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// call asks the API.
func (s *scene) call(method, path string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.serve(method, path, "")
}

// post posts a form to the API.
func (s *scene) post(path, form string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.serve(http.MethodPost, path, form)
}

func (s *scene) serve(method, path, form string) *httptest.ResponseRecorder {
	s.t.Helper()
	handler := api.New(api.Options{
		Store: s.rooms.Store, Streams: s.Streams, Feed: s.rooms.Feed, Links: link.New(ingesttest.Secret), MediaAuth: "public", Log: zerolog.Nop(),
		Keys: rest.NewKeys(map[string][]string{ingesttest.AccountSID: {ingesttest.Token}}, nil),
	})
	request := httptest.NewRequestWithContext(s.t.Context(), method, "/2010-04-01/Accounts/"+ingesttest.AccountSID+path, strings.NewReader(form))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(ingesttest.AccountSID, ingesttest.Token)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w
}

// put writes an object whatever is there.
func put(t *testing.T, b store.Bucket, key string, data []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), store.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// kinds are the ways in which an object is damaged.
var kinds = map[string]func(t *testing.T, b store.Bucket, key, data string){
	"cut": func(t *testing.T, b store.Bucket, key, data string) {
		put(t, b, key, []byte(data[:min(50, len(data)/2)]))
	},
	"empty": func(t *testing.T, b store.Bucket, key, _ string) { put(t, b, key, nil) },
	"null":  func(t *testing.T, b store.Bucket, key, _ string) { put(t, b, key, []byte("null")) },
	"foreign account": func(t *testing.T, b store.Bucket, key, data string) {
		put(t, b, key, []byte(strings.ReplaceAll(data, ingesttest.AccountSID, "AC"+strings.Repeat("9", 32))+"\n"))
	},
	"foreign SID": func(t *testing.T, b store.Bucket, key, data string) {
		sid := key[strings.LastIndexAny(strings.TrimSuffix(key, ".json"), "/")+1:]
		sid = strings.TrimSuffix(sid, ".json")
		put(t, b, key, []byte(strings.ReplaceAll(data, sid, sid[:2]+strings.Repeat("8", 32))+"\n"))
	},
	"random": func(t *testing.T, b store.Bucket, key, data string) {
		random := bytes.Repeat([]byte{0xa5, 0, 0x13, '{', '"'}, len(data)/5+1)
		put(t, b, key, random[:len(data)])
	},
	"missing": func(t *testing.T, b store.Bucket, key, _ string) {
		t.Helper()
		if err := b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	},
}

// objects are those that are damaged of the victim, by what they are.
func (s *scene) objects() map[string]string {
	key := ingesttest.IDs(s.t, s.victim, 0)
	blobs := s.rooms.Store.BlobKey(key, "")
	return map[string]string{
		"message": "message/" + ingesttest.AccountSID + "/" + s.victim.MessageSID + ".json", "medium": strings.TrimSuffix(blobs, "/") + ".json",
		"original": blobs + store.Original, "us": blobs + "us", "thumb": blobs + "thumb",
	}
}

// sweep damages each object in each way, in a bucket of its own.
func sweep(t *testing.T, open func(t *testing.T) store.Bucket, test func(s *scene, object, kind string)) {
	for _, object := range []string{"message", "medium", "original", "us", "thumb"} {
		for kind, damage := range kinds {
			t.Run(object+", "+kind, func(t *testing.T) {
				s := newScene(t, open(t))
				key := s.objects()[object]
				damage(t, s.bucket, key, ingesttest.Objects(t, s.bucket)[key])
				test(s, object, kind)
			})
		}
	}
}

func dirs(t *testing.T) store.Bucket { return storetest.OpenDir(t) }

// minios opens buckets of a real MinIO.
func minios(t *testing.T) func(t *testing.T) store.Bucket {
	o := storetest.StartMinIO(t)
	n := 0
	return func(t *testing.T) store.Bucket {
		n++
		o.Bucket = "damage-" + strings.Repeat("x", n%40+1) + time.Now().Format("150405")
		b, err := store.OpenMinIO(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// TestGoOn: whatever is damaged of one message, everything goes on for the others: lists,
// replay, reindex, and what looks for failures. Nothing is changed by a look.
func TestGoOn(t *testing.T) {
	sweep(t, dirs, func(s *scene, object, kind string) {
		t, o := s.t, s.rooms.Operations
		response := s.call(http.MethodGet, "/Messages.json")
		if response.Code != http.StatusOK || !strings.Contains(response.Body.String(), s.second.MessageSID) {
			t.Errorf("list of messages: %d %s", response.Code, response.Body)
		}
		if listed := strings.Contains(response.Body.String(), s.victim.MessageSID); listed == (object == "message") {
			t.Errorf("the message is listed: %v", listed)
		}
		response = s.call(http.MethodGet, "/Messages/"+s.victim.MessageSID+"/Media.json")
		want := http.StatusOK
		if object == "message" {
			want = http.StatusBadGateway
			if kind == "missing" {
				want = http.StatusNotFound
			}
		}
		if response.Code != want {
			t.Errorf("list of media: %d %s, want %d", response.Code, response.Body, want)
		}
		before := ingesttest.Objects(t, s.bucket)
		if found := s.verify(false); found.Damaged == 0 || found.Left != found.Damaged {
			t.Errorf("verify finds %+v", found)
		}
		if r, err := o.Indexer.Reindex(t.Context(), true, func(operate.Reindexed) {}); err != nil {
			t.Errorf("reindex: %+v, %v", r, err)
		}
		for f, err := range o.Failures.List(t.Context(), operate.Query{}) {
			t.Errorf("failed: %+v, %v", f, err)
		}
		if !maps.Equal(before, ingesttest.Objects(t, s.bucket)) {
			t.Error("a look has changed something")
		}
		r, err := o.Failures.Replay(t.Context(), operate.Query{}, true, false, t.Name(), func(operate.Replayed) {})
		if err != nil || r.Messages == 0 || object == "message" && kind != "missing" && r.Damaged != 1 {
			t.Errorf("replay: %+v, %v", r, err)
		}
	})
}

// TestErase: an erasure and the retention remove what is damaged too, and leave the rest.
func TestErase(t *testing.T) {
	for name, erase := range map[string]func(s *scene) error{
		"by number": func(s *scene) error {
			_, err := s.rooms.Operations.Eraser.Erase(s.t.Context(), store.AccountSID{}, number, false, func(operate.Receipt) {})
			return err
		},
		"retention": func(s *scene) error {
			_, err := s.rooms.Operations.Eraser.EraseBefore(s.t.Context(), s.Account, s.limit, func(operate.Erased) {})
			return err
		},
		"after verify": func(s *scene) error {
			s.verify(true)
			s.work()
			_, err := s.rooms.Operations.Eraser.Erase(s.t.Context(), store.AccountSID{}, number, false, func(operate.Receipt) {})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			sweep(t, dirs, func(s *scene, object, kind string) {
				if object == "message" && kind == "missing" && name != "after verify" {
					return // nothing says whose message it was, until verify makes its record again
				}
				if err := erase(s); err != nil {
					s.t.Fatal(err)
				}
				s.work()
				for _, err := range s.rooms.Store.Messages(s.t.Context(), store.MessageQuery{Account: s.Account}) {
					if err != nil { // this removes what the index has of a damaged record
						s.t.Error(err)
					}
				}
				for key, data := range ingesttest.Objects(s.t, s.bucket) {
					if strings.Contains(key, s.victim.MessageSID) && !strings.HasPrefix(key, "index/") && (!strings.HasSuffix(key, ".json") || !strings.Contains(data, `"deleted"`)) {
						s.t.Errorf("%s is left: %s", key, data)
					}
					if strings.Contains(key+data, number) || strings.Contains(data, "private text") {
						s.t.Errorf("the number or the text is in %s: %s", key, data)
					}
				}
				if got := s.EventTypes(s.victim.MessageSID); strings.Join(got, " ") != "mms.deleted" {
					s.t.Errorf("events %v", got)
				}
				if len(s.EventTypes(s.second.MessageSID)) != 2 {
					s.t.Error("the other message has lost events")
				}
				if response := s.call(http.MethodGet, "/Messages/"+s.second.MessageSID+".json"); response.Code != http.StatusOK {
					s.t.Errorf("the other message: %d", response.Code)
				}
			})
		})
	}
}

// TestDelete: DELETE removes a message and a medium that are damaged.
func TestDelete(t *testing.T) {
	sweep(t, dirs, func(s *scene, object, kind string) {
		t := s.t
		message := "/Messages/" + s.victim.MessageSID
		medium := message + "/Media/" + s.victim.MediaSIDs[0]
		if object == "medium" && kind != "missing" {
			if response := s.call(http.MethodDelete, medium); response.Code != http.StatusNoContent {
				t.Errorf("DELETE of the medium: %d %s", response.Code, response.Body)
			}
			if response := s.call(http.MethodGet, medium); response.Code != http.StatusNotFound {
				t.Errorf("the deleted medium: %d", response.Code)
			}
		}
		want := http.StatusNoContent
		if object == "message" && kind == "missing" {
			want = http.StatusNotFound
		}
		if response := s.call(http.MethodDelete, message+".json"); response.Code != want {
			t.Fatalf("DELETE of the message: %d %s, want %d", response.Code, response.Body, want)
		}
		if response := s.call(http.MethodGet, message+".json"); response.Code != http.StatusNotFound {
			t.Errorf("the deleted message: %d", response.Code)
		}
		if want != http.StatusNoContent {
			return
		}
		s.work()
		for key := range ingesttest.Objects(t, s.bucket) {
			if strings.Contains(key, s.victim.MessageSID) && !strings.HasSuffix(key, ".json") && !strings.HasPrefix(key, "index/") {
				t.Errorf("%s is left", key)
			}
		}
		if got := strings.Join(s.EventTypes(s.victim.MessageSID), " "); got != "mms.received mms.stored mms.deleted" && object != "medium" {
			t.Errorf("events %s", got)
		}
		if orphans := storetest.Audit(t, s.bucket); len(orphans) > 0 {
			t.Errorf("blobs without a record: %v", orphans)
		}
	})
}

// TestMend: verify makes whatever is damaged as it was, once, as long as somebody else has
// it; the damaged bytes are in quarantine.
func TestMend(t *testing.T) {
	t.Run("directory", func(t *testing.T) { testMend(t, dirs) })
	t.Run("MinIO", func(t *testing.T) { testMend(t, minios(t)) })
}

func testMend(t *testing.T, open func(t *testing.T) store.Bucket) {
	sweep(t, open, func(s *scene, object, kind string) {
		t := s.t
		damaged := ingesttest.Objects(t, s.bucket)[s.objects()[object]]
		events := len(s.EventTypes(s.victim.MessageSID))
		found := s.verify(true)
		if found.Damaged == 0 || found.Left != 0 || found.Quarantined != 0 {
			t.Errorf("verify finds %+v", found)
		}
		s.work()
		if again := s.verify(false); again.Damaged != 0 {
			t.Errorf("afterwards verify finds %+v", again)
		}
		if orphans := storetest.Audit(t, s.bucket); len(orphans) > 0 {
			t.Errorf("blobs without a record: %v", orphans)
		}
		storetest.AuditIndex(t, s.bucket, ingesttest.Secret)
		if blob := object != "message" && object != "medium"; !blob && len(s.EventTypes(s.victim.MessageSID)) != events {
			t.Errorf("events %v", s.EventTypes(s.victim.MessageSID))
		}
		message := "/Messages/" + s.victim.MessageSID
		if response := s.call(http.MethodGet, message+"/Media/"+s.victim.MediaSIDs[0]); !bytes.Equal(response.Body.Bytes(), ingesttest.JPEG.Data) {
			t.Errorf("the medium: %d, %d bytes", response.Code, response.Body.Len())
		}
		var m struct{ From, To, Body, Status string }
		response := s.call(http.MethodGet, message+".json")
		if err := json.Unmarshal(response.Body.Bytes(), &m); err != nil || m.From != number || m.To != other || m.Body != "the private text" || m.Status != "received" {
			t.Errorf("the message: %d %s", response.Code, response.Body)
		}
		aside := 0
		for key, data := range ingesttest.Objects(t, s.bucket) {
			if strings.HasPrefix(key, "quarantine/") && strings.HasSuffix(key, "/"+s.objects()[object]) && data == damaged {
				aside++
			}
		}
		if kept := kind != "missing" && object != "us" && object != "thumb"; kept != (aside == 1) {
			t.Errorf("%d copies are in quarantine", aside)
		}
	})
}

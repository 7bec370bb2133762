package store_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"mmspipe/store"
	"mmspipe/store/storetest"
)

const hex32 = "0123456789abcdef0123456789abcdef"

var (
	account = sid(store.ParseAccountSID("AC" + hex32))
	message = sid(store.ParseMessageSID("MM" + hex32))
	media   = sid(store.ParseMediaSID("ME" + hex32))
)

func sid[T any](s T, err error) T {
	if err != nil {
		panic(err)
	}
	return s
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	return store.New(openDir(t), []byte("secret"))
}

func TestCreateMessage(t *testing.T) {
	s := newStore(t)
	if _, err := s.Message(t.Context(), account, message); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an absent message: %v, want ErrNotFound", err)
	}
	m := store.Message{Account: account, SID: message, Body: "first", DateCreated: time.Unix(1e9, 0).UTC()}
	stored, created, err := s.CreateMessage(t.Context(), m)
	if err != nil || !created || stored.Body != "first" {
		t.Fatalf("create: %+v, %v, %v", stored, created, err)
	}
	m.Body = "second"
	stored, created, err = s.CreateMessage(t.Context(), m)
	if err != nil || created || stored.Body != "first" || !stored.DateCreated.Equal(m.DateCreated) {
		t.Errorf("create again: %+v, %v, %v, want the first one and false", stored, created, err)
	}
}

func TestUpdateMedia(t *testing.T) {
	s := newStore(t)
	change := func(m *store.Media) error { m.Announced++; return nil }
	if _, err := s.UpdateMedia(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, change); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("update an absent record: %v, want ErrNotFound", err)
	}
	if _, _, err := s.CreateMedia(t.Context(), store.Media{Account: account, Message: message, SID: media}); err != nil {
		t.Fatal(err)
	}
	const writers = 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			if _, err := s.UpdateMedia(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, change); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	refusal := errors.New("no")
	_, err := s.UpdateMedia(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, func(m *store.Media) error { m.Announced = 0; return refusal })
	if !errors.Is(err, refusal) {
		t.Errorf("a change that refuses: %v, want its error", err)
	}
	m, err := s.Media(t.Context(), store.MediaKey{Account: account, Message: message, Media: media})
	if err != nil || m.Announced != writers {
		t.Errorf("%d updates counted, %v, want %d", m.Announced, err, writers)
	}
}

// A record that returns to an earlier content must not match the ETag of then,
// on S3 neither, where an ETag is a hash.
func TestEachWriteHasItsRevision(t *testing.T) {
	s := newStore(t)
	m, _, err := s.CreateMessage(t.Context(), store.Message{Account: account, SID: message})
	if err != nil {
		t.Fatal(err)
	}
	same, err := s.UpdateMessage(t.Context(), account, message, func(*store.Message) error { return nil })
	if err != nil || m.Revision == "" || same.Revision == m.Revision {
		t.Errorf("revisions %q and %q, %v, want two", m.Revision, same.Revision, err)
	}
}

func TestListMedia(t *testing.T) {
	s := newStore(t)
	if list, err := s.ListMedia(t.Context(), account, message); err != nil || len(list) != 0 {
		t.Errorf("list of an unknown message: %v, %v", list, err)
	}
	for i := range 4 {
		m := store.Media{Account: account, Message: message, Index: i}
		m.SID = sid(store.ParseMediaSID(fmt.Sprintf("ME%032x", i)))
		if i == 2 {
			m.Deleted = time.Unix(1e9, 0)
		}
		if _, _, err := s.PutBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: m.SID}, store.Original, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.CreateMedia(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.ListMedia(t.Context(), account, message)
	if err != nil || len(list) != 3 || list[0].Index != 0 || list[1].Index != 1 || list[2].Index != 3 {
		t.Errorf("listed %+v, %v, want 0, 1 and 3", list, err)
	}
}

func TestPutBlob(t *testing.T) {
	s := newStore(t)
	put := func(name, content string) (store.Blob, bool, error) {
		r := iotest.OneByteReader(strings.NewReader(content))
		return s.PutBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, name, r, int64(len(content)))
	}
	want := store.Blob{Size: 3, SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"} // FIPS 180-2, "abc"
	if b, adopted, err := put(store.Original, "abc"); err != nil || adopted || b != want {
		t.Errorf("put: %+v, %v, %v, want %+v", b, adopted, err, want)
	}
	if b, adopted, err := put(store.Original, "something else"); err != nil || !adopted || b != want {
		t.Errorf("put again: %+v, %v, %v, want the first blob adopted", b, adopted, err)
	}
	for _, name := range []string{"", "A", "a/b", "..", "a.b", "é", strings.Repeat("a", 65)} {
		if _, _, err := put(name, "abc"); err == nil {
			t.Errorf("a blob was named %q", name)
		}
		if _, _, err := s.OpenBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("open blob %q: %v, want ErrNotFound", name, err)
		}
	}
	for range 2 {
		if err := s.DeleteBlobs(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := s.OpenBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, store.Original); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("open a deleted blob: %v, want ErrNotFound", err)
	}
}

func TestOpenBlob(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	faulty := &storetest.Faulty{Bucket: openDir(t)}
	s := store.New(faulty, nil)
	if _, _, err := s.PutBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, "us", strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	r, size, err := s.OpenBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, "us")
	if err != nil || size != int64(len(content)) {
		t.Fatalf("open: size %d, %v", size, err)
	}
	before := faulty.Calls()
	for range 100 {
		if _, err := r.Seek(-5, io.SeekEnd); err != nil {
			t.Error(err)
		}
	}
	if n := faulty.Calls() - before; n != 0 {
		t.Errorf("100 seeks cost %d calls", n)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("sought to before the start")
	}
	if end, err := io.ReadAll(r); err != nil || string(end) != "56789" {
		t.Errorf("the last five bytes: %q, %v", end, err)
	}
	if n := faulty.Calls() - before; n != 1 {
		t.Errorf("reading the end cost %d calls, want 1", n)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	if err := iotest.TestReader(r, []byte(content)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenBlobServesRanges(t *testing.T) {
	opens := map[string]func(*testing.T) store.Bucket{"dir": openDir}
	if !testing.Short() {
		opens["minio"] = minioOpener(t)
	}
	for name, open := range opens {
		t.Run(name, func(t *testing.T) {
			s := store.New(open(t), nil)
			if _, _, err := s.PutBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, "us", strings.NewReader("0123456789"), 10); err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]string{"": "0123456789", "bytes=2-4": "234", "bytes=-3": "789", "bytes=5-": "56789"} {
				r, _, err := s.OpenBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, "us")
				if err != nil {
					t.Fatal(err)
				}
				request := httptest.NewRequest(http.MethodGet, "/", nil)
				request.Header.Set("Range", header)
				response := httptest.NewRecorder()
				http.ServeContent(response, request, "blob.bin", time.Time{}, r)
				if got := response.Body.String(); got != want {
					t.Errorf("range %q: %q, want %q", header, got, want)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestPing(t *testing.T) {
	faulty := &storetest.Faulty{Bucket: openDir(t)}
	s := store.New(faulty, nil)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	faulty.At = 2
	if err := s.Ping(t.Context()); !errors.Is(err, storetest.ErrFault) {
		t.Errorf("ping of a bucket that fails: %v", err)
	}
}

// TestAdvance: a status only moves up, whatever the order of callbacks.
func TestAdvance(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"", "queued", true},
		{"accepted", "queued", true},
		{"queued", "accepted", false},
		{"queued", "sent", true},
		{"sent", "sending", false},
		{"sent", "sent", false},
		{"sent", "delivered", true},
		{"delivered", "sent", false},
		{"delivered", "undelivered", false},
		{"failed", "delivered", false},
		{"delivered", "read", true},
		{"read", "delivered", false},
		{"sending", "teleported", true},
		{"teleported", "delivered", true},
		{"delivered", "teleported", false},
	} {
		m := store.Message{Status: c.from}
		if got := m.Advance(c.to); got != c.want || got && m.Status != c.to || !got && m.Status != c.from {
			t.Errorf("from %q to %q: %v, %q", c.from, c.to, got, m.Status)
		}
	}
}

package service_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// TestDeleteUpstream: with MMSPIPE_DELETE_UPSTREAM the service deletes, when it
// starts, the provider's copy of a medium that was stored over a day ago, and no
// other.
func TestDeleteUpstream(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded, "--secret="+servicetest.Secret)
	young := p.Send(simulate.Message{Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}})
	p.AwaitMedium(young, 0)
	p.AwaitEvents("mms.stored", 1)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}

	at := time.Now().Add(-25 * time.Hour)
	old := p.Twilio.Host(simulate.Message{Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}}, at)
	bucket := servicetest.OpenDir(t, p.Config.Data)
	s := store.New(bucket, p.Config.Secret)
	account, _ := store.ParseAccountSID(servicetest.Account)
	message, _ := store.ParseMessageSID(old.MessageSID)
	media, _ := store.ParseMediaSID(old.MediaSIDs[0])
	if _, _, err := s.CreateMessage(t.Context(), store.Message{Account: account, SID: message, NumMedia: 1, Form: old.Form, DateCreated: at, Announced: 1}); err != nil {
		t.Fatal(err)
	}
	blob, _, err := s.PutBlob(t.Context(), store.MediaKey{Account: account, Message: message, Media: media}, store.Original, bytes.NewReader([]byte("card")), 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateMedia(t.Context(), store.Media{Account: account, Message: message, SID: media, Blob: blob, DateCreated: at, Announced: 1}); err != nil {
		t.Fatal(err)
	}

	if err := bucket.Close(); err != nil {
		t.Fatal(err)
	}
	p.Config.DeleteUpstream = true
	p.Start()
	events := p.AwaitEvents("mms.upstream-deleted", 1)
	if events[0].Data["mediaSid"] != old.MediaSIDs[0] {
		t.Errorf("event %v", events[0])
	}
	if got := p.Twilio.Deleted(); !slices.Equal(got, old.MediaSIDs) {
		t.Errorf("deleted %v, want %v", got, old.MediaSIDs)
	}
}

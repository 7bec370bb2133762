package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/simulate"
	"mmspipe/store"
)

// TestDeleteUpstream: with MMSPIPE_DELETE_UPSTREAM the service deletes, when it
// starts, the provider's copy of a medium that was stored over a day ago, and no
// other.
func TestDeleteUpstream(t *testing.T) {
	p := startOn(t, backends[0])
	young := p.send(simulate.Message{Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}})
	p.awaitMedium(young, 0)
	p.awaitEvents("mms.stored", 1)
	if status := p.stop(); status != 0 {
		t.Fatalf("exit status %d", status)
	}

	at := time.Now().Add(-25 * time.Hour)
	old := p.twilio.Host(simulate.Message{Media: []simulate.Media{{Data: []byte("card"), ContentType: "text/vcard"}}}, at)
	bucket, err := store.OpenDir(filepath.Join(p.env["MMSPIPE_DATA"], "bucket"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := secretFile(filepath.Join(p.env["MMSPIPE_DATA"], "secret"))
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(bucket, secret)
	account, _ := store.ParseAccountSID(testAccount)
	message, _ := store.ParseMessageSID(old.MessageSID)
	media, _ := store.ParseMediaSID(old.MediaSIDs[0])
	if _, _, err := s.CreateMessage(t.Context(), store.Message{Account: account, SID: message, NumMedia: 1, Form: old.Form, DateCreated: at, Announced: 1}); err != nil {
		t.Fatal(err)
	}
	blob, _, err := s.PutBlob(t.Context(), account, message, media, store.Original, bytes.NewReader([]byte("card")), 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateMedia(t.Context(), store.Media{Account: account, Message: message, SID: media, Blob: blob, DateCreated: at, Announced: 1}); err != nil {
		t.Fatal(err)
	}

	p.env["MMSPIPE_DELETE_UPSTREAM"] = "true"
	p.start()
	events := p.awaitEvents("mms.upstream-deleted", 1)
	if events[0].Data["mediaSid"] != old.MediaSIDs[0] {
		t.Errorf("event %v", events[0])
	}
	if got := p.twilio.Deleted(); !slices.Equal(got, old.MediaSIDs) {
		t.Errorf("deleted %v, want %v", got, old.MediaSIDs)
	}
}

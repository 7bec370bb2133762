package operate_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/simulate"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

func dir(t *testing.T) store.Bucket { return storetest.OpenDir(t) }

// sid is a SID that was parsed, and is known to be one.
func sid[T any](s T, err error) T {
	if err != nil {
		panic(err)
	}
	return s
}

// keep stores a message of upstream's as if its webhook had come when it was made,
// with the first n of its media.
func keep(h *ingesttest.House, s *store.Store, sent simulate.Sent, at time.Time, n int) (store.Message, error) {
	ctx := h.Context()
	m := store.Message{
		Account: h.Account, SID: sid(store.ParseMessageSID(sent.MessageSID)), Direction: store.Inbound, From: "+1", To: "+2",
		NumMedia: len(sent.MediaSIDs), Form: sent.Form, DateCreated: at, Announced: 1,
	}
	m, _, err := s.CreateMessage(ctx, m)
	for i := 0; i < n && err == nil; i++ {
		key, data := ingesttest.IDs(h, sent, i), ingesttest.Card.Data
		record := store.Media{
			Account: key.Account, Message: key.Message, SID: key.Media, Index: i,
			ContentType: ingesttest.Card.ContentType, DateCreated: at, Announced: 1,
		}
		record.Blob, _, err = s.PutBlob(ctx, key, store.Original, bytes.NewReader(data), int64(len(data)))
		if err == nil {
			_, _, err = s.CreateMedia(ctx, record)
		}
	}
	return m, err
}

// kept hosts a message with media upstream and keeps it here.
func kept(h *ingesttest.House, b store.Bucket, at time.Time, media int) (simulate.Sent, store.Message) {
	h.Helper()
	sent := h.Twilio.Host(simulate.Message{Media: slices.Repeat([]simulate.Media{ingesttest.Card}, media)}, at)
	m, err := keep(h, h.Rooms(b).Store, sent, at, media)
	if err != nil {
		h.Fatal(err)
	}
	return sent, m
}

// eventsOf counts the events of a type.
func eventsOf(h *ingesttest.House, kind string) int {
	h.Helper()
	entries, err := h.Streams.Events(h.Context(), stream.Query{Types: []string{kind}}, 10_000)
	if err != nil {
		h.Fatal(err)
	}
	return len(entries)
}

package storetest

import (
	"context"
	"testing"
	"time"

	"mmspipe/store"
)

// AuditIndex reads all Message records in b and fails t where a visible one is
// not found by its time, its numbers or, with failures, among those with
// failures. It returns how many entries of the index lead to no message; a
// writer that was stopped leaves some. The secret is that of the Stores that
// wrote. It may be called from t.Cleanup, when t's own context has ended.
func AuditIndex(t testing.TB, b store.Bucket, secret []byte) (stale int) {
	t.Helper()
	ctx := context.Background()
	s := store.New(b, secret)
	entries, err := list(ctx, b, "index/")
	if err != nil {
		t.Errorf("audit index: %v", err)
	}
	records, err := list(ctx, b, "message/")
	if err != nil {
		t.Errorf("audit index: %v", err)
	}
	stale = len(entries)
	for _, o := range records {
		account, message, ok := store.ParseMessageKey(o.Key)
		if !ok {
			t.Errorf("audit index: %s is not the key of a record", o.Key)
			continue
		}
		m, err := s.Message(ctx, account, message)
		if err != nil {
			t.Errorf("audit index: %v", err)
		}
		if err != nil || !m.Deleted.IsZero() {
			continue
		}
		queries := []store.MessageQuery{{}, {From: m.From}, {To: m.To}}
		if len(m.Failures) > 0 {
			queries = append(queries, store.MessageQuery{Failed: true})
		}
		for _, q := range queries {
			q.Account, q.Since, q.Before = account, m.DateCreated, m.DateCreated.Add(time.Nanosecond)
			if finds(t, s, q, message) {
				stale--
			} else {
				t.Errorf("audit index: message %s is not found by %+v", message, q)
			}
		}
	}
	return stale
}

// finds says whether q yields a message.
func finds(t testing.TB, s *store.Store, q store.MessageQuery, message store.MessageSID) bool {
	t.Helper()
	for entry, err := range s.Messages(context.Background(), q) {
		if err != nil {
			t.Errorf("audit index: %v", err)
			return false
		}
		if entry.Message.SID == message {
			return true
		}
	}
	return false
}

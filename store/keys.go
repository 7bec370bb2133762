package store

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"
)

// MessageKeys yields the messages of an account that have a record, be it damaged or a
// tombstone, in the order of their SIDs. An error ends them.
func (s *Store) MessageKeys(ctx context.Context, account AccountSID) iter.Seq2[MessageSID, error] {
	return func(yield func(MessageSID, error) bool) {
		for o, err := range walk(ctx, s.bucket, messageFolder(account), "", maxPage) {
			if err != nil {
				yield(MessageSID{}, err)
				return
			}
			if _, message, ok := ParseMessageKey(o.Key); ok && !yield(message, nil) {
				return
			}
		}
	}
}

// MediaKeys yields all media that have a record, be it damaged or a tombstone, or a blob,
// in the order of their keys: those of one message, or with a zero message those of an
// account, or with zero SIDs all. Only those that come behind after are yielded, unless
// that is zero. An error ends them.
func (s *Store) MediaKeys(ctx context.Context, account AccountSID, message MessageSID, after MediaKey) iter.Seq2[MediaKey, error] {
	prefix, last := mediaRoot, ""
	switch {
	case !message.IsZero():
		prefix = mediaFolder(account, message)
	case !account.IsZero():
		prefix = mediaRoot + account.s + "/"
	}
	if after != (MediaKey{}) {
		last = after.blobs() + "~" // after all names of blobs
	}
	return func(yield func(MediaKey, error) bool) {
		var before MediaKey
		for o, err := range walk(ctx, s.bucket, prefix, last, maxPage) {
			if err != nil {
				yield(MediaKey{}, err)
				return
			}
			medium, _, ok := ParseMediaKey(o.Key)
			if !ok || medium == before {
				continue
			}
			before = medium
			if !yield(medium, nil) {
				return
			}
		}
	}
}

// Trace is what the index tells of a message.
type Trace struct {
	Created          time.Time // zero if it has no entry
	FromHash, ToHash string    // empty where that entry is missing
}

// Traces returns what the index of an account tells of some messages. It lists all of it.
func (s *Store) Traces(ctx context.Context, account AccountSID, messages []MessageSID) (map[MessageSID]Trace, error) {
	traces := map[MessageSID]Trace{}
	for o, err := range walk(ctx, s.bucket, indexFolder(account), "", maxPage) {
		if err != nil {
			return nil, err
		}
		p, ok := parseEntry(o.Key)
		if !ok || !slices.Contains(messages, p.message) {
			continue
		}
		t := traces[p.message]
		t.Created = p.time()
		index, rest, _ := strings.Cut(strings.TrimPrefix(o.Key, indexFolder(account)), "/")
		hash, _, _ := strings.Cut(rest, "/")
		switch index {
		case "from":
			t.FromHash = hash
		case "to":
			t.ToHash = hash
		}
		traces[p.message] = t
	}
	return traces, nil
}

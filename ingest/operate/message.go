package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mmspipe/store"
	"mmspipe/store/feed"
	"mmspipe/store/stream"

	"github.com/rs/zerolog"
)

// Inspector tells what is known of a message, and how the service is doing. It may be
// used from many goroutines.
type Inspector struct {
	Store    *store.Store
	Streams  *stream.Streams
	Feed     *feed.Feed
	Accounts []store.AccountSID
	Log      zerolog.Logger
}

// ErrUnknown says that there is no record of a message.
var ErrUnknown = errors.New("message is not known")

// Known is everything known of one message.
type Known struct {
	Message store.Message     `json:"message"`
	Media   []store.Media     `json:"media"`  // that are stored
	Events  []json.RawMessage `json:"events"` // that the feed still keeps, in its order
}

// Message returns what is known of a message, whichever account it belongs to, or
// [ErrUnknown]. The text, the numbers, the webhook's form and links to media are left
// out, of the record and of its events, unless private is set.
func (i *Inspector) Message(ctx context.Context, sid store.MessageSID, private bool) (Known, error) {
	for _, account := range i.Accounts {
		m, err := i.Store.Message(ctx, account, sid)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if errors.Is(err, store.ErrDamaged) {
			return Known{}, fmt.Errorf("%w; mmspipe verify --fix mends it or puts it aside", err)
		}
		if err != nil {
			return Known{}, err
		}
		return i.known(ctx, m, private)
	}
	return Known{}, ErrUnknown
}

func (i *Inspector) known(ctx context.Context, m store.Message, private bool) (Known, error) {
	media, err := i.Store.ListMedia(ctx, m.Account, m.SID)
	if errors.Is(err, store.ErrDamaged) {
		logDamage(i.Log, err, "medium is left out of what is known of its message")
	} else if err != nil {
		return Known{}, err
	}
	k := Known{Message: m, Media: media, Events: []json.RawMessage{}}
	for _, sequence := range sequences(i.Feed, m, media) {
		entry, err := i.Streams.Event(ctx, sequence)
		if errors.Is(err, stream.ErrNotKept) {
			continue
		}
		if err != nil {
			return Known{}, err
		}
		if !private {
			if entry.JSON, err = withoutPrivate(entry); err != nil {
				return Known{}, err
			}
		}
		k.Events = append(k.Events, entry.JSON)
	}
	if !private && k.Message.Unreadable != nil {
		k.Message.Unreadable.Data = ""
	}
	if !private {
		k.Message.From, k.Message.To, k.Message.Body, k.Message.Form, k.Message.Fingerprint = "", "", "", nil, ""
		for name, forward := range k.Message.Forwards {
			forward.Form = nil
			k.Message.Forwards[name] = forward
		}
	}
	return k, nil
}

// shownReady is what is shown of the data of an event of type [stream.EventReady], the
// only one that holds a text, numbers and links.
type shownReady struct {
	AccountSID json.RawMessage `json:"accountSid,omitempty"`
	MessageSID json.RawMessage `json:"messageSid,omitempty"`
	Profile    json.RawMessage `json:"profile,omitempty"`
	Relay      json.RawMessage `json:"relay,omitempty"`
	Media      []struct {
		MediaSID    json.RawMessage `json:"mediaSid,omitempty"`
		ContentType json.RawMessage `json:"contentType,omitempty"`
		Bytes       json.RawMessage `json:"bytes,omitempty"`
	} `json:"media,omitempty"`
}

// withoutPrivate is an event without what is private in it.
func withoutPrivate(entry stream.Entry) (json.RawMessage, error) {
	if entry.Type != stream.EventReady {
		return entry.JSON, nil
	}
	var event map[string]json.RawMessage
	var shown shownReady
	err := json.Unmarshal(entry.JSON, &event)
	if err == nil {
		err = json.Unmarshal(event["data"], &shown)
	}
	if err == nil {
		event["data"], err = json.Marshal(shown)
	}
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", entry.Sequence, err)
	}
	return json.Marshal(event)
}

// sequences are those of a message's events, as far as its records know them.
func sequences(f *feed.Feed, m store.Message, media []store.Media) []uint64 {
	var all []uint64
	for _, fact := range f.Of(m, media) {
		all = append(all, fact.Sequence)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(sequence uint64) bool { return sequence == 0 })
}

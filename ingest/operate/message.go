package operate

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// Known is everything known of one message.
type Known struct {
	Message store.Message     `json:"message"`
	Media   []store.Media     `json:"media"`  // that are stored
	Events  []json.RawMessage `json:"events"` // that the feed still keeps, in its order
}

// Message returns what is known of a message, whosever of the accounts' it is, or
// [ErrUnknown]. The text, the numbers and the webhook's form are left out unless
// private is set.
func (o *Operator) Message(ctx context.Context, sid store.MessageSID, private bool) (Known, error) {
	for _, account := range o.Accounts {
		m, err := o.Store.Message(ctx, account, sid)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return Known{}, err
		}
		return o.known(ctx, m, private)
	}
	return Known{}, ErrUnknown
}

func (o *Operator) known(ctx context.Context, m store.Message, private bool) (Known, error) {
	media, err := o.Store.ListMedia(ctx, m.Account, m.SID)
	if err != nil {
		return Known{}, err
	}
	k := Known{Message: m, Media: media, Events: []json.RawMessage{}}
	for _, sequence := range sequences(m, media) {
		entry, err := o.Streams.Event(ctx, sequence)
		if errors.Is(err, stream.ErrNotKept) {
			continue
		}
		if err != nil {
			return Known{}, err
		}
		k.Events = append(k.Events, entry.JSON)
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

// sequences are those of a message's events, as far as its records know them.
func sequences(m store.Message, media []store.Media) []uint64 {
	all := append(m.OtherEvents(), m.Announced)
	for _, medium := range media {
		all = append(all, medium.Announced, medium.Removed)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(sequence uint64) bool { return sequence == 0 })
}

package verify

import (
	"context"
	"maps"
	"slices"
	"strings"

	"mmspipe/store"
)

// repairMessages reports messages without a good record, and makes the records again.
func (a *accountRun) repairMessages(ctx context.Context) error {
	sids := slices.DeleteFunc(a.sorted(), func(sid store.MessageSID) bool { return a.messages[sid].record == nil })
	if len(sids) == 0 {
		return nil
	}
	traces, err := a.Store.Traces(ctx, a.account, sids)
	if err != nil {
		return err
	}
	for _, sid := range sids {
		l := a.messages[sid]
		f := Finding{Message: sid, What: "record", Why: l.record.Error()}
		if a.Fix {
			if f.Done, err = a.repair.message(ctx, sid, l, traces[sid]); err != nil {
				return err
			}
		}
		a.report(f)
	}
	return nil
}

// repairMedia reports media without a good record, and makes the records again.
func (a *accountRun) repairMedia(ctx context.Context) error {
	for _, sid := range a.sorted() {
		l := a.messages[sid]
		for _, medium := range l.media {
			f := Finding{Message: sid, Media: medium.key.Media, What: "record", Why: medium.why.Error()}
			if a.Fix {
				var err error
				if f.Done, err = a.repair.record(ctx, medium.key, l.events); err != nil {
					return err
				}
			}
			a.report(f)
		}
	}
	return nil
}

// repairBlobs reports blobs that are not what the record of their medium says, and has
// them made again.
func (a *accountRun) repairBlobs(ctx context.Context, record store.Media, names []string) error {
	done := ""
	if a.Fix {
		var err error
		if done, err = a.repair.blobs(ctx, record, names); err != nil {
			return err
		}
	}
	for _, name := range names {
		a.report(Finding{Message: record.Message, Media: record.SID, What: name, Why: "it is not what its record says", Done: done})
	}
	return nil
}

// sorted returns the messages that have lost something, ordered by SID.
func (a *accountRun) sorted() []store.MessageSID {
	return slices.SortedFunc(maps.Keys(a.messages), func(a, b store.MessageSID) int { return strings.Compare(a.String(), b.String()) })
}

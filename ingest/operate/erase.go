package operate

import (
	"context"
	"time"

	"mmspipe/ingest"
	"mmspipe/store"
)

// Receipt says what an erasure removed, and of whom without naming the number.
type Receipt struct {
	ingest.Erased
	NumberHash string    `json:"numberHash"` // as in the events that were removed
	Accounts   int       `json:"accounts"`   // that were searched
	DryRun     bool      `json:"dryRun"`     // nothing was removed; media are counted as their webhooks had them
	Finished   time.Time `json:"finished"`
}

// Erase removes all that is kept of one phone number, in one account or in all if
// that is zero: messages, media, their events in the feed, and what still waits in
// the queue. Tombstones of SIDs and dates stay, and mms.deleted events. It costs
// what it finds and the length of the queue. After an error it is to be called
// again.
func (o *Operator) Erase(ctx context.Context, account store.AccountSID, number string, dryRun bool, seen func(Receipt)) (Receipt, error) {
	r := Receipt{NumberHash: o.Store.HashNumber(number), DryRun: dryRun}
	eraser := ingest.Eraser{Store: o.Store, Streams: o.Streams, Upstream: o.Upstream}
	for _, a := range o.Accounts {
		if account != (store.AccountSID{}) && account != a {
			continue
		}
		before := r.Erased
		erased, err := eraser.Number(ctx, a, number, dryRun, func(e ingest.Erased) {
			r.Erased = before.Plus(e)
			seen(r)
		})
		r.Erased = before.Plus(erased)
		r.Accounts++
		if err != nil {
			return r, err
		}
	}
	r.Finished = time.Now().UTC()
	return r, nil
}

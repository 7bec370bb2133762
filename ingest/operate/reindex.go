package operate

import (
	"context"

	"mmspipe/store"
)

// Indexer rebuilds the index of messages. It may be used from many goroutines.
type Indexer struct {
	Store    *store.Store
	Accounts []store.AccountSID
}

// Reindexed is what a rebuild of the index did.
type Reindexed struct {
	Messages int  `json:"messages"`
	Added    int  `json:"added"`             // entries
	Removed  int  `json:"removed"`           // entries
	Damaged  int  `json:"damaged,omitempty"` // records, whose entries were left as they are
	DryRun   bool `json:"dryRun"`            // nothing was changed
}

// Reindex rebuilds the index of each account; see [store.Store.RebuildIndex].
func (i *Indexer) Reindex(ctx context.Context, dryRun bool, seen func(Reindexed)) (Reindexed, error) {
	r := Reindexed{DryRun: dryRun}
	for _, account := range i.Accounts {
		before := r.Messages
		rebuilt, err := i.Store.RebuildIndex(ctx, account, dryRun, func(done int) {
			r.Messages = before + done
			seen(r)
		})
		r.Added, r.Removed, r.Damaged = r.Added+rebuilt.Added, r.Removed+rebuilt.Removed, r.Damaged+rebuilt.Damaged
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

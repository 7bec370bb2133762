package operate

import "context"

// Reindexed is what a rebuild of the index did.
type Reindexed struct {
	Messages int  `json:"messages"`
	Added    int  `json:"added"`   // entries
	Removed  int  `json:"removed"` // entries
	DryRun   bool `json:"dryRun"`  // nothing was changed
}

// Reindex rebuilds the index of each account; see [store.Store.RebuildIndex].
func (o *Operator) Reindex(ctx context.Context, dryRun bool, seen func(Reindexed)) (Reindexed, error) {
	r := Reindexed{DryRun: dryRun}
	for _, account := range o.Accounts {
		before := r.Messages
		added, removed, err := o.Store.RebuildIndex(ctx, account, dryRun, func(done int) {
			r.Messages = before + done
			seen(r)
		})
		r.Added, r.Removed = r.Added+added, r.Removed+removed
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

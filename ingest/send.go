package ingest

import (
	"context"

	"mmspipe/store"
	"mmspipe/store/stream"
)

// send hands a message that is ready to the provider.
func (w *Worker) send(context.Context, *stream.Delivery, store.Message) error { return nil }

// Package operator is the API for people on call, over HTTP on the admin listener,
// and its client, which the commands are made of.
//
// Requests need an operator's key; those that change something need one that may
// write. What takes its time is answered line by line as JSON: progress, as often as
// there is some, and at last a result or an error. A caller that goes away stops the
// work; it may be begun again.
//
// Parameters that are unknown, repeated or not spelled as wanted are answered 400,
// and nothing is done. While the queue, the object store or the provider does not
// answer, the answer is 503 and says which.
package operator

import (
	"time"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/ingest/operate"
)

// The files of a data directory by which the commands find the service that uses it.
const (
	AddressFile = "admin-address" // HOST:PORT of the admin listener, while the service runs
	KeyFile     = "operator-key"  // secret of the generated key

	// KeySID is the user name of the generated key.
	KeySID = "SK00000000000000000000000000000000"
)

// UpstreamGrace is how long the provider's copy of a medium is kept at least, so
// that trouble here can show: as long as a Job is tried.
const UpstreamGrace = 24 * time.Hour

// Status is how the service is doing.
type Status struct {
	operate.Status
	Process
}

// Process is how the process that answers is doing.
type Process struct {
	Workers    int               `json:"workers"` // messages that it works on at once
	FreeDisk   int64             `json:"freeDiskBytes"`
	Durability health.Durability `json:"durability"`
}

// line is one of an answer that takes its time.
type line[R any] struct {
	Progress *R     `json:"progress,omitempty"`
	Result   *R     `json:"result,omitempty"`
	Error    string `json:"error,omitempty"`
}

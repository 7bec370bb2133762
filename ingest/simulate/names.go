package simulate

import (
	"mmspipe/ingest/simulate/api"
	"mmspipe/ingest/simulate/cdn"
)

// Callers need this package alone: what they say to the API and to the CDN has its name
// here too.

// Message is [api.Message].
type Message = api.Message

// Media is [api.Media].
type Media = api.Media

// Number is [api.Number].
type Number = api.Number

// Outcome is [api.Outcome].
type Outcome = api.Outcome

// Accepted is [api.Accepted].
type Accepted = api.Accepted

// Fetched is [api.Fetched].
type Fetched = api.Fetched

// Operation is [api.Operation].
type Operation = api.Operation

// Fault is [cdn.Fault].
type Fault = cdn.Fault

// The operations of the API; see [api.Operation].
const (
	FetchAccount            = api.FetchAccount
	ListIncomingPhoneNumber = api.ListIncomingPhoneNumber
	FetchBalance            = api.FetchBalance
	CreateMessageFeedback   = api.CreateMessageFeedback
	CreateMessage           = api.CreateMessage
	ListMessage             = api.ListMessage
	FetchMessage            = api.FetchMessage
	DeleteMessage           = api.DeleteMessage
	ListMedia               = api.ListMedia
	FetchMedia              = api.FetchMedia
	DeleteMedia             = api.DeleteMedia
	FetchContent            = api.FetchContent
)

// The faults of requests for media; see [cdn.Fault].
const (
	NotFound     = cdn.NotFound
	Unauthorized = cdn.Unauthorized
	Gone         = cdn.Gone
	TooMany      = cdn.TooMany
	ServerError  = cdn.ServerError
	Unavailable  = cdn.Unavailable

	Forbidden    = cdn.Forbidden
	RedirectLoop = cdn.RedirectLoop
	Reset        = cdn.Reset
	Stall        = cdn.Stall
	Silent       = cdn.Silent
	Drip         = cdn.Drip
	Truncate     = cdn.Truncate
	WrongType    = cdn.WrongType
	Endless      = cdn.Endless
)

// RedirectTo is a fault of the API: the redirect leads to target.
func RedirectTo(target string) Fault { return cdn.RedirectTo(target) }

// ParseFault reads a fault by its name. The error lists the names.
func ParseFault(name string) (Fault, error) { return cdn.ParseFault(name) }

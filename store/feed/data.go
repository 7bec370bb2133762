package feed

import "mmspipe/store"

// The data of events. Keys are in Twilio's camelCase, so that a consumer can
// join them with Twilio's own by accountSid, messageSid and mediaSid. No event
// holds a message's text, and numbers are hashed, but for mms.ready: whoever sends the
// message needs them.

type receivedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	Direction  store.Direction  `json:"direction"`
	FromHash   string           `json:"fromHash"`
	ToHash     string           `json:"toHash"`
	NumMedia   int              `json:"numMedia"`
}

type storedData struct {
	AccountSID   store.AccountSID `json:"accountSid"`
	MessageSID   store.MessageSID `json:"messageSid"`
	MediaSID     store.MediaSID   `json:"mediaSid"`
	Index        int              `json:"index"`
	ContentType  string           `json:"contentType"`
	Bytes        int64            `json:"bytes"`
	SHA256       string           `json:"sha256"`
	Width        int              `json:"width,omitempty"`
	Height       int              `json:"height,omitempty"`
	Variants     []variantData    `json:"variants"`
	Note         string           `json:"note,omitempty"`
	Attempts     int              `json:"attempts"`
	Milliseconds int64            `json:"milliseconds"`
}

type variantData struct {
	Name         string   `json:"name"`
	ContentType  string   `json:"contentType"`
	Bytes        int64    `json:"bytes"`
	SHA256       string   `json:"sha256"`
	Width        int      `json:"width"`
	Height       int      `json:"height"`
	Quality      int      `json:"quality,omitempty"`
	Scale        float64  `json:"scale"`
	PassThrough  bool     `json:"passThrough"`
	Lost         []string `json:"lost,omitempty"`
	Milliseconds int64    `json:"milliseconds"`
}

type failedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	MediaSID   *store.MediaSID  `json:"mediaSid,omitempty"` // absent when the message itself failed
	Index      int              `json:"index"`
	Reason     string           `json:"reason"`
	Detail     string           `json:"detail,omitempty"`
	Status     int              `json:"status,omitempty"`
	Attempts   int              `json:"attempts"`
}

type statusData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	Status     string           `json:"messageStatus"`
	ErrorCode  string           `json:"errorCode,omitempty"`
}

// readyData is what a sender of the message needs.
type readyData struct {
	AccountSID          store.AccountSID `json:"accountSid"`
	MessageSID          store.MessageSID `json:"messageSid"`
	To                  string           `json:"to"`
	From                string           `json:"from,omitempty"`
	MessagingServiceSID string           `json:"messagingServiceSid,omitempty"`
	Body                string           `json:"body"`
	Profile             string           `json:"profile,omitempty"` // absent without media
	Media               []Leaving        `json:"media"`
	Relay               bool             `json:"relay"` // mmspipe sends it itself
}

// sentData is of a message that the provider has.
type sentData struct {
	AccountSID  store.AccountSID `json:"accountSid"`
	MessageSID  store.MessageSID `json:"messageSid"`
	UpstreamSID store.MessageSID `json:"upstreamSid"`
	FromHash    string           `json:"fromHash"`
	ToHash      string           `json:"toHash"`
	NumMedia    int              `json:"numMedia"`
}

type deletedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	MediaSID   store.MediaSID   `json:"mediaSid,omitzero"`
}

type upstreamDeletedData struct {
	AccountSID store.AccountSID `json:"accountSid"`
	MessageSID store.MessageSID `json:"messageSid"`
	MediaSID   store.MediaSID   `json:"mediaSid"`
	Bytes      int64            `json:"bytes"`
	SHA256     string           `json:"sha256"` // of the original that is kept here
}

func failedOf(m store.Message, f store.Failure) failedData {
	return failedData{
		AccountSID: m.Account, MessageSID: m.SID, Index: f.Index,
		Reason: f.Reason, Detail: f.Detail, Status: f.Status, Attempts: f.Attempts,
	}
}

func storedOf(m store.Media) storedData {
	data := storedData{
		AccountSID: m.Account, MessageSID: m.Message, MediaSID: m.SID, Index: m.Index,
		ContentType: m.ContentType, Bytes: m.Size, SHA256: m.SHA256, Width: m.Width, Height: m.Height,
		Variants: []variantData{}, Note: m.Note, Attempts: m.Attempts, Milliseconds: m.Milliseconds,
	}
	for _, v := range m.Variants {
		data.Variants = append(data.Variants, variantData{
			Name: v.Name, ContentType: v.ContentType, Bytes: v.Size, SHA256: v.SHA256,
			Width: v.Width, Height: v.Height, Quality: v.Quality, Scale: v.Scale,
			PassThrough: v.PassThrough, Lost: v.Lost, Milliseconds: v.Milliseconds,
		})
	}
	return data
}

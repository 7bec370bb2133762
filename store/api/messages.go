package api

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"
)

// message is the Message resource: twenty properties, in the order of the XML that
// the provider answers (twilio_api_v2010.json, api.v2010.account.message).
type message struct {
	XMLName             xml.Name     `json:"-" xml:"Message"`
	SID                 string       `json:"sid" xml:"Sid"`
	DateCreated         rest.Date    `json:"date_created" xml:"DateCreated"`
	DateUpdated         rest.Date    `json:"date_updated" xml:"DateUpdated"`
	DateSent            optionalDate `json:"date_sent" xml:"DateSent"`
	AccountSID          string       `json:"account_sid" xml:"AccountSid"`
	To                  string       `json:"to" xml:"To"`
	From                optional     `json:"from" xml:"From"`
	MessagingServiceSID optional     `json:"messaging_service_sid" xml:"MessagingServiceSid"`
	Body                string       `json:"body" xml:"Body"`
	Status              string       `json:"status" xml:"Status"`
	NumSegments         string       `json:"num_segments" xml:"NumSegments"`
	NumMedia            string       `json:"num_media" xml:"NumMedia"`
	Direction           string       `json:"direction" xml:"Direction"`
	APIVersion          string       `json:"api_version" xml:"ApiVersion"`
	Price               optional     `json:"price" xml:"Price"`
	PriceUnit           string       `json:"price_unit" xml:"PriceUnit"`
	ErrorCode           optionalCode `json:"error_code" xml:"ErrorCode"`
	ErrorMessage        optional     `json:"error_message" xml:"ErrorMessage"`
	URI                 string       `json:"uri" xml:"Uri"`
	SubresourceURIs     struct {
		Media string `json:"media" xml:"Media"`
	} `json:"subresource_uris" xml:"SubresourceUris"`
}

// messageList is a page of them.
type messageList struct {
	XMLName xml.Name `json:"-" xml:"Messages"`
	rest.Page
	Messages []message `json:"messages" xml:"Message"`
}

// optional is null in JSON where it is empty.
type optional string

// MarshalJSON implements json.Marshaler.
func (o optional) MarshalJSON() ([]byte, error) {
	if o == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(o))
}

// optionalDate is null in JSON, and empty in XML, where it is zero.
type optionalDate time.Time

// MarshalJSON implements json.Marshaler.
func (d optionalDate) MarshalJSON() ([]byte, error) {
	if time.Time(d).IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(rest.Date(d))
}

// MarshalText implements encoding.TextMarshaler, for XML.
func (d optionalDate) MarshalText() ([]byte, error) {
	if time.Time(d).IsZero() {
		return nil, nil
	}
	return rest.Date(d).MarshalText()
}

// optionalCode is null in JSON, and empty in XML, where it is zero.
type optionalCode int

// MarshalJSON implements json.Marshaler.
func (c optionalCode) MarshalJSON() ([]byte, error) {
	if c == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int(c))
}

// MarshalText implements encoding.TextMarshaler, for XML.
func (c optionalCode) MarshalText() ([]byte, error) {
	if c == 0 {
		return nil, nil
	}
	return strconv.AppendInt(nil, int64(c), 10), nil
}

// messageOf is a record as the API shows it. What it leads to has the suffix of its
// own representation. What a message cost is not known here.
func messageOf(m store.Message, suffix string) message {
	path := rest.Prefix + "Accounts/" + m.Account.String() + "/Messages/" + m.SID.String()
	shown := message{
		SID: m.SID.String(), DateCreated: rest.Date(m.DateCreated), DateUpdated: rest.Date(m.DateUpdated), DateSent: optionalDate(sentDate(m)),
		AccountSID: m.Account.String(), To: m.To, From: optional(m.From), MessagingServiceSID: optional(m.Form.Get("MessagingServiceSid")),
		Body: m.Body, Status: m.Status, NumSegments: strconv.Itoa(segments(m)), NumMedia: strconv.Itoa(m.NumMedia),
		Direction: string(m.Direction), APIVersion: "2010-04-01", PriceUnit: "USD",
		ErrorCode: optionalCode(m.ErrorCode), ErrorMessage: optional(m.ErrorMessage), URI: path + suffix,
	}
	shown.SubresourceURIs.Media = path + "/Media" + suffix
	return shown
}

// sentDate is when a message was sent or received; zero as long as it was not.
func sentDate(m store.Message) time.Time {
	if m.Outgoing == nil && m.DateSent.IsZero() {
		return m.DateCreated
	}
	return m.DateSent
}

// dateToFilter is what filters by DateSent see of a message: of one that was not sent,
// when it was made.
func dateToFilter(m store.Message) time.Time {
	if sent := sentDate(m); !sent.IsZero() {
		return sent
	}
	return m.DateCreated
}

// findMessage returns the record that a path names. What was deleted is not found. With
// [store.ErrDamaged] come its SIDs.
func (a *api) findMessage(r *http.Request, p path) (store.Message, error) {
	account, sid, err := p.sids(r)
	if err != nil {
		return store.Message{}, err
	}
	m, err := a.Store.Message(r.Context(), account, sid)
	if errors.Is(err, store.ErrNotFound) || err == nil && !m.Deleted.IsZero() {
		return store.Message{}, rest.NotFound(r)
	}
	return m, err
}

// messages is …/Messages: GET lists, POST sends.
func (a *api) messages(w http.ResponseWriter, r *http.Request, p path) error {
	if r.Method == http.MethodPost {
		return a.create(w, r, p)
	}
	if err := allow(r, http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		return err
	}
	if err := a.authorize(r, p, false); err != nil {
		return err
	}
	return a.listMessages(w, r, p)
}

// message is …/Messages/{MM}.
func (a *api) message(w http.ResponseWriter, r *http.Request, p path) error {
	if err := allow(r, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete); err != nil {
		return err
	}
	if err := a.authorize(r, p, r.Method == http.MethodPost || r.Method == http.MethodDelete); err != nil {
		return err
	}
	m, err := a.findMessage(r, p)
	if err != nil && (r.Method != http.MethodDelete || !errors.Is(err, store.ErrDamaged)) {
		return err
	}
	switch r.Method {
	case http.MethodPost:
		return a.updateMessage(w, r, p, m)
	case http.MethodDelete:
		return a.deleteMessage(w, r, m)
	}
	return rest.Write(w, r, http.StatusOK, messageOf(m, p.suffix))
}

// listMessages is a page of the account's messages, the newest first. It costs a read
// for each of them, and for those that a second filter leaves out.
func (a *api) listMessages(w http.ResponseWriter, r *http.Request, p path) error {
	query, err := rest.ParsePage(r, "To", "From", "DateSent", "DateSent<", "DateSent>")
	if err != nil {
		return err
	}
	filter, err := rest.ParseDateFilter(r.URL.Query(), "DateSent")
	if err != nil {
		return err
	}
	q := store.MessageQuery{From: r.URL.Query().Get("From"), To: r.URL.Query().Get("To")}
	if q.Account, err = store.ParseAccountSID(p.account); err != nil {
		return rest.NotFound(r)
	}
	// Messages are found by when they were made, and sent within their validity.
	q.Since, q.Before = filter.Bounds()
	if !q.Since.IsZero() {
		q.Since = q.Since.Add(-maxValidity * time.Second)
	}
	entries, previous, next, err := a.messagePage(r.Context(), query, q, func(m store.Message) bool { return filter.Admits(dateToFilter(m)) })
	if errors.Is(err, store.ErrPosition) {
		return rest.BadRequest("Invalid PageToken value.")
	}
	if err != nil {
		return err
	}
	page := messageList{Messages: []message{}, Page: query.Uncounted(len(entries), previous, next)}
	for _, entry := range entries {
		page.Messages = append(page.Messages, messageOf(entry.Message, p.suffix))
	}
	return rest.Write(w, r, http.StatusOK, page)
}

// messagePage finds the messages of a page, and the positions of its edges if there are more
// before or after.
func (a *api) messagePage(ctx context.Context, query rest.PageQuery, q store.MessageQuery, admit func(store.Message) bool) (found []store.MessageEntry, previous, next string, err error) {
	edge, before, err := query.Edge()
	if err != nil {
		return nil, "", "", err
	}
	more := edge != ""
	q.After = edge
	if before {
		found, more, err = a.Store.Newer(ctx, q, query.Size(), admit)
		if err = a.leftOut(err); err == nil && len(found) > 0 {
			next = found[len(found)-1].Position
		}
	} else {
		found, next, err = a.older(ctx, q, query.Size(), admit)
	}
	if err == nil && more && len(found) > 0 {
		previous = found[0].Position
	}
	return found, previous, next, err
}

// older finds up to n messages after a position, and the position of the last one if
// there are more.
func (a *api) older(ctx context.Context, q store.MessageQuery, n int, admit func(store.Message) bool) (found []store.MessageEntry, next string, err error) {
	for entry, err := range a.Store.Messages(ctx, q) {
		damaged := errors.Is(err, store.ErrDamaged)
		if err := a.leftOut(err); err != nil {
			return nil, "", err
		}
		if damaged || !admit(entry.Message) {
			continue
		}
		if len(found) == n {
			return found, found[n-1].Position, nil
		}
		found = append(found, entry)
	}
	return found, "", nil
}

// underWay are the statuses of an outgoing message that is not sent yet.
var underWay = []string{"accepted", "scheduled", "queued", "sending"}

// updateMessage is POST …/Messages/{MM}: Status=canceled cancels what is scheduled, and
// an empty Body takes the text away.
func (a *api) updateMessage(w http.ResponseWriter, r *http.Request, p path, m store.Message) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	switch {
	case form.Get("Status") == "canceled":
		return a.cancel(w, r, p, m)
	case form.Get("Status") != "":
		return rest.BadRequest("A Status can only be made canceled.")
	case !form.Has("Body") || form.Get("Body") != "":
		return rest.BadRequest("A Body can only be made empty.")
	case m.Outgoing != nil && slices.Contains(underWay, m.Status):
		return rest.Conflict("Cannot redact message because delivery has not been completed.")
	}
	if m.Outgoing != nil && m.Outgoing.Ready != 0 { // its event has the text
		if err := a.Feed.WithdrawPrivate(r.Context(), m); err != nil {
			return err
		}
	}
	m, err = a.Store.UpdateMessage(r.Context(), m.Account, m.SID, func(m *store.Message) error {
		m.Body, m.DateUpdated = "", time.Now().UTC()
		if m.Form.Has("Body") {
			m.Form.Set("Body", "")
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !m.Deleted.IsZero():
		return rest.NotFound(r)
	}
	if err := a.Store.RedactQuarantined(r.Context(), m.Account, m.SID); err != nil {
		return err
	}
	return rest.Write(w, r, http.StatusOK, messageOf(m, p.suffix))
}

// cancel cancels a message that is scheduled. The Job comes first: it does the same, and
// tells the client, whatever happens here. Of a message that is not scheduled any more
// it finds nothing to do.
func (a *api) cancel(w http.ResponseWriter, r *http.Request, p path, m store.Message) error {
	refused := rest.Refused(30409, "This message cannot be canceled.") // https://www.twilio.com/docs/api/errors/30409
	if m.Status != "scheduled" && m.Status != "canceled" {
		return refused
	}
	if _, err := a.Streams.PublishJob(r.Context(), stream.NewCancel(m.Account, m.SID)); err != nil {
		return err
	}
	m, err := a.Store.CancelMessage(r.Context(), m.Account, m.SID, time.Now().UTC())
	switch {
	case err != nil:
		return err
	case !m.Deleted.IsZero():
		return rest.NotFound(r)
	case m.Status != "canceled": // it is on its way just now
		return refused
	}
	return rest.Write(w, r, http.StatusOK, messageOf(m, p.suffix))
}

// deleteMessage removes a message with its media. The Job comes first, with all that
// the tombstone will not tell any more: from then on it is finished whatever happens
// here.
func (a *api) deleteMessage(w http.ResponseWriter, r *http.Request, m store.Message) error {
	media, err := a.mediaSIDs(r.Context(), m)
	if err != nil {
		return err
	}
	if _, err := a.Streams.PublishJob(r.Context(), stream.NewDeleteMessage(m.Account, m.SID, media, false)); err != nil {
		return err
	}
	if _, err := a.Store.DeleteMessage(r.Context(), m.Account, m.SID, time.Now().UTC()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// mediaSIDs are those of all media of a message, stored or on their way.
func (a *api) mediaSIDs(ctx context.Context, m store.Message) ([]store.MediaSID, error) {
	var sids []store.MediaSID
	for key, err := range a.Store.MediaKeys(ctx, m.Account, m.SID, store.MediaKey{}) {
		if err != nil {
			return nil, err
		}
		sids = append(sids, key.Media)
	}
	for _, ref := range a.Store.MediaOf(m) {
		if !slices.Contains(sids, ref.Media) {
			sids = append(sids, ref.Media)
		}
	}
	return sids, nil
}

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/store"
)

// pageSize is what is asked for of a list. Twilio's most is 1,000 and its default
// 50 (twilio_api_v2010.json); a page that is cut off is asked for again as a whole.
const pageSize = 200

// Message is what is asked of a Message resource
// (https://www.twilio.com/docs/messaging/api/message-resource).
type Message struct {
	SID       store.MessageSID
	Direction string // Twilio's: inbound, outbound-api, outbound-call or outbound-reply
	Status    string // Twilio's Message.status
	From, To  string
	Body      string
	NumMedia  int
	Date      time.Time // when it was sent or received; when it was made, as long as it is not sent
	Created   time.Time // when it was made; zero if that is not told
}

// UnmarshalJSON reads the resource's JSON.
func (m *Message) UnmarshalJSON(data []byte) error {
	var raw struct {
		SID         store.MessageSID `json:"sid"`
		Direction   string           `json:"direction"`
		Status      string           `json:"status"`
		From        string           `json:"from"`
		To          string           `json:"to"`
		Body        string           `json:"body"`
		NumMedia    string           `json:"num_media"`
		DateCreated string           `json:"date_created"`
		DateSent    string           `json:"date_sent"`
	}
	err := json.Unmarshal(data, &raw)
	if err != nil {
		return err
	}
	*m = Message{SID: raw.SID, Direction: raw.Direction, Status: raw.Status, From: raw.From, To: raw.To, Body: raw.Body}
	if m.SID.IsZero() {
		return errors.New("message without a SID")
	}
	if m.NumMedia, err = strconv.Atoi(raw.NumMedia); err != nil || m.NumMedia < 0 {
		return fmt.Errorf("message %s: num_media %.20q is not a count", m.SID, raw.NumMedia)
	}
	if raw.DateSent == "" {
		raw.DateSent = raw.DateCreated
	}
	if m.Date, err = parseDate(m.SID, raw.DateSent); err == nil && raw.DateCreated != "" {
		m.Created, err = parseDate(m.SID, raw.DateCreated)
	}
	return err
}

// parseDate reads a date of the API. They are RFC 2822; a day of one digit is legal in
// it.
func parseDate(sid store.MessageSID, text string) (time.Time, error) {
	date, err := time.Parse("Mon, _2 Jan 2006 15:04:05 -0700", text)
	if err != nil {
		return date, fmt.Errorf("message %s: date %.40q is not RFC 2822", sid, text)
	}
	return date.UTC(), nil
}

// Media is what is asked of a Media resource
// (https://www.twilio.com/docs/messaging/api/media-resource).
type Media struct {
	SID         store.MediaSID `json:"sid"`
	ContentType string         `json:"content_type"`
}

// Number is what is asked of an IncomingPhoneNumber resource
// (https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource).
type Number struct {
	PhoneNumber    string `json:"phone_number"`
	SMSURL         string `json:"sms_url"`
	SMSFallbackURL string `json:"sms_fallback_url"`
}

// Account is what is asked of an Account resource
// (https://www.twilio.com/docs/iam/api/account).
type Account struct {
	SID    store.AccountSID `json:"sid"`
	Status string           `json:"status"` // active, suspended or closed
}

// Messages yields the messages of an account that were sent or received from since
// until until, both included, in the order of the API: the newest first. Times count
// in whole seconds; a zero one does not bound. A page is asked for when the loop
// comes to it. An error is the last thing that is yielded.
func (c *Client) Messages(ctx context.Context, account store.AccountSID, since, until time.Time) iter.Seq2[[]Message, error] {
	return c.MessagesOf(ctx, account, Parties{}, since, until)
}

// Parties are those of the messages of a list; an empty one is anybody.
type Parties struct{ From, To string }

// MessagesOf is [Client.Messages] for some parties alone.
func (c *Client) MessagesOf(ctx context.Context, account store.AccountSID, p Parties, since, until time.Time) iter.Seq2[[]Message, error] {
	// The names end in the operator: what is written DateSent<=VALUE reaches the
	// server as "DateSent<" and VALUE (twilio_api_v2010.json). No fraction of a
	// second is sent, which a filter would not see.
	filters := url.Values{}
	if p.From != "" {
		filters.Set("From", p.From)
	}
	if p.To != "" {
		filters.Set("To", p.To)
	}
	if !since.IsZero() {
		filters.Set("DateSent>", since.UTC().Format(time.RFC3339))
	}
	if !until.IsZero() {
		filters.Set("DateSent<", until.UTC().Format(time.RFC3339))
	}
	return list(ctx, c, account, "/Messages.json", filters, func(p page) []Message { return p.Messages })
}

// Message returns a message. That it is not there is an [*Error] of status 404.
func (c *Client) Message(ctx context.Context, account store.AccountSID, message store.MessageSID) (Message, error) {
	var m Message
	err := c.get(ctx, account, accountPath(account)+"/Messages/"+message.String()+".json", &m)
	return m, err
}

// Media returns the media of a message that are there, in the order of the API.
// Those of a message that has just come may be missing yet.
func (c *Client) Media(ctx context.Context, account store.AccountSID, message store.MessageSID) ([]Media, error) {
	pages := list(ctx, c, account, "/Messages/"+message.String()+"/Media.json", nil, func(p page) []Media { return p.Media })
	return collect(pages)
}

// MediaURL is the address of a medium's content, as it stands in a webhook.
func (c *Client) MediaURL(account store.AccountSID, message store.MessageSID, media store.MediaSID) string {
	return c.origin.String() + mediaPath(account, message, media)
}

// DeleteMedia deletes a medium. That it is not there is an [*Error] of status 404.
func (c *Client) DeleteMedia(ctx context.Context, account store.AccountSID, message store.MessageSID, media store.MediaSID) error {
	return c.do(ctx, account, http.MethodDelete, mediaPath(account, message, media)+".json", nil)
}

func mediaPath(account store.AccountSID, message store.MessageSID, media store.MediaSID) string {
	return accountPath(account) + "/Messages/" + message.String() + "/Media/" + media.String()
}

// Account returns the account itself, which tells whether its token is taken.
func (c *Client) Account(ctx context.Context, account store.AccountSID) (Account, error) {
	var a Account
	err := c.get(ctx, account, accountPath(account)+".json", &a)
	return a, err
}

// Numbers returns the phone numbers of an account.
func (c *Client) Numbers(ctx context.Context, account store.AccountSID) ([]Number, error) {
	return collect(list(ctx, c, account, "/IncomingPhoneNumbers.json", nil, func(p page) []Number { return p.Numbers }))
}

// page is a page of any list.
type page struct {
	Messages []Message `json:"messages"`
	Media    []Media   `json:"media_list"`
	Numbers  []Number  `json:"incoming_phone_numbers"`
	Next     string    `json:"next_page_uri"` // path and query; empty or null on the last page
}

// list yields the pages of a list below an account.
func list[T any](ctx context.Context, c *Client, account store.AccountSID, path string, filters url.Values, records func(page) []T) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		query := url.Values{"PageSize": {strconv.Itoa(pageSize)}}
		maps.Copy(query, filters)
		first := accountPath(account) + path
		for next := first + "?" + query.Encode(); next != ""; {
			var p page
			if err := c.get(ctx, account, next, &p); err != nil {
				yield(nil, err)
				return
			}
			if p.Next == next || p.Next != "" && !strings.HasPrefix(p.Next, first+"?") {
				yield(nil, fmt.Errorf("GET %s: the next page is not one of the same list", first))
				return
			}
			if !yield(records(p), nil) {
				return
			}
			next = p.Next
		}
	}
}

// collect returns all records of a list that is short.
func collect[T any](pages iter.Seq2[[]T, error]) ([]T, error) {
	var all []T
	for records, err := range pages {
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

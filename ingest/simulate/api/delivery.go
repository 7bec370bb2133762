package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"time"

	"mmspipe/ingest/simulate/webhook"
)

// delivery does what follows after a message was accepted: it reads the media links, and
// calls back the statuses.
type delivery struct {
	ctx     context.Context
	account *account
	client  *http.Client
}

// Fetched is what was read of a media link of a message that was accepted.
type Fetched struct {
	URL         string
	Head, Get   int // HTTP statuses, 0 without a whole answer
	ContentType string
	Size        int64  // bytes that were read
	SHA256      string // of these, in hexadecimal
}

// deliver does what follows after a message was accepted.
func (d *delivery) deliver(m *message, o Outcome) {
	unread := d.readLinks(m)
	statuses := o.Callbacks
	d.account.mu.Lock()
	m.code = cmp.Or(unread, o.Code)
	if m.from == "" {
		m.from = "+15005550006" // Twilio's test number, for the pool of the service
		if len(d.account.numbers) > 0 {
			m.from = d.account.numbers[0].PhoneNumber
		}
	}
	usual := []string{"sent", "delivered"}
	if m.code != 0 {
		usual = []string{"failed"}
	}
	if m.service != "" {
		usual = slices.Insert(usual, 0, "queued") // the first status, accepted, is not called back
	}
	d.account.mu.Unlock()
	if statuses == nil || unread != 0 && len(statuses) > 0 {
		statuses = usual
	}
	for _, status := range statuses {
		d.report(m, status)
	}
	d.account.mu.Lock()
	defer d.account.mu.Unlock()
	m.advance(usual[len(usual)-1])
	m.done = true
}

// report moves a message to a status and calls it back. If nobody answers, nobody learns
// of it, as at Twilio.
func (d *delivery) report(m *message, status string) {
	d.account.mu.Lock()
	m.advance(status)
	form := d.account.callbackForm(m, status)
	d.account.mu.Unlock()
	if address := m.form.Get("StatusCallback"); address != "" {
		_, _ = webhook.Post(d.ctx, d.client, address, d.account.token, form)
	}
}

// readLinks reads the media of a message, one after the other, and returns the
// error code that it fails with, or 0.
func (d *delivery) readLinks(m *message) int {
	code, total := 0, 0
	for i, address := range m.form["MediaUrl"] {
		fetched, data := d.readLink(address)
		d.account.mu.Lock()
		m.links = append(m.links, fetched)
		if len(data) > 0 {
			if d.account.bodies[fetched.SHA256] == nil {
				d.account.bodies[fetched.SHA256] = data
			}
			d.account.attach(m, m.mediaSIDs[i], Media{Data: d.account.bodies[fetched.SHA256], ContentType: fetched.ContentType}, time.Now())
		}
		d.account.mu.Unlock()
		total += len(data)
		code = cmp.Or(code, fetched.code())
	}
	if total > maxTotal {
		code = cmp.Or(code, 11751)
	}
	return code
}

// code is the error that a medium makes a message fail with, or 0.
func (f Fetched) code() int {
	switch {
	case f.Get != http.StatusOK:
		return 11200 // HTTP retrieval failure
	case f.Size == 0:
		return 63019 // nothing could be downloaded
	case f.ContentType == "":
		return 12300 // no acceptable content type
	}
	return 0
}

// readLink asks for a link's header and then for its body, which it returns if it
// came whole with a 200, or up to where it is too much.
func (d *delivery) readLink(address string) (Fetched, []byte) {
	f := Fetched{URL: address}
	head, err := http.NewRequestWithContext(d.ctx, http.MethodHead, address, nil)
	if err != nil {
		return f, nil
	}
	head.Header.Set("User-Agent", "TwilioProxy/1.1")
	if response, err := d.client.Do(head); err == nil {
		f.Head = response.StatusCode
		_ = response.Body.Close()
	}
	get := head.Clone(d.ctx)
	get.Method = http.MethodGet
	response, err := d.client.Do(get)
	if err != nil {
		return f, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxTotal+1))
	sum := sha256.Sum256(data)
	f.Get, f.ContentType = response.StatusCode, response.Header.Get("Content-Type")
	f.Size, f.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	if err != nil {
		f.Get = 0
	}
	if f.Get != http.StatusOK {
		return f, nil
	}
	return f, data
}

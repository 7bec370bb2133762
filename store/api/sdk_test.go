package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// elsewhere changes the origin of requests, and nothing else.
type elsewhere struct{ origin *url.URL }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = e.origin.Scheme, e.origin.Host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// sdk is Twilio's own client, with another origin.
func (h *house) sdk(user, password string) *openapi.ApiService {
	h.t.Helper()
	origin, err := url.Parse(h.origin)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client.Client{Credentials: client.NewCredentials(user, password), HTTPClient: &http.Client{Transport: elsewhere{origin}}}
	c.SetAccountSid(account)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).Api
}

func TestTwilioGo(t *testing.T) {
	h := newHouse(t, "public")
	for n := range 7 {
		h.put(n+1, "image/jpeg", "picture")
	}
	sdk := h.sdk(account, token)

	sid := fmt.Sprintf("ME%032x", 1)
	fetched, err := sdk.FetchMedia(message, sid, nil)
	if err != nil || *fetched.Sid != sid || *fetched.ParentSid != message || *fetched.AccountSid != account ||
		*fetched.ContentType != "image/jpeg" || *fetched.DateCreated != "Fri, 02 Jan 2026 12:30:15 +0000" {
		t.Errorf("fetch: %+v, %v", fetched, err)
	}
	list, err := sdk.ListMedia(message, (&openapi.ListMediaParams{}).SetPageSize(2))
	if err != nil || len(list) != 7 {
		t.Errorf("list: %d records, %v", len(list), err)
	}
	list, err = sdk.ListMedia(message, (&openapi.ListMediaParams{}).SetPageSize(2).SetLimit(3))
	if err != nil || len(list) != 3 {
		t.Errorf("list with a limit: %d records, %v", len(list), err)
	}
	streamed := map[string]bool{}
	records, failures := sdk.StreamMedia(message, (&openapi.ListMediaParams{}).SetPageSize(3))
	for record := range records {
		streamed[*record.Sid] = true
	}
	if err := <-failures; err != nil || len(streamed) != 7 {
		t.Errorf("stream: %d records, %v", len(streamed), err)
	}
	day := time.Date(2026, 1, 4, 0, 0, 0, 0, time.FixedZone("", 2*60*60))
	list, err = sdk.ListMedia(message, (&openapi.ListMediaParams{}).SetDateCreatedAfter(day).SetPageSize(2))
	if err != nil || len(list) != 5 {
		t.Errorf("list since %v: %d records, %v", day, len(list), err)
	}
	if err := sdk.DeleteMedia(message, sid, nil); err != nil {
		t.Errorf("delete: %v", err)
	}
	for name, c := range map[string]struct {
		call         func() error
		status, code int
	}{
		"delete again":           {func() error { return sdk.DeleteMedia(message, sid, nil) }, 404, 20404},
		"fetch what was deleted": {func() error { _, err := sdk.FetchMedia(message, sid, nil); return err }, 404, 20404},
		"list of an unknown message": {func() error {
			_, err := sdk.ListMedia("MM00000000000000000000000000000009", nil)
			return err
		}, 404, 20404},
		"wrong token": {func() error { _, err := h.sdk(account, "wrong").FetchMedia(message, sid, nil); return err }, 401, 20003},
	} {
		var e *client.TwilioRestError
		if err := c.call(); !errors.As(err, &e) || e.Status != c.status || e.Code != c.code {
			t.Errorf("%s: %v, want %d/%d", name, err, c.status, c.code)
		}
	}
	list, err = h.sdk("SK2", "operator").ListMedia(message, nil)
	if err != nil || len(list) != 6 {
		t.Errorf("list with an API key: %d records, %v", len(list), err)
	}
}

package service_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"
)

// TestScheduledRestart: a message that is scheduled still is after a restart, and can be
// canceled then; nothing of it reaches the provider.
func TestScheduledRestart(t *testing.T) {
	t.Parallel()
	p := servicetest.Start(t, servicetest.Embedded, "--relay=true")
	post := func(path string, form url.Values) (m struct{ SID, Status string }) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Public+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(servicetest.Account, servicetest.Token)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&m); err != nil || response.StatusCode > 201 {
			t.Fatalf("%s: answered %s, %v", path, response.Status, err)
		}
		return m
	}
	const messages = "/2010-04-01/Accounts/" + servicetest.Account + "/Messages"
	m := post(messages+".json", url.Values{
		"To": {"+15558675310"}, "MessagingServiceSid": {"MG0123456789abcdef0123456789abcdef"}, "Body": {"later"},
		"ScheduleType": {"fixed"}, "SendAt": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
	})
	p.AwaitEvents("mms.received", 1)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	p.Start()
	if _, body := p.Get(messages + "/" + m.SID + ".json"); !strings.Contains(string(body), `"status":"scheduled"`) {
		t.Errorf("after a restart it is %s", body)
	}
	if got := post(messages+"/"+m.SID+".json", url.Values{"Status": {"canceled"}}); got.Status != "canceled" {
		t.Errorf("status %s", got.Status)
	}
	if e := p.AwaitEvents("mms.status", 1); e[0].Data["messageStatus"] != "canceled" || len(p.Twilio.Accepted()) != 0 {
		t.Errorf("event %+v, %d accepted", e[0], len(p.Twilio.Accepted()))
	}
}

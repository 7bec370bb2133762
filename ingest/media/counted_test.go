package media_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mmspipe/ingest/ingesttest"
	"mmspipe/ingest/signature"
	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"
)

// TestCounted: of a webhook that counts a thousand media and names two, the two are stored,
// and all others are one failure. A replay changes nothing of that.
func TestCounted(t *testing.T) {
	h := ingesttest.New(t)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, card) }))
	t.Cleanup(host.Close)
	h.Permit(host.URL)
	const sid = "MM00000000000000000000000000000001"
	form := url.Values{
		"AccountSid": {ingesttest.AccountSID}, "MessageSid": {sid}, "NumMedia": {"1000"}, "Body": {"the text"},
		"MediaUrl3": {host.URL + "/3"}, "MediaUrl998": {host.URL + "/998"},
	}
	post(t, h.Webhook, form)
	r := h.Rooms(storetest.OpenDir(t))
	h.Work(r)
	message, err := store.ParseMessageSID(sid)
	if err != nil {
		t.Fatal(err)
	}
	check := func(events ...string) {
		t.Helper()
		m, err := r.Store.Message(t.Context(), h.Account, message)
		if err != nil || m.Body != "the text" || len(m.Failures) != 1 {
			t.Fatalf("record with text %q and %d failures, %v", m.Body, len(m.Failures), err)
		}
		for _, failure := range m.Failures {
			if failure.Reason != store.ReasonNoURL || failure.Index != 0 || !strings.HasPrefix(failure.Detail, "998 media") {
				t.Errorf("failure %+v", failure)
			}
		}
		stored, err := r.Store.ListMedia(t.Context(), h.Account, message)
		if err != nil || len(stored) != 2 || stored[0].Index+stored[1].Index != 1001 {
			t.Errorf("stored %+v, %v", stored, err)
		}
		got := h.EventTypes(sid)
		slices.Sort(got)
		if slices.Sort(events); !slices.Equal(got, events) {
			t.Errorf("events %v, want %v", got, events)
		}
	}
	check(stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventFailed)
	h.Queue(stream.NewReplay(h.Account, message, "again"))
	h.Work(r)
	check(stream.EventReceived, stream.EventStored, stream.EventStored, stream.EventFailed, stream.EventFailed)
}

// post posts a signed webhook, and wants it taken.
func post(t *testing.T, address string, form url.Values) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-Twilio-Signature", signature.Sign(ingesttest.Token, address, form))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("answered %d", response.StatusCode)
	}
}

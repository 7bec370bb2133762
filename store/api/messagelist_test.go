package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mmspipe/store"
	"mmspipe/store/api"
	"mmspipe/store/rest"
	"mmspipe/store/storetest"

	"github.com/rs/zerolog"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// record stores a message that was received.
func (h *house) record(n int, from, to string, at time.Time) {
	h.t.Helper()
	sid, err := store.ParseMessageSID(fmt.Sprintf("SM%032x", n))
	if err != nil {
		h.t.Fatal(err)
	}
	m := store.Message{Account: h.account, SID: sid, Direction: store.Inbound, Status: "received", From: from, To: to, Body: "hi", DateCreated: at, DateUpdated: at}
	if _, _, err := h.store.CreateMessage(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
}

// TestListMessages reads lists with Twilio's own client, by page, filter and limit.
func TestListMessages(t *testing.T) {
	h := newHouse(t, "public")
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := range 9 {
		h.record(n, fmt.Sprintf("+1555000000%d", n%3), "+15005550006", day.AddDate(0, 0, n))
	}
	sdk := h.sdk(account, token)
	list := func(p *openapi.ListMessageParams) []string {
		t.Helper()
		records, err := sdk.ListMessage(p.SetPageSize(2))
		if err != nil {
			t.Fatal(err)
		}
		var last []string
		for _, m := range records {
			if *m.Sid != message {
				last = append(last, (*m.Sid)[33:])
			}
		}
		return last
	}
	for name, c := range map[string]struct {
		params *openapi.ListMessageParams
		want   string
	}{
		"all":        {&openapi.ListMessageParams{}, "876543210"},
		"from":       {(&openapi.ListMessageParams{}).SetFrom("+15550000001"), "741"},
		"as written": {(&openapi.ListMessageParams{}).SetFrom("+1 (555) 000-0001").SetTo("+1-500-555-0006"), "741"},
		"from, to":   {(&openapi.ListMessageParams{}).SetFrom("+15550000001").SetTo("+15005550006"), "741"},
		"to nobody":  {(&openapi.ListMessageParams{}).SetTo("+15005550007"), ""},
		"on a day":   {(&openapi.ListMessageParams{}).SetDateSent(day.AddDate(0, 0, 4)), "4"},
		"since":      {(&openapi.ListMessageParams{}).SetDateSentAfter(day.AddDate(0, 0, 6)), "876"},
		"until":      {(&openapi.ListMessageParams{}).SetDateSentBefore(day.AddDate(0, 0, 2)), "210"},
		"between":    {(&openapi.ListMessageParams{}).SetDateSentAfter(day.AddDate(0, 0, 2)).SetDateSentBefore(day.AddDate(0, 0, 3)), "32"},
		"with limit": {(&openapi.ListMessageParams{}).SetDateSentBefore(day.AddDate(0, 0, 8)).SetLimit(3), "876"},
	} {
		if got := strings.Join(list(c.params), ""); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	h.backAndForth(messages + ".json?PageSize=4")
	h.backAndForth(messages + ".json?PageSize=2&From=%2B15550000001&DateSent%3E=2026-03-01")
	for _, path := range []string{"?Page=1", "?PageToken=PBabc", "?PageToken=PA12", "?DateSent=x", "?PageSize=0"} {
		if response, body := h.call("GET", messages+".json"+path, nil); response.StatusCode != 400 {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
	if response, body := h.call("GET", messages+".xml?PageSize=1", nil); response.StatusCode != 200 || !strings.Contains(body, `<Messages page="0" pagesize="1"`) {
		t.Errorf("XML: %s %s", response.Status, body)
	}
}

// listPage is a page of messages.
type listPage struct {
	Messages []struct{ SID string }
	Next     string `json:"next_page_uri"`
	Previous string `json:"previous_page_uri"`
}

func (h *house) listPage(uri string) (p listPage) {
	h.t.Helper()
	response, body := h.call("GET", uri, nil)
	if err := json.Unmarshal([]byte(body), &p); err != nil || response.StatusCode != 200 {
		h.t.Fatalf("%s: %s %s", uri, response.Status, body)
	}
	return p
}

// backAndForth reads a list to its end and back again, by the pages' own links.
func (h *house) backAndForth(first string) {
	h.t.Helper()
	var forth []listPage
	for uri := first; uri != ""; uri = forth[len(forth)-1].Next {
		forth = append(forth, h.listPage(uri))
	}
	if len(forth) < 2 || forth[0].Previous != "" {
		h.t.Fatalf("%s: %d pages, the first after %q", first, len(forth), forth[0].Previous)
	}
	uri := forth[len(forth)-1].Previous
	for _, want := range slices.Backward(forth[:len(forth)-1]) {
		got := h.listPage(uri)
		if !slices.Equal(got.Messages, want.Messages) || got.Next == "" {
			h.t.Errorf("%s: %v, want %v", uri, got.Messages, want.Messages)
		}
		uri = got.Previous
	}
	if uri != "" {
		h.t.Errorf("before the first page comes %s", uri)
	}
}

// TestListCost: a page costs what is on it, with 10,000 messages in the bucket.
func TestListCost(t *testing.T) {
	const count, page = 10_000, 50
	dir := t.TempDir()
	if memory, err := os.MkdirTemp("/dev/shm", "mmspipe-"); err == nil { // where syncs cost nothing
		t.Cleanup(func() { os.RemoveAll(memory) })
		dir = memory
	}
	bucket, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	counted := &storetest.Faulty{Bucket: bucket}
	h := newHouse(t, "public")
	h.store = store.New(counted, []byte("secret"))
	newest := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var writing sync.WaitGroup
	for part := range 4 {
		writing.Go(func() {
			for n := part; n < count; n += 4 {
				h.record(n, "+15550000001", "+15005550006", newest.Add(-time.Duration(n)*5*time.Minute))
			}
		})
	}
	writing.Wait()
	h.origin = serveAPI(t, api.Options{
		Store: h.store, Streams: h.streams, Keys: rest.NewKeys(map[string][]string{account: {token}}, nil), Log: zerolog.Nop(),
	})
	uri, seen := messages+".json", 0
	for i := range 3 {
		before := counted.Calls()
		list := h.listPage(uri)
		if len(list.Messages) != page || list.Messages[0].SID != fmt.Sprintf("SM%032x", seen) {
			t.Fatalf("page %d: %v", i, list.Messages)
		}
		if calls := counted.Calls() - before; calls > page+4 {
			t.Errorf("page %d costs %d calls", i, calls)
		}
		if seen += page; i == 2 {
			before, first := counted.Calls(), fmt.Sprintf("SM%032x", page)
			if list := h.listPage(list.Previous); len(list.Messages) != page || list.Messages[0].SID != first {
				t.Errorf("back to %s: %v", first, list.Messages)
			}
			if calls := counted.Calls() - before; calls > page+20 {
				t.Errorf("back costs %d calls", calls)
			}
		}
		uri = list.Next
	}
	before := counted.Calls()
	day := newest.AddDate(0, 0, -20).Format(time.DateOnly)
	if _, body := h.call("GET", messages+".json?From=%2B15550000001&DateSent="+day, nil); !strings.Contains(body, `"end":49`) {
		t.Errorf("a day in the middle: %s", body)
	}
	if calls := counted.Calls() - before; calls > page+4 {
		t.Errorf("a day in the middle costs %d calls", calls)
	}
}

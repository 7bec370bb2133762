package simulate_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"mmspipe/ingest/simulate"
)

// TestClose leaves no goroutine behind, whatever goes on: requests that stall,
// connections that idle, a message that is being delivered.
func TestClose(t *testing.T) {
	asked := make(chan struct{}, 2)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	h := newHandler(t, 200)
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()

	s, err := simulate.Start(simulate.Options{Account: account, Token: token, Webhook: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	stalled := make(chan error, 3)
	for _, fault := range []simulate.Fault{simulate.Silent, simulate.Stall, simulate.Drip} {
		sent, err := s.Send(t.Context(), simulate.Message{Media: []simulate.Media{{Data: make([]byte, 100), Always: fault}}})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _, err := get(t.Context(), t, sent.MediaURLs[0])
			stalled <- err
		}()
		eventually(t, "the medium is asked for", func() bool { return s.Downloads(sent.MediaSIDs[0]) > 0 })
	}
	form := map[string][]string{"To": {"+15550001234"}, "From": {"+15550005678"}, "MediaUrl": {slow.URL}}
	ask(t, s, "POST", messagesPath+".json", form)
	<-asked
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-stalled; err == nil {
			t.Error("a request that stalls came to an end")
		}
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

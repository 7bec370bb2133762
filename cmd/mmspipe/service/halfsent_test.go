package service_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"
	"mmspipe/ingest/simulate"
)

// TestHalfSentWebhooks: two thousand webhooks that stop half-way take a bounded amount of
// memory, are cut off, and keep out no webhook that is signed.
func TestHalfSentWebhooks(t *testing.T) {
	const senders, declared, sent, most = 2000, 250_000, 100_000, 192 << 20
	p := servicetest.Start(t, servicetest.Embedded)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	half := fmt.Sprintf("POST /webhooks/twilio HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: forged\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nBody=", declared) + strings.Repeat("x", sent)
	var attack sync.WaitGroup
	var cut atomic.Int64
	for range senders {
		attack.Go(func() {
			switch status := sendHalf(p.Public, half); status {
			case 0, http.StatusRequestTimeout: // closed, or cut off
				cut.Add(1)
			default:
				t.Errorf("half a webhook is answered %d", status)
			}
		})
	}
	heap, signed := uint64(0), 0
	for ; cut.Load() < senders && !t.Failed(); signed++ {
		p.Send(simulate.Message{From: "+14155550100", To: "+14155550199", Body: "signed"}) // fails unless it is answered 200
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		heap = max(heap, now.HeapInuse)
	}
	attack.Wait()
	p.AwaitEvents("mms.received", signed)
	if heap > before.HeapInuse+most {
		t.Errorf("%d MiB of memory are in use, %d before", heap>>20, before.HeapInuse>>20)
	}
	t.Logf("%d signed webhooks were taken meanwhile, %d MiB in use, %d before", signed, heap>>20, before.HeapInuse>>20)
}

// sendHalf sends half a request, and returns the status of the answer, 0 if the connection
// is closed without one.
func sendHalf(origin, half string) int {
	conn, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://"))
	if err != nil {
		return 0
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(servicetest.Patience)); err != nil {
		return 0
	}
	_, _ = io.WriteString(conn, half)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

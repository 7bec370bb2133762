package store

// rank orders Twilio's statuses of a message, which only ever move up. Those of the
// same rank are ends that exclude each other; read follows delivered
// (https://www.twilio.com/docs/messaging/api/message-resource#message-status-values).
var rank = map[string]int{
	"accepted": 1, "scheduled": 1, "receiving": 1, "queued": 2, "sending": 3, "sent": 4,
	"received": 5, "delivered": 5, "undelivered": 5, "partially_delivered": 5, "failed": 5, "canceled": 5, "read": 6,
}

// Advance moves m to a status unless that would be backwards, and tells whether it
// did. Callbacks come in any order, more than once, and with words to come that are
// not known here: these come after sending and before every end.
func (m *Message) Advance(status string) bool {
	if rankOf(status) <= rankOf(m.Status) {
		return false
	}
	m.Status = status
	return true
}

func rankOf(status string) int {
	if r, ok := rank[status]; ok || status == "" {
		return r
	}
	return rank["sent"]
}

// Final tells whether m has come to an end: no status follows but read.
func (m Message) Final() bool { return rankOf(m.Status) >= rank["received"] }

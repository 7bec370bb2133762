package store_test

import (
	"fmt"
	"testing"
	"time"

	"mmspipe/store"
)

// BenchmarkCreateMessage makes messages from ever other numbers to one.
func BenchmarkCreateMessage(b *testing.B) {
	s := store.New(benchmarkDir(b), []byte("secret"))
	created := time.Unix(1.7e9, 0)
	for n := 0; b.Loop(); n++ {
		m := store.Message{
			Account: account, SID: sid(store.ParseMessageSID(fmt.Sprintf("MM%032x", n))),
			From: fmt.Sprintf("+1401%07d", n), To: "+15017122661", DateCreated: created.Add(time.Duration(n) * time.Second),
		}
		if _, _, err := s.CreateMessage(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}

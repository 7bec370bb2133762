package faults_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"mmspipe/cmd/mmspipe/service/servicetest"

	"mmspipe/cmd/mmspipe/health"
	"mmspipe/ingest/simulate"
)

// settle waits until nothing is left to be done. A job that was in hand when its
// worker died comes back after a minute; one that met many faults waits the longer
// for its next try.
func (s *site) settle() {
	s.T.Helper()
	s.Within(3*time.Minute+5*s.length, "the queue is empty", func() bool { return s.queued() == 0 })
}

// queued is the number of jobs that are not done, -1 if the service does not
// know.
func (s *site) queued() int {
	s.T.Helper()
	if !s.ready() {
		return -1
	}
	response, err := http.Get(s.Admin + "/readyz")
	if err != nil {
		return -1
	}
	defer response.Body.Close()
	var r health.Report
	if json.NewDecoder(response.Body).Decode(&r) != nil || r.Streams == nil {
		return -1
	}
	return int(r.Streams.Jobs)
}

// account compares what was acknowledged with the feed, and every medium that the
// API serves with what its host served. What is not as promised fails the test.
func (s *site) account() row {
	s.T.Helper()
	r := row{acknowledged: len(s.load.acknowledged)}
	facts := map[fact]servicetest.Event{}
	for _, e := range s.Events() {
		f := fact{e.Type, e.Subject}
		if first, ok := facts[f]; ok {
			r.duplicates++
			s.T.Errorf("event %s of %s repeats event %s", e.ID, e.Subject, first.ID)
			continue
		}
		facts[f] = e
	}
	r.facts = len(facts)
	for _, sent := range s.load.acknowledged {
		if _, ok := facts[fact{"mms.received", sent.MessageSID}]; !ok {
			r.lost++
			s.T.Errorf("message %s was acknowledged and is lost", sent.MessageSID)
		}
		for i, medium := range s.load.messages[sent.MessageSID].Media {
			subject := sent.MessageSID + "/" + sent.MediaSIDs[i]
			_, stored := facts[fact{"mms.stored", subject}]
			failure, failed := facts[fact{"mms.failed", subject}]
			switch {
			case stored && !failed && s.served(sent, i, medium):
				r.stored++
			case failed && !stored && medium.Always == simulate.Gone && failure.Data["status"] == float64(http.StatusGone):
				r.failed++
			default:
				r.lost++
				s.T.Errorf("medium %s was acknowledged and is lost: stored %v, failed %v %v", subject, stored, failed, failure.Data)
			}
		}
	}
	return r
}

// fact is what an event tells. No fact may be told twice, under whatever id.
type fact struct{ kind, subject string }

// served tells whether the API serves a medium as its host did.
func (s *site) served(sent simulate.Sent, i int, medium simulate.Media) bool {
	s.T.Helper()
	response, body := s.Get(servicetest.MediaPath(s.T, sent, i))
	if response.StatusCode == http.StatusOK && bytes.Equal(body, medium.Data) {
		return true
	}
	s.T.Errorf("GET %s: %s with %d bytes of hash %s, want %d of %s", servicetest.MediaPath(s.T, sent, i),
		response.Status, len(body), servicetest.SHA256(body), len(medium.Data), servicetest.SHA256(medium.Data))
	return false
}

package stream_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmspipe/store"
	"mmspipe/store/storetest"
	"mmspipe/store/stream"

	"github.com/nats-io/nats.go"
)

// encoded is a line of a file of Jobs as they stand in a stream: what it means, and the
// message's subject, id and data.
type encoded struct{ meaning, subject, id, data string }

func readEncoded(t *testing.T, path string) (jobs []encoded) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 4 {
			t.Fatalf("%s: %q has %d fields", path, lines.Text(), len(fields))
		}
		jobs = append(jobs, encoded{fields[0], fields[1], fields[2], fields[3]})
	}
	return jobs
}

// meaning says what a Job asks for, by its accessors alone.
func meaning(t *testing.T, j stream.Job) string {
	t.Helper()
	switch j.Kind {
	case stream.Replay:
		return fmt.Sprintf("replay upstream=%v send=%v", j.AsksUpstream(), j.SendsAgain())
	case stream.Delete:
		d, err := j.Deletion()
		if err != nil {
			t.Errorf("deletion: %v", err)
		}
		return fmt.Sprintf("delete media=%d message=%v erase=%v", len(d.Media), d.Message, d.Erase)
	}
	form, err := j.Form()
	if err != nil {
		t.Errorf("form: %v", err)
	}
	return fmt.Sprintf("%s %s%s reply=%v", j.Kind, form.Get("MessageStatus"), form.Get("Body"), j.Reply())
}

// TestEncodings: Jobs that every version before this one has queued are read as what
// they were meant to be.
func TestEncodings(t *testing.T) {
	paths, err := filepath.Glob("testdata/jobs-*.tsv")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files of jobs: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			conn := storetest.StartNATS(t)
			s := open(t, conn, stream.Options{})
			for _, want := range readEncoded(t, path) {
				msg := nats.NewMsg(want.subject)
				msg.Header.Set(nats.MsgIdHdr, want.id)
				msg.Data = []byte(want.data)
				if err := conn.PublishMsg(msg); err != nil {
					t.Fatal(err)
				}
				d := next(t, s)
				if got := meaning(t, d.Job); got != want.meaning {
					t.Errorf("%s: %s, want %s", want.subject, got, want.meaning)
				}
				if err := d.Ack(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestRoundTrip: a Job is read from the queue as it was made.
func TestRoundTrip(t *testing.T) {
	s := open(t, storetest.StartNATS(t), stream.Options{})
	inbound := job(t, 1)
	form, err := inbound.Form()
	if err != nil {
		t.Fatal(err)
	}
	media, err := store.ParseMediaSID(fmt.Sprintf("ME%032x", 1))
	if err != nil {
		t.Fatal(err)
	}
	account, message := inbound.Account, inbound.Message
	jobs := map[string]stream.Job{
		"inbound text 1 reply=false":               inbound,
		"status sent reply=false":                  stream.NewStatus(account, message, "sent", map[string][]string{"MessageStatus": {"sent"}}),
		"outbound text 1 reply=false":              stream.NewOutbound(store.Message{Account: account, SID: message, Form: form}),
		"forward text 1 reply=true":                stream.NewForward(inbound, true),
		"forward text 1 reply=false":               stream.NewForwardAgain(account, message, "received", "a", "run", form),
		"replay upstream=false send=false":         stream.NewReplay(account, message, "run"),
		"replay upstream=true send=false":          stream.NewReplayFromUpstream(account, message, "up"),
		"replay upstream=false send=true":          stream.NewSendAgain(account, message, "run"),
		"delete media=1 message=false erase=false": stream.NewDeleteMedia(store.MediaKey{Account: account, Message: message, Media: media}),
		"delete media=1 message=true erase=false":  stream.NewDeleteMessage(account, message, []store.MediaSID{media}, false),
		"delete media=0 message=true erase=true":   stream.NewDeleteMessage(account, message, nil, true),
	}
	for want, j := range jobs {
		if duplicate, err := s.PublishJob(t.Context(), j); err != nil || duplicate {
			t.Fatalf("%s: %v, %v", want, duplicate, err)
		}
		if duplicate, err := s.PublishJob(t.Context(), j); err != nil || !duplicate {
			t.Errorf("%s again: %v, %v", want, duplicate, err)
		}
		d := next(t, s)
		if d.Job != j || meaning(t, d.Job) != want {
			t.Errorf("read %+v (%s), want %+v (%s)", d.Job, meaning(t, d.Job), j, want)
		}
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

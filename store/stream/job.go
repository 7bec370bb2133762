package stream

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"mmspipe/store"

	"github.com/nats-io/nats.go"
)

// Kind is what a Job asks for.
type Kind string

// The kinds of Jobs. Each has a constructor and accessors below.
const (
	Inbound  Kind = "inbound"  // store the media of a webhook's message
	Outbound Kind = "outbound" // prepare and send a message that a client posted
	Status   Kind = "status"   // note a status callback
	Replay   Kind = "replay"   // do the work of a message again
	Delete   Kind = "delete"   // finish the deletion of a medium or a message
	Forward  Kind = "forward"  // post a webhook on to an application
)

// Job is something to be done about one message. A constructor of its kind makes it,
// or [Streams.Next] reads it from the queue. Its form, its order and its id mean
// something to this file alone.
type Job struct {
	Kind    Kind
	Account store.AccountSID
	Message store.MessageSID

	order string // letters and digits; see [Delivery.First]
	id    string // a repeat within DuplicateWindow is not queued again
	data  string
	reply bool // of a Forward: the receiver posts it first
}

// Of a Replay's data.
const (
	fromUpstream = "upstream"
	sendAgain    = "send"
	cancel       = "cancel"
)

// replyHeader marks a Forward that the receiver posts itself before any worker may.
const replyHeader = "Mmspipe-Reply"

// NewInbound is the Job of an inbound message's webhook. The fingerprint is that of
// what makes two webhooks the same message: a repeat is queued once. The sender stands
// for who sent it, in letters and digits: messages of one sender have an order.
func NewInbound(account store.AccountSID, message store.MessageSID, fingerprint, sender string, form url.Values) Job {
	return Job{
		Kind: Inbound, Account: account, Message: message, order: sender,
		id: fmt.Sprintf("in:%s:%s:%s", account, message, fingerprint), data: form.Encode(),
	}
}

// NewStatus is the Job of a status callback about a message. The same status of a
// message is queued once, and those of one message have an order.
func NewStatus(account store.AccountSID, message store.MessageSID, status string, form url.Values) Job {
	return Job{
		Kind: Status, Account: account, Message: message, order: message.String(),
		id: fmt.Sprintf("st:%s:%s:%s", account, message, status), data: form.Encode(),
	}
}

// NewOutbound is the Job of a message that a client posted.
func NewOutbound(m store.Message) Job {
	return Job{Kind: Outbound, Account: m.Account, Message: m.SID, id: fmt.Sprintf("out:%s:%s", m.Account, m.SID), data: m.Form.Encode()}
}

// NewDeleteMedia is the Job that finishes the deletion of one medium.
func NewDeleteMedia(medium store.MediaKey) Job {
	return Job{
		Kind: Delete, Account: medium.Account, Message: medium.Message,
		id: fmt.Sprintf("del:%s:%s:%s", medium.Account, medium.Message, medium.Media), data: medium.Media.String(),
	}
}

// NewDeleteMessage is the Job that finishes the deletion of a message with these
// media, which its tombstone does not name any more. With erase the feed keeps nothing
// of it either.
func NewDeleteMessage(account store.AccountSID, message store.MessageSID, media []store.MediaSID, erase bool) Job {
	form := url.Values{"Erase": {strconv.FormatBool(erase)}}
	for _, sid := range media {
		form.Add("MediaSid", sid.String())
	}
	id := "del"
	if erase {
		id = "erase"
	}
	return Job{Kind: Delete, Account: account, Message: message, id: fmt.Sprintf("%s:%s:%s", id, account, message), data: form.Encode()}
}

// NewReplay is the Job that does the work of a message again: it verifies what is
// stored and tries again what failed. The run makes its id: the same run queues it
// once.
func NewReplay(account store.AccountSID, message store.MessageSID, run string) Job {
	return Job{Kind: Replay, Account: account, Message: message, id: fmt.Sprintf("replay:%s:%s:%s", account, message, run)}
}

// NewReplayFromUpstream is a [NewReplay] that also asks the provider which media the
// message has.
func NewReplayFromUpstream(account store.AccountSID, message store.MessageSID, run string) Job {
	job := NewReplay(account, message, run)
	job.data = fromUpstream
	return job
}

// NewSendAgain is a [NewReplay] that also sends an outgoing message again that was
// given up, even if the provider may have it.
func NewSendAgain(account store.AccountSID, message store.MessageSID, run string) Job {
	job := NewReplay(account, message, run)
	job.id, job.data = "send:"+job.id, sendAgain
	return job
}

// NewCancel is a [NewReplay] that cancels an outgoing message that is scheduled, and tells
// so.
func NewCancel(account store.AccountSID, message store.MessageSID) Job {
	job := NewReplay(account, message, "")
	job.id, job.data = fmt.Sprintf("cancel:%s:%s", account, message), cancel
	return job
}

// NewForward is the Job that posts a webhook on. Job is the webhook's own, of kind
// Inbound or Status, whose order it has. With reply the receiver posts it first; see
// [Job.Reply].
func NewForward(job Job, reply bool) Job {
	return Job{Kind: Forward, Account: job.Account, Message: job.Message, order: job.order, id: "fwd:" + job.id, data: job.data, reply: reply}
}

// NewForwardAgain is the Job that posts a webhook again that was given up: by its name
// among the message's forwards. The run makes its id, as in [NewReplay].
func NewForwardAgain(account store.AccountSID, message store.MessageSID, name, order, run string, form url.Values) Job {
	return Job{
		Kind: Forward, Account: account, Message: message, order: order,
		id: fmt.Sprintf("fwd:replay:%s:%s:%s:%s", account, message, name, run), data: form.Encode(),
	}
}

// ErrUnreadable is wrapped by the error of reading what a Job holds, where no version of
// this program can have queued it.
var ErrUnreadable = errors.New("the job cannot be read")

// Unreadable is an error that wraps [ErrUnreadable] and the cause.
func (j Job) Unreadable(cause error) error {
	return fmt.Errorf("%s job of %s: %w: %w", j.Kind, j.Message, ErrUnreadable, cause)
}

// Form is what the webhook said, or what a client posted: of an Inbound, Status,
// Forward or Outbound Job.
func (j Job) Form() (url.Values, error) {
	form, err := url.ParseQuery(j.data)
	if err != nil {
		return nil, j.Unreadable(err)
	}
	return form, nil
}

// Data is all that the Job holds, for whom it is unreadable.
func (j Job) Data() string { return j.data }

// Deletion is what a Delete Job is about.
type Deletion struct {
	Media   []store.MediaSID
	Message bool // the message itself goes with them
	Erase   bool // and what the feed has of it
}

// Deletion returns what a Delete Job is about.
func (j Job) Deletion() (Deletion, error) {
	if sid, err := store.ParseMediaSID(j.data); err == nil {
		return Deletion{Media: []store.MediaSID{sid}}, nil
	}
	form, err := j.Form()
	if err != nil {
		return Deletion{}, err
	}
	d := Deletion{Message: true, Erase: form.Get("Erase") == "true"}
	for _, text := range form["MediaSid"] {
		sid, err := store.ParseMediaSID(text)
		if err != nil {
			return Deletion{}, j.Unreadable(err)
		}
		d.Media = append(d.Media, sid)
	}
	return d, nil
}

// AsksUpstream tells whether a Replay is to ask the provider which media there are.
func (j Job) AsksUpstream() bool { return j.Kind == Replay && j.data == fromUpstream }

// SendsAgain tells whether a Replay is to send an outgoing message again.
func (j Job) SendsAgain() bool { return j.Kind == Replay && j.data == sendAgain }

// Cancels tells whether a Replay is to cancel an outgoing message.
func (j Job) Cancels() bool { return j.Kind == Replay && j.data == cancel }

// Reply tells whether the receiver posts a Forward itself, so that the application's
// answer reaches Twilio. Workers leave it alone for as long as that may take.
func (j Job) Reply() bool { return j.reply }

// Token stands for what the Job is about, in the form of the provider's idempotency
// tokens: it is the same for every Job that would be a repeat of this one.
func (j Job) Token() string {
	sum := sha256.Sum256([]byte(j.id))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// subject is mms.job.<kind>.<account>.<message>, and the order behind it if any.
func (j Job) subject() string {
	subject := fmt.Sprintf("mms.job.%s.%s.%s", j.Kind, j.Account, j.Message)
	if j.order != "" {
		subject += "." + j.order
	}
	return subject
}

// encode makes the message that stands for the Job in the stream.
func (j Job) encode() *nats.Msg {
	msg := nats.NewMsg(j.subject())
	msg.Header.Set(nats.MsgIdHdr, j.id)
	msg.Header.Set(nats.ExpectedStreamHdr, jobsName)
	if j.reply {
		msg.Header.Set(replyHeader, "true")
	}
	msg.Data = []byte(j.data)
	return msg
}

// decode is the reverse of encode.
func decode(subject string, header nats.Header, data []byte) (Job, error) {
	parts := strings.Split(subject, ".")
	if len(parts) < 5 || len(parts) > 6 || parts[0] != "mms" || parts[1] != "job" {
		return Job{}, fmt.Errorf("%q is not the subject of a job", subject)
	}
	account, err := store.ParseAccountSID(parts[3])
	if err != nil {
		return Job{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	message, err := store.ParseMessageSID(parts[4])
	if err != nil {
		return Job{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	reply, _ := strconv.ParseBool(header.Get(replyHeader))
	job := Job{Kind: Kind(parts[2]), Account: account, Message: message, id: header.Get(nats.MsgIdHdr), data: string(data), reply: reply}
	if len(parts) == 6 {
		job.order = parts[5]
	}
	return job, nil
}

// Package doctor finds out what is wrong with a set-up, and why the signature of a
// webhook does not match. Everything it says names what to do. It changes nothing,
// except that it makes a bucket that does not exist.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"mmspipe/cmd/mmspipe/operator"
	"mmspipe/cmd/mmspipe/service"
	"mmspipe/ingest/upstream"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

const (
	// timeout is how long each request may take.
	timeout = 10 * time.Second

	// clockSkew is how far the clock may be off: signed links and presigned URLs
	// count in minutes.
	clockSkew = 30 * time.Second
)

// Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what is wrong and what to do, or what is right
}

// Check examines the set-up that a configuration describes, from outside, and yields
// what it finds, one thing after another. Find returns a client of the service that
// runs with it, or an error that says how to name one.
func Check(ctx context.Context, c service.Config, find func() (*operator.Client, error)) iter.Seq[Finding] {
	d := doctor{c, find, &http.Client{Timeout: timeout}}
	return func(yield func(Finding) bool) {
		for _, check := range []func(context.Context) []Finding{d.settings, d.disk, d.bucket, d.service, d.public, d.clock, d.accounts} {
			for _, f := range check(ctx) {
				if !yield(f) {
					return
				}
			}
		}
	}
}

type doctor struct {
	service.Config
	find   func() (*operator.Client, error)
	client *http.Client
}

// found is a finding that is an error, or fine.
func found(check string, err error, fine string) Finding {
	if err != nil {
		return Finding{check, false, err.Error()}
	}
	return Finding{check, true, fine}
}

func (d doctor) settings(context.Context) []Finding {
	return []Finding{{"settings", true, fmt.Sprintf("%s, media %s, profile %s", english.Plural(len(d.Accounts), "account", ""), d.MediaAuth, d.Profile.Name)}}
}

func (d doctor) disk(context.Context) []Finding {
	free, _, err := service.Space(d.Data)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s does not exist: mmspipe serve makes it; or set --data", d.Data)
	}
	if err == nil && free < service.LowSpace {
		err = fmt.Errorf("%s has only %s free: webhooks may be answered 503 soon", d.Data, humanize.IBytes(uint64(free)))
	}
	return []Finding{found("disk", err, humanize.IBytes(uint64(max(free, 0)))+" free in "+d.Data)}
}

// bucket opens an object store as serve does, which tests whether it honours
// conditions.
func (d doctor) bucket(ctx context.Context) []Finding {
	if d.S3 == nil {
		return []Finding{{"bucket", true, "a directory in " + d.Data}}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := store.OpenMinIO(ctx, *d.S3)
	return []Finding{found("bucket", err, fmt.Sprintf("%s at %s, conditions are honoured", d.S3.Bucket, d.S3.Endpoint))}
}

// service asks the running service what it knows of its queue.
func (d doctor) service(ctx context.Context) []Finding {
	running, err := d.find()
	if err != nil {
		return []Finding{{"service", false, err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := running.Ready(ctx)
	if err != nil {
		return []Finding{{"service", false, err.Error()}}
	}
	var notReady error
	if !r.Ready {
		notReady = errors.New("not ready: " + r.NotReady())
	}
	var lazy error
	if !r.Durability.Class.Durable() {
		lazy = fmt.Errorf("class %s, %s: what is acknowledged may not survive power loss", r.Durability.Class, r.Durability.Reason)
	}
	return []Finding{found("service", notReady, "ready at "+running.Address), found("queue", lazy, fmt.Sprintf("class %s, %s", r.Durability.Class, r.Durability.Reason))}
}

func (d doctor) get(ctx context.Context, address string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return d.client.Do(request)
}

// origin is what signatures are checked against.
func (d doctor) origin() *url.URL {
	if d.PublicURL != nil {
		return d.PublicURL
	}
	return &url.URL{Scheme: "http", Host: d.Listen}
}

// public asks under the public URL, as Twilio does, as far as that is possible from
// here.
func (d doctor) public(ctx context.Context) []Finding {
	address := d.origin().JoinPath("healthz").String()
	response, err := d.get(ctx, address)
	if err != nil {
		return []Finding{{"public URL", false, fmt.Sprintf("%s does not answer: %v; set MMSPIPE_PUBLIC_URL to what Twilio calls", address, errors.Unwrap(err))}}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err == nil && (response.StatusCode != http.StatusOK || string(text) != "ok\n") {
		err = fmt.Errorf("%s answers %d: something else is there", address, response.StatusCode)
	}
	return []Finding{found("public URL", err, d.origin().String()+" leads here")}
}

// clock compares the clock with the provider's.
func (d doctor) clock(ctx context.Context) []Finding {
	response, err := d.get(ctx, d.Upstream.String())
	if err != nil {
		return []Finding{{"upstream", false, fmt.Sprintf("%s does not answer: %v", d.Upstream, errors.Unwrap(err))}}
	}
	defer response.Body.Close()
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return []Finding{{"clock", false, fmt.Sprintf("%s does not tell the time", d.Upstream)}}
	}
	if skew := time.Since(theirs).Abs(); skew > clockSkew {
		err = fmt.Errorf("it is %v off: links expire too early or too late", skew.Round(time.Second))
	}
	return []Finding{found("clock", err, "as the provider's")}
}

// accounts tries each account's credentials and checks where the webhooks of its
// numbers go.
func (d doctor) accounts(ctx context.Context) []Finding {
	client := upstream.New(d.Upstream, d.Accounts)
	want := service.WebhookURL(d.origin()).String()
	var all []Finding
	for account := range d.Accounts {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		a, err := client.Account(ctx, account)
		if err == nil && a.Status != "active" {
			err = fmt.Errorf("the account is %s", a.Status)
		}
		all = append(all, found("account", err, account.String()+": the provider's API accepts its token"))
		if err == nil {
			all = append(all, d.numbers(ctx, client, account, want)...)
		}
		cancel()
	}
	return all
}

func (d doctor) numbers(ctx context.Context, client *upstream.Client, account store.AccountSID, want string) []Finding {
	numbers, err := client.Numbers(ctx, account)
	if err != nil {
		return []Finding{{"webhook", false, err.Error()}}
	}
	var all []Finding
	for _, n := range numbers {
		address, fragment, _ := strings.Cut(n.SMSURL, "#")
		var wrong error
		switch {
		case address != want:
			wrong = fmt.Errorf("%s: Twilio calls %q, but this service is %s%s", n.PhoneNumber, n.SMSURL, want, service.RetryFragment)
		case fragment == "":
			wrong = fmt.Errorf("%s: Twilio does not retry what is answered 503; append %s to the URL", n.PhoneNumber, service.RetryFragment)
		}
		all = append(all, found("webhook", wrong, n.PhoneNumber+": "+n.SMSURL))
	}
	return all
}

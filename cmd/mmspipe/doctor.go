package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/upstream"
	"mmspipe/store"

	"github.com/dustin/go-humanize"
)

type doctorCommand struct {
	settings `embed:""`
	JSON     bool   `help:"Print JSON."`
	File     string `arg:"" optional:"" help:"A captured webhook: the raw HTTP request, with its headers and its body."`
}

// Help is the long form of the subcommand's help.
func (doctorCommand) Help() string {
	return "Run it with the settings of mmspipe serve. With a captured webhook it tells which form of the URL and which token its signature was made with, so that nobody has to turn the check off. Without one it checks the set-up: each line says what is wrong and what to do. The exit status is 1 if anything is."
}

// finding is what the doctor says of one thing.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

const (
	// doctorTimeout is how long each look outside may take.
	doctorTimeout = 10 * time.Second

	// clockSkew is how far the clock may be off: signed links and presigned URLs
	// count in minutes.
	clockSkew = 30 * time.Second
)

// Run examines a captured webhook or the set-up.
func (cmd doctorCommand) Run(ctx context.Context, std stdio) error {
	c, err := cmd.parse()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if cmd.File != "" {
		hook, err := readCaptured(cmd.File)
		if err != nil {
			return err
		}
		text, err := diagnose(hook, c)
		if err != nil {
			return err
		}
		fmt.Fprintln(std.out, text)
		return nil
	}
	wrong := 0
	d := doctor{c, &http.Client{Timeout: doctorTimeout}}
	for _, check := range []func(context.Context) []finding{d.settings, d.disk, d.bucket, d.service, d.public, d.clock, d.accounts} {
		for _, f := range check(ctx) {
			if !f.OK {
				wrong++
			}
			if err := f.print(std.out, cmd.JSON); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d things want mending", wrong)
	}
	return nil
}

func (f finding) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	mark := "ok  "
	if !f.OK {
		mark = "FAIL"
	}
	_, err := fmt.Fprintf(w, "%s  %-12s %s\n", mark, f.Check, f.Detail)
	return err
}

// doctor examines the set-up that settings describe, from outside.
type doctor struct {
	config
	client *http.Client
}

// found is a finding that is an error, or fine.
func found(check string, err error, fine string) finding {
	if err != nil {
		return finding{check, false, err.Error()}
	}
	return finding{check, true, fine}
}

func (d doctor) settings(context.Context) []finding {
	return []finding{{"settings", true, fmt.Sprintf("%d accounts, media %s, profile %s", len(d.config.accounts), d.mediaAuth, d.profile.Name)}}
}

func (d doctor) disk(context.Context) []finding {
	free, _, err := space(d.data)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s does not exist: mmspipe serve makes it, or --data is another", d.data)
	}
	if err == nil && free < floorMost {
		err = fmt.Errorf("%s has only %s free: webhooks may be answered 503 soon", d.data, humanize.IBytes(uint64(free)))
	}
	return []finding{found("disk", err, humanize.IBytes(uint64(max(free, 0)))+" free in "+d.data)}
}

// bucket opens an object store as serve does, which tries whether it honours
// conditions.
func (d doctor) bucket(ctx context.Context) []finding {
	if d.s3 == nil {
		return []finding{{"bucket", true, "a directory in " + d.data}}
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	_, err := store.OpenMinIO(ctx, *d.s3)
	return []finding{found("bucket", err, fmt.Sprintf("%s at %s, conditions are honoured", d.s3.Bucket, d.s3.Endpoint))}
}

// service asks the running service what it knows of its queue.
func (d doctor) service(ctx context.Context) []finding {
	address := d.adminListen
	if text, err := os.ReadFile(filepath.Join(d.data, addressFile)); err == nil {
		address = strings.TrimSpace(string(text))
	}
	var r report
	response, err := d.get(ctx, "http://"+address+"/readyz")
	if err != nil {
		return []finding{{"service", false, fmt.Sprintf("no answer at %s (--admin-listen): is mmspipe serve running?", address)}}
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return []finding{{"service", false, fmt.Sprintf("%s is not the admin listener of mmspipe", address)}}
	}
	var notReady error
	if !r.Ready {
		notReady = fmt.Errorf("not ready: %s", strings.Join(strings.Fields(r.Queue.Error+" "+r.Objects.Error+" "+r.Disk.Error), " "))
	}
	var lazy error
	if !r.Durability.Class.Durable() {
		lazy = fmt.Errorf("class %s, %s: what is acknowledged may not survive power loss", r.Durability.Class, r.Durability.Reason)
	}
	return []finding{found("service", notReady, "ready at "+address), found("queue", lazy, fmt.Sprintf("class %s, %s", r.Durability.Class, r.Durability.Reason))}
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
	if d.publicURL != nil {
		return d.publicURL
	}
	return &url.URL{Scheme: "http", Host: d.listen}
}

// public goes the way that Twilio goes, as far as that can be gone from here.
func (d doctor) public(ctx context.Context) []finding {
	address := d.origin().JoinPath("healthz").String()
	response, err := d.get(ctx, address)
	if err != nil {
		return []finding{{"public URL", false, fmt.Sprintf("%s does not answer: %v; set MMSPIPE_PUBLIC_URL to what Twilio calls", address, errors.Unwrap(err))}}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err == nil && (response.StatusCode != http.StatusOK || string(text) != "ok\n") {
		err = fmt.Errorf("%s answers %d: something else is there", address, response.StatusCode)
	}
	return []finding{found("public URL", err, d.origin().String()+" leads here")}
}

// clock compares with the provider's.
func (d doctor) clock(ctx context.Context) []finding {
	response, err := d.get(ctx, d.upstream.String())
	if err != nil {
		return []finding{{"upstream", false, fmt.Sprintf("%s does not answer: %v", d.upstream, errors.Unwrap(err))}}
	}
	defer response.Body.Close()
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return []finding{{"clock", false, fmt.Sprintf("%s tells no time", d.upstream)}}
	}
	if skew := time.Since(theirs).Abs(); skew > clockSkew {
		err = fmt.Errorf("it is %v off: links expire too early or too late", skew.Round(time.Second))
	}
	return []finding{found("clock", err, "as the provider's")}
}

// accounts tries each account's credentials and looks where its numbers' webhooks
// go.
func (d doctor) accounts(ctx context.Context) []finding {
	client := upstream.New(d.upstream, d.config.accounts)
	want := d.origin().JoinPath("webhooks/twilio").String()
	var all []finding
	for account := range d.config.accounts {
		ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
		a, err := client.Account(ctx, account)
		if err == nil && a.Status != "active" {
			err = fmt.Errorf("the account is %s", a.Status)
		}
		all = append(all, found("account", err, account.String()+": its token opens the provider's API"))
		if err == nil {
			all = append(all, d.numbers(ctx, client, account, want)...)
		}
		cancel()
	}
	return all
}

func (d doctor) numbers(ctx context.Context, client *upstream.Client, account store.AccountSID, want string) []finding {
	numbers, err := client.Numbers(ctx, account)
	if err != nil {
		return []finding{{"webhook", false, err.Error()}}
	}
	var all []finding
	for _, n := range numbers {
		address, fragment, _ := strings.Cut(n.SMSURL, "#")
		var wrong error
		switch {
		case address != want:
			wrong = fmt.Errorf("%s: Twilio calls %q, and this service is %s%s", n.PhoneNumber, n.SMSURL, want, ingest.RetryFragment)
		case fragment == "":
			wrong = fmt.Errorf("%s: Twilio does not retry what is answered 503; append %s to the URL", n.PhoneNumber, ingest.RetryFragment)
		}
		all = append(all, found("webhook", wrong, n.PhoneNumber+": "+n.SMSURL))
	}
	return all
}

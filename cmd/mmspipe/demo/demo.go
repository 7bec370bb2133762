// Package demo runs the whole service beside a simulated Twilio, sends it messages and
// tells from its feed what becomes of them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/cmd/mmspipe/settings"
	"mmspipe/ingest/simulate"

	"github.com/rs/zerolog"
)

const (
	account = "AC00000000000000000000000000000001"
	token   = "demotoken"

	// patience is how long a message may take.
	patience = time.Minute
)

// Options say what is shown.
type Options struct {
	Files  []string       // a message is sent of each; if there are none, pictures are drawn
	Once   bool           // end when the last message is done
	Data   string         // data directory, which is kept; a temporary one is used and removed if empty
	Listen string         // public listener, HOST:PORT
	Log    zerolog.Logger // of the service
}

// Run tells on out what becomes of each message. It returns when ctx ends, without an
// error, or with Once when all messages are done. The error says which are not stored.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	messages, err := readMessages(o.Files)
	if err != nil {
		return err
	}
	if o.Data == "" {
		if o.Data, err = os.MkdirTemp("", "mmspipe-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.Data)
	}
	twilio, err := simulate.Start(simulate.Options{Account: account, Token: token})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, twilio.Close()) }()
	config, err := configure(o, twilio)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready, served := make(chan service.Running, 1), make(chan error, 1)
	go func() {
		served <- service.Run(ctx, config, o.Log, func(r service.Running) { ready <- r })
	}()
	select {
	case r := <-ready:
		fmt.Fprintf(out, "mmspipe is at %s, its data in %s.\nA simulated Twilio at %s hosts the media and signs the webhooks.\n",
			r.PublicURL, o.Data, twilio.Origin())
		twilio.SetWebhook(r.Webhook)
		err = show(ctx, r.PublicURL, twilio, messages, out)
	case err := <-served:
		return err
	}
	if err == nil && !o.Once {
		fmt.Fprintf(out, "\nEverything is stored. The URLs can be opened until Ctrl-C.\n")
		<-ctx.Done()
	}
	if ctx.Err() != nil { // Ctrl-C in the middle is a clean end too
		err = nil
	}
	stop()
	return errors.Join(err, <-served)
}

// configure is for a service with one account, whose provider is the simulated Twilio.
func configure(o Options, twilio *simulate.Simulator) (service.Config, error) {
	cdn, err := url.Parse(twilio.CDN())
	if err != nil {
		return service.Config{}, err
	}
	s, err := settings.From(
		"--listen="+o.Listen, "--admin-listen=127.0.0.1:0", "--data="+o.Data,
		"--accounts="+account+":"+token, "--upstream="+twilio.Origin(),
		"--fetch-allow="+cdn.Hostname()+"/32:"+cdn.Port(),
	)
	if err != nil {
		return service.Config{}, err
	}
	c, _, err := s.Parse()
	return c, err
}

// readMessages makes a message of each file that is given, or of each drawn picture.
func readMessages(files []string) ([]simulate.Message, error) {
	var pictures []picture
	var err error
	if len(files) == 0 {
		pictures, err = drawPictures()
	}
	for _, name := range files {
		var data []byte
		if data, err = os.ReadFile(name); err != nil {
			break
		}
		pictures = append(pictures, picture{filepath.Base(name), data})
	}
	var messages []simulate.Message
	for _, p := range pictures {
		messages = append(messages, simulate.Message{
			From: "+14155550100", To: "+14155550199", Body: p.name,
			Media: []simulate.Media{{Data: p.data, ContentType: http.DetectContentType(p.data)}},
		})
	}
	return messages, err
}

// show sends one message after another and tells what the feed says of each, until
// its media are stored or given up. All are sent; the error says which are not stored.
func show(ctx context.Context, origin *url.URL, twilio *simulate.Simulator, messages []simulate.Message, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	feed, err := follow(ctx, origin, time.Now())
	if err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		for range feed { // it is closed when its reader has ended
		}
	}()
	story := story{out, origin}
	var failures []error
	for _, m := range messages {
		began := time.Now()
		sent, err := twilio.Send(ctx, m)
		if err == nil && sent.Status != http.StatusOK {
			err = fmt.Errorf("the webhook was answered %d", sent.Status)
		}
		if err == nil {
			story.received(sent.MessageSID, time.Since(began))
			err = story.tell(ctx, feed, sent)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s is not stored: %w", m.Body, err))
		}
	}
	return errors.Join(failures...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mmspipe/ingest/simulate"

	"github.com/rs/zerolog"
)

const (
	demoAccount = "AC00000000000000000000000000000001"
	demoToken   = "demotoken"

	// demoPatience is how long a message of the demo may take.
	demoPatience = time.Minute
)

type demoCommand struct {
	Once   bool     `help:"Exit when the last message is stored: 0 if all are, 1 if any is not."`
	Data   string   `type:"path" placeholder:"DIR" help:"Data directory, which is kept. A temporary one is used and removed unless set."`
	Listen string   `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Public listener. A free port unless set."`
	Files  []string `arg:"" optional:"" type:"existingfile" help:"Pictures or other media to send, a message each. testdata/images unless given."`
}

// Help is the long form of the subcommand's help.
func (demoCommand) Help() string {
	return `The whole service starts with an embedded NATS and a directory store. Beside it a simulated Twilio hosts the media and sends signed webhooks. Each message's way is shown as it happens; the URLs can be opened until Ctrl-C.`
}

// Run runs the service beside a simulated Twilio.
func (cmd demoCommand) Run(ctx context.Context, std stdio) (err error) {
	messages, err := demoMessages(cmd.Files)
	if err != nil {
		return err
	}
	if cmd.Data == "" {
		if cmd.Data, err = os.MkdirTemp("", "mmspipe-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(cmd.Data)
	}
	twilio, err := simulate.Start(simulate.Options{Account: demoAccount, Token: demoToken})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, twilio.Close()) }()
	config, err := cmd.config(twilio)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready, served := make(chan *service, 1), make(chan error, 1)
	show := &narrator{out: std.out}
	go func() {
		served <- serve(ctx, config, zerolog.New(show), func(s *service) { ready <- s })
	}()
	select {
	case s := <-ready:
		show.begin(s)
		err = sendDemo(ctx, s, twilio, messages)
	case err := <-served:
		return err
	}
	if err == nil && !cmd.Once {
		fmt.Fprintf(std.out, "\nEverything is stored. The URLs can be opened until Ctrl-C.\n")
		<-ctx.Done()
	}
	if ctx.Err() != nil { // Ctrl-C in the middle is a clean end too
		err = nil
	}
	stop()
	return errors.Join(err, <-served)
}

// config is that of a service which knows one account, and the simulated Twilio
// as its upstream.
func (cmd demoCommand) config(twilio *simulate.Simulator) (config, error) {
	cdn, err := url.Parse(twilio.CDN())
	if err != nil {
		return config{}, err
	}
	s, err := settingsFrom(
		"--listen="+cmd.Listen, "--admin-listen=127.0.0.1:0", "--data="+cmd.Data,
		"--accounts="+demoAccount+":"+demoToken, "--upstream="+twilio.Origin(),
		"--fetch-allow="+cdn.Hostname()+"/32:"+cdn.Port(),
	)
	if err != nil {
		return config{}, err
	}
	return s.parse()
}

// demoMessages makes a message of each file given, or of the project's own
// pictures.
func demoMessages(files []string) ([]simulate.Message, error) {
	if len(files) == 0 {
		files, _ = filepath.Glob("testdata/images/*.*") // an error is only of the pattern
		files = slices.DeleteFunc(files, func(name string) bool { return filepath.Ext(name) == ".txt" })
	}
	if len(files) == 0 {
		return nil, errors.New("there is no testdata/images here: run the demo in the project's directory, or name files to send")
	}
	var messages []simulate.Message
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		messages = append(messages, simulate.Message{
			From: "+14155550100", To: "+14155550199", Body: filepath.Base(name),
			Media: []simulate.Media{{Data: data, ContentType: http.DetectContentType(data)}},
		})
	}
	return messages, nil
}

// sendDemo sends one message after another and waits for the media of each. All
// are sent; the error says which are not stored.
func sendDemo(ctx context.Context, s *service, twilio *simulate.Simulator, messages []simulate.Message) error {
	twilio.SetWebhook(s.webhookURL())
	var failures []error
	for _, m := range messages {
		sent, err := twilio.Send(ctx, m)
		if err == nil && sent.Status != http.StatusOK {
			err = fmt.Errorf("the webhook was answered %d", sent.Status)
		}
		if err == nil {
			err = awaitMedia(ctx, s, sent)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s is not stored: %w", m.Body, err))
		}
	}
	return errors.Join(failures...)
}

// awaitMedia polls the service's API until it serves every medium of a message.
func awaitMedia(ctx context.Context, s *service, sent simulate.Sent) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, address := range sent.MediaURLs {
		upstream, err := url.Parse(address)
		if err != nil {
			return err
		}
		for here := s.publicURL.JoinPath(upstream.Path).String(); !served(ctx, here); {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	}
	return nil
}

// served tells whether a HEAD of the address is answered 200.
func served(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"mmspipe/ingest/simulate"
)

type simulateCommand struct {
	Webhook     string   `required:"" placeholder:"URL" help:"Where webhooks are sent. Its fragment may say how to retry, such as #rc=5&rp=all."`
	Account     string   `default:"AC00000000000000000000000000000001" placeholder:"AC…" help:"The account's SID."`
	Token       string   `default:"simulated" help:"The account's auth token: signs webhooks and opens media."`
	Listen      string   `default:"127.0.0.1:8090" placeholder:"HOST:PORT" help:"Where messages and their media are, as at the provider's API."`
	ListenCDN   string   `name:"listen-cdn" default:"127.0.0.1:8091" placeholder:"HOST:PORT" help:"Where the API redirects to."`
	Count       int      `default:"1" help:"Messages to send. With 0 only the API is played."`
	Rate        float64  `help:"Messages a second at most; as fast as possible unless set."`
	Concurrency int      `default:"1" help:"Webhooks under way at once."`
	Fault       []string `placeholder:"NAME" help:"What happens to the first requests for each medium, one each: 401, 403, 404, 410, 429, 500, 503, reset, stall, silent, drip, truncate, wrong-type, endless, redirect-loop or redirect:URL."`
	Forged      bool     `help:"Sign with a wrong token."`
	Files       []string `arg:"" optional:"" type:"existingfile" help:"The media of each message. Without any, messages are text alone."`
}

// Help is the long form of the subcommand's help.
func (simulateCommand) Help() string {
	return `The handler under test must use the API's address as the provider's, and must be allowed to fetch from both addresses: for mmspipe serve, --upstream=http://127.0.0.1:8090 --fetch-allow=127.0.0.1/32:8091. Media stay until Ctrl-C. With --count=0 nothing is sent: the API starts without messages and takes them as Twilio does; it reads their media links and calls their status back. The exit status is 0 if every webhook was answered 2xx.`
}

// Run sends messages and hosts their media until ctx ends.
func (cmd simulateCommand) Run(ctx context.Context, std stdio) (err error) {
	media, err := cmd.media()
	if err != nil {
		return err
	}
	twilio, err := simulate.Start(simulate.Options{
		Account: cmd.Account, Token: cmd.Token, Webhook: cmd.Webhook, Listen: cmd.Listen, ListenCDN: cmd.ListenCDN,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, twilio.Close()) }()
	result := twilio.Run(ctx, simulate.Load{
		Message: func(i int) simulate.Message {
			return simulate.Message{Body: fmt.Sprintf("simulated message %d", i+1), Media: media, Forged: cmd.Forged}
		},
		Count: cmd.Count, Concurrency: cmd.Concurrency, Rate: cmd.Rate,
	})
	fmt.Fprintf(std.out, "%d of %s answered in %v, median %v, 99%% %v\n", len(result.Sent), count(cmd.Count, "webhook"),
		result.Elapsed.Round(time.Millisecond), result.Latency(0.5).Round(10*time.Microsecond), result.Latency(0.99).Round(10*time.Microsecond))
	refused := cmd.Count - len(result.Sent)
	for status, n := range result.Statuses {
		fmt.Fprintf(std.out, "  %d %s: %d\n", status, http.StatusText(status), n)
		if status/100 != 2 {
			refused += n
		}
	}
	if len(result.Errors) > 0 {
		return result.Errors[0]
	}
	if (len(media) > 0 || cmd.Count == 0) && ctx.Err() == nil {
		fmt.Fprintf(std.err, "mmspipe: the API and its media are at %s until Ctrl-C\n", twilio.Origin())
		<-ctx.Done()
	}
	if refused > 0 {
		return fmt.Errorf("%d of %s not answered 2xx", refused, count(cmd.Count, "webhook"))
	}
	return nil
}

func (cmd simulateCommand) media() ([]simulate.Media, error) {
	if u, err := url.Parse(cmd.Webhook); err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: --webhook: %q is not a URL", errUsage, cmd.Webhook)
	}
	var faults []simulate.Fault
	for _, name := range cmd.Fault {
		fault, err := simulate.ParseFault(name)
		if err != nil {
			return nil, fmt.Errorf("%w: --fault: %w", errUsage, err)
		}
		faults = append(faults, fault)
	}
	var media []simulate.Media
	for _, name := range cmd.Files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		media = append(media, simulate.Media{Data: data, ContentType: http.DetectContentType(data), Faults: faults})
	}
	return media, nil
}

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
	Token       string   `default:"simulated" placeholder:"TOKEN" help:"The account's auth token. It signs webhooks and opens media."`
	Listen      string   `default:"127.0.0.1:8090" placeholder:"HOST:PORT" help:"Where messages and their media are, as at the provider's API."`
	ListenCDN   string   `name:"listen-cdn" default:"127.0.0.1:8091" placeholder:"HOST:PORT" help:"Where the API redirects to."`
	Count       int      `default:"1" placeholder:"N" help:"How many messages to send. With 0 nothing is sent, and only the API is played."`
	Rate        float64  `placeholder:"N" help:"How many messages a second to send at most. As fast as possible unless set."`
	Concurrency int      `default:"1" placeholder:"N" help:"How many webhooks are under way at once."`
	Fault       []string `placeholder:"NAME" help:"What happens to the first requests for each medium, one fault for each request: 401, 403, 404, 410, 429, 500, 503, reset, stall, silent, drip, truncate, wrong-type, endless, redirect-loop or redirect:URL."`
	Forged      bool     `help:"Sign with a wrong token."`
	Files       []string `arg:"" optional:"" type:"existingfile" help:"The media of each message. Without any, messages have only a text."`
}

// Help is the long form of the subcommand's help.
func (simulateCommand) Help() string {
	return `Tell the handler that the provider's API is at the address of --listen, and allow it to download from both addresses. For mmspipe serve that is: --upstream=http://127.0.0.1:8090 --fetch-allow=127.0.0.1/32:8091. If nothing listens at the webhook's URL yet, this command waits for it. Media stay until Ctrl-C. With --count=0 the API starts without messages and takes them as Twilio does: it reads their media links and calls their status back. The exit status is 0 if every webhook was answered 2xx.`
}

// handlerWait is how long the handler of webhooks may take to listen: services are
// started side by side.
const handlerWait = 30 * time.Second

// Run sends messages and hosts their media until ctx ends.
func (cmd simulateCommand) Run(ctx context.Context, std stdio) (err error) {
	handler, err := url.Parse(cmd.Webhook)
	if err != nil || handler.Host == "" {
		return fmt.Errorf("%w: --webhook: %q is not a URL", errUsage, cmd.Webhook)
	}
	if cmd.Count < 0 {
		return fmt.Errorf("%w: --count: %d is less than 0", errUsage, cmd.Count)
	}
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
	refused := 0
	if cmd.Count > 0 {
		if err := awaitHandler(ctx, handler, std); ctx.Err() != nil {
			return nil // Ctrl-C while waiting
		} else if err != nil {
			return err
		}
		if refused, err = cmd.send(ctx, twilio, media, std); err != nil {
			return err
		}
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

// send sends all messages, prints how they were answered, and returns how many were
// not answered 2xx.
func (cmd simulateCommand) send(ctx context.Context, twilio *simulate.Simulator, media []simulate.Media, std stdio) (refused int, err error) {
	result := twilio.Run(ctx, simulate.Load{
		Message: func(i int) simulate.Message {
			return simulate.Message{Body: fmt.Sprintf("simulated message %d", i+1), Media: media, Forged: cmd.Forged}
		},
		Count: cmd.Count, Concurrency: cmd.Concurrency, Rate: cmd.Rate,
	})
	fmt.Fprintf(std.out, "%d of %s answered in %v", len(result.Sent), count(cmd.Count, "webhook"), result.Elapsed.Round(time.Millisecond))
	if len(result.Sent) > 0 {
		fmt.Fprintf(std.out, ", median %v, 99%% %v", result.Latency(0.5).Round(10*time.Microsecond), result.Latency(0.99).Round(10*time.Microsecond))
	}
	fmt.Fprintln(std.out)
	refused = cmd.Count - len(result.Sent)
	for status, n := range result.Statuses {
		fmt.Fprintf(std.out, "  %d %s: %s\n", status, http.StatusText(status), count(n, "webhook"))
		if status/100 != 2 {
			refused += n
		}
	}
	if len(result.Errors) > 0 {
		return refused, result.Errors[0]
	}
	return refused, nil
}

// awaitHandler waits until something listens where webhooks are sent, and says so if it
// has to wait.
func awaitHandler(ctx context.Context, handler *url.URL, std stdio) error {
	ctx, cancel := context.WithTimeout(ctx, handlerWait)
	defer cancel()
	err := simulate.AwaitHandler(ctx, handler, func(address string) {
		fmt.Fprintf(std.err, "mmspipe: nothing listens at %s yet; waiting for it, %v at most\n", address, handlerWait)
	})
	if errors.Is(err, simulate.ErrNobodyListens) {
		return fmt.Errorf("%w: start the handler of webhooks there, such as mmspipe serve", err)
	}
	if err != nil {
		return fmt.Errorf("--webhook: %w", err)
	}
	return nil
}

func (cmd simulateCommand) media() ([]simulate.Media, error) {
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

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"
)

const (
	// maxForm bounds the body of a request: ten URLs and 1,600 characters leave
	// room in it for all other parameters.
	maxForm = 256 << 10

	// maxBody is the longest text of a message, in characters (error 21617).
	maxBody = 1600

	// maxMedia is the most media of a message (error 21623).
	maxMedia = 10

	// maxValidity is the longest ValidityPeriod, in seconds, and the one of a
	// message that has none (twilio_api_v2010.json, CreateMessage).
	maxValidity = 36_000

	// minSchedule and maxSchedule are how far ahead a SendAt may be
	// (https://www.twilio.com/docs/api/errors/35114).
	minSchedule = 300 * time.Second
	maxSchedule = 35 * 24 * time.Hour

	// intakeTimeout is how long a message waits to be queued and recorded. Twilio's
	// own libraries give up after 10 s or later.
	intakeTimeout = 8 * time.Second
)

// create is POST …/Messages: it queues an outgoing message. The Job comes first, and
// whatever is answered 201 is done. What is answered otherwise is not sent, unless the
// queue took it, its answer was lost, and a worker was faster than the revocation.
func (a *api) create(w http.ResponseWriter, r *http.Request, p path) error {
	if err := a.authorize(r, p, true); err != nil {
		return err
	}
	account, err := store.ParseAccountSID(p.account)
	if err != nil {
		return rest.NotFound(r)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if err := checkMessage(form); err != nil {
		return err
	}
	if err := a.checkCallback(form.Get("StatusCallback")); err != nil {
		return err
	}
	if a.Full != nil && a.Full() {
		return rest.Unavailable()
	}
	form.Set("AccountSid", account.String())
	sid := store.NewMessageSID(len(form["MediaUrl"]) > 0 || form.Get("SendAsMms") == "true")
	m, err := a.queue(r.Context(), store.NewOutgoing(account, sid, form, time.Now().UTC()))
	if err != nil {
		return err
	}
	return rest.Write(w, r, http.StatusCreated, messageOf(m, p.suffix))
}

// queue makes an outgoing message durable, and returns its record. Its client may
// hang up meanwhile.
func (a *api) queue(ctx context.Context, m store.Message) (store.Message, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), intakeTimeout)
	defer cancel()
	_, err := a.Streams.PublishJob(ctx, stream.NewOutbound(m))
	if err != nil {
		return m, errors.Join(err, a.revoke(ctx, m))
	}
	stored, _, err := a.Store.CreateMessage(ctx, m)
	if err != nil { // the worker will make it
		a.Log.Warn().Err(err).Stringer("messageSid", m.SID).Msg("message is queued and not recorded yet")
		return m, nil
	}
	return stored, nil
}

// revoke keeps a message from being sent that may be queued in spite of an error.
func (a *api) revoke(ctx context.Context, m store.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), intakeTimeout)
	defer cancel()
	m.Deleted = m.DateCreated
	_, created, err := a.Store.CreateMessage(ctx, m)
	if err == nil && !created { // by a worker
		_, err = a.Store.DeleteMessage(ctx, m.Account, m.SID, m.Deleted)
	}
	return err
}

// readForm reads the parameters of a POST. The provider's API takes no other type.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, rest.BadRequest("The body must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, rest.TooLarge()
	}
	if err != nil {
		return nil, rest.BadRequest("The body could not be read.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !utf8.ValidString(strings.Join(form["Body"], "")) {
		return nil, rest.BadRequest("The body is not a well-formed form.")
	}
	return form, nil
}

var (
	// number is E.164, and what people write for it: the provider reads that too,
	// and decides.
	number = regexp.MustCompile(`^\+?[1-9][0-9]{6,14}$`)
	// shortCode has 3 to 8 digits, depending on the country.
	shortCode = regexp.MustCompile(`^[0-9]{3,8}$`)
	// senderID is alphanumeric, with a letter in it
	// (https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id).
	senderID = regexp.MustCompile(`^[A-Za-z0-9 &+_-]{1,11}$`)
	// channelAddress is of a channel other than a carrier's, such as whatsapp:+1….
	channelAddress = regexp.MustCompile(`^[a-z]+:[^\s:][^\s]{0,255}$`)

	serviceSID = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	letters    = regexp.MustCompile(`[A-Za-z]`)
	spacing    = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "")
)

// typed are the parameters that are not just text, with what they must be
// (twilio_api_v2010.json, CreateMessage).
var typed = map[string]*regexp.Regexp{
	"ContentSid":       regexp.MustCompile(`^HX[0-9a-fA-F]{32}$`),
	"ApplicationSid":   regexp.MustCompile(`^AP[0-9a-fA-F]{32}$`),
	"SendAsMms":        regexp.MustCompile(`^(true|false)$`),
	"ProvideFeedback":  regexp.MustCompile(`^(true|false)$`),
	"SmartEncoded":     regexp.MustCompile(`^(true|false)$`),
	"ShortenUrls":      regexp.MustCompile(`^(true|false)$`),
	"ForceDelivery":    regexp.MustCompile(`^(true|false)$`),
	"Attempt":          regexp.MustCompile(`^[0-9]{1,9}$`),
	"ContentRetention": regexp.MustCompile(`^(retain|discard)$`),
	"AddressRetention": regexp.MustCompile(`^(retain|obfuscate)$`),
	"TrafficType":      regexp.MustCompile(`^free$`),
	"ScheduleType":     regexp.MustCompile(`^fixed$`),
	"RiskCheck":        regexp.MustCompile(`^(enable|disable)$`),
}

// repeated are the parameters that may be given more than once.
var repeated = []string{"MediaUrl", "PersistentAction", "Tags"}

// checkMessage finds the first mistake in the parameters of a message, in the order
// and with the codes of the provider's API
// (https://www.twilio.com/docs/api/errors). Parameters that it does not know are
// none.
func checkMessage(form url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if len(form[name]) > 1 && !slices.Contains(repeated, name) {
			return rest.BadRequest(fmt.Sprintf("Parameter %.40q is given more than once.", name))
		}
	}
	for _, check := range []func(url.Values) error{checkParties, checkContent, checkMedia, checkOptions, checkSchedule} {
		if err := check(form); err != nil {
			return err
		}
	}
	return nil
}

func checkParties(form url.Values) error {
	to, from, service := form.Get("To"), form.Get("From"), form.Get("MessagingServiceSid")
	switch {
	case to == "":
		return rest.Refused(21604, "A 'To' phone number is required.")
	case from == "" && service == "":
		return rest.Refused(21603, "A 'From' phone number is required.")
	case !number.MatchString(spacing.Replace(to)) && !channelAddress.MatchString(to):
		return rest.Refused(21211, fmt.Sprintf("The 'To' number %.40s is not a valid phone number.", to))
	case from != "" && !isSender(from):
		return rest.Refused(21212, fmt.Sprintf("The 'From' number %.40s is not a valid phone number, shortcode, or alphanumeric sender ID.", from))
	case service != "" && !serviceSID.MatchString(service):
		return rest.Refused(21705, "The Messaging Service Sid is invalid.")
	}
	return nil
}

// isSender tells whether a From may be one.
func isSender(from string) bool {
	return number.MatchString(spacing.Replace(from)) || shortCode.MatchString(from) || channelAddress.MatchString(from) ||
		senderID.MatchString(from) && letters.MatchString(from)
}

func checkContent(form url.Values) error {
	body := form.Get("Body")
	if body == "" && len(form["MediaUrl"]) == 0 && form.Get("ContentSid") == "" {
		if form.Get("From") == "" {
			return rest.Refused(21619, "A text message body or media urls must be specified.")
		}
		return rest.Refused(21602, "Message body is required.")
	}
	if utf8.RuneCountInString(body) > maxBody {
		return rest.Refused(21617, "The concatenated message body exceeds the 1600 character limit.")
	}
	return nil
}

func checkMedia(form url.Values) error {
	if len(form["MediaUrl"]) > maxMedia {
		return rest.Refused(21623, "Number of media files exceeds allowed limit.")
	}
	for _, address := range form["MediaUrl"] {
		if !isHTTP(address) {
			return rest.Refused(21620, fmt.Sprintf("Media urls: %.200s are invalid. Please use only valid http and https urls", address))
		}
	}
	return nil
}

// isHTTP tells whether an address is an http or https URL with a host.
func isHTTP(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// checkCallback refuses a status callback that cannot be posted, and one that leads to
// this service itself.
func (a *api) checkCallback(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || !isHTTP(address) || strings.Contains(u.Hostname(), "_"):
		return rest.Refused(21609, "The 'StatusCallback' URL is not a valid URL.")
	case rest.LeadsTo(a.PublicURL, u):
		return rest.Refused(21609, "The 'StatusCallback' URL leads to this service itself.")
	}
	return nil
}

func checkOptions(form url.Values) error {
	if validity := form.Get("ValidityPeriod"); validity != "" {
		if n, err := strconv.Atoi(validity); err != nil || n < 1 || n > maxValidity {
			return rest.BadRequest(fmt.Sprintf("ValidityPeriod must be from 1 to %d.", maxValidity))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if pattern := typed[name]; pattern != nil && form.Get(name) != "" && !pattern.MatchString(form.Get(name)) {
			return rest.BadRequest(fmt.Sprintf("Invalid %s value.", name))
		}
	}
	return nil
}

// checkSchedule checks when a message is to be sent. What cannot be scheduled is refused:
// the provider sends some of it at once
// (https://www.twilio.com/docs/messaging/features/message-scheduling).
func checkSchedule(form url.Values) error {
	sendAt, fixed := form.Get("SendAt"), form.Get("ScheduleType") != ""
	if sendAt == "" && !fixed {
		return nil
	}
	at, err := time.Parse(time.RFC3339, sendAt)
	ahead := time.Until(at)
	switch {
	case sendAt == "":
		return rest.Refused(35111, "SendAt timestamp is missing.")
	case err != nil:
		return rest.BadRequest("Invalid date value.")
	case !fixed:
		return rest.Refused(35126, "The ScheduleType must be 'fixed'.")
	case form.Get("MessagingServiceSid") == "":
		return rest.Refused(35118, "MessagingServiceSid is required to schedule a message.")
	case ahead < minSchedule || ahead > maxSchedule:
		return rest.Refused(35114, "SendAt time must be between 300 seconds and 35 days (3024000 seconds) in the future, inclusive.")
	}
	return nil
}

package doctor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/ingest/signature"
	"mmspipe/store"

	"github.com/dustin/go-humanize/english"
)

// Webhook is a webhook that somebody has captured: a raw HTTP request.
type Webhook struct {
	request *http.Request
	body    []byte
}

// ReadWebhook reads a file with the request line, the headers, an empty line and the
// body. Lines may end as an editor left them; a body without a Content-Length goes to
// the end of the file.
func ReadWebhook(path string) (Webhook, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Webhook{}, err
	}
	head, body, _ := bytes.Cut(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	request, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	if err != nil {
		return Webhook{}, fmt.Errorf("%s is not an HTTP request: a request line, headers, an empty line and the body: %w", path, err)
	}
	return Webhook{request, bytes.TrimRight(body, "\n")}, nil
}

// form returns the parameters, among them the account.
func (h Webhook) form() (url.Values, error) {
	if h.request.Method == http.MethodGet {
		return url.ParseQuery(h.request.URL.RawQuery)
	}
	return url.ParseQuery(string(h.body))
}

// Diagnose tells which token and which form of the URL match the signature of a
// webhook. If that is not the URL that it came to, or none, the error says what is
// wrong with the webhook or the settings, and which setting to change. It repeats no
// secret.
func Diagnose(h Webhook, c service.Config) (string, error) {
	given := h.request.Header.Get("X-Twilio-Signature")
	if given == "" {
		return "", errors.New("the request has no X-Twilio-Signature: it is not Twilio's, or a proxy drops the header; no setting changes that")
	}
	form, err := h.form()
	if err != nil {
		return "", fmt.Errorf("the parameters cannot be read: %w", err)
	}
	account, err := store.ParseAccountSID(form.Get("AccountSid"))
	if err != nil {
		return "", errors.New("the parameters have no AccountSid: the body is not complete, or is not a webhook")
	}
	tokens := c.Accounts[account]
	if len(tokens) == 0 {
		return "", fmt.Errorf("account %s is not in MMSPIPE_ACCOUNTS: add %s:TOKEN to it, with the auth token from Twilio's console", account, account)
	}
	configured := "http://" + c.Listen
	if c.PublicURL != nil {
		configured = c.PublicURL.String()
	}
	for i, origin := range append([]string{configured}, origins(h.request)...) {
		for _, uri := range uris(h.request) {
			match, ok := signature.Verify(tokens, signature.Request{
				Method: h.request.Method, URL: origin + uri, ContentType: h.request.Header.Get("Content-Type"), Signature: given, Body: h.body,
			})
			switch {
			case !ok:
			case i == 0 && uri == h.request.RequestURI:
				return fmt.Sprintf("the signature matches token %d of %s and %s: this webhook is taken", match.Token+1, account, match.URL), nil
			case uri == h.request.RequestURI:
				return "", fmt.Errorf("it was signed for %s with token %d, and %s was checked: set MMSPIPE_PUBLIC_URL=%s", match.URL, match.Token+1, configured+uri, origin)
			default:
				return "", fmt.Errorf("it was signed for %s with token %d, and came as %s: something between changes the path or the query; have your proxy leave both as they are", match.URL, match.Token+1, h.request.RequestURI)
			}
		}
	}
	return "", fmt.Errorf(`no form of the URL matches with %s of %s, and %s was checked. One of these is so:
the token was changed at Twilio: set MMSPIPE_ACCOUNTS=%s:TOKEN, or %s:OLD:NEW while you change it
Twilio calls another origin than the headers say: set MMSPIPE_PUBLIC_URL to the origin of the URL at Twilio
something between changes the parameters: have your proxy leave the body as it is`,
		english.Plural(len(tokens), "token", ""), account, configured+h.request.RequestURI, account, account)
}

// origins are those under which Twilio may have called, judging by the request.
func origins(r *http.Request) []string {
	hosts := []string{r.Host, r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Original-Host")}
	var all []string
	for _, host := range hosts {
		if host != "" {
			all = append(all, "https://"+host, "http://"+host)
		}
	}
	return all
}

// uris are the path and query as they came, and as they may have been before
// something between changed them.
func uris(r *http.Request) []string {
	path, query, hasQuery := strings.Cut(r.RequestURI, "?")
	if hasQuery {
		query = "?" + query
	}
	other, slashed := strings.CutSuffix(path, "/")
	if !slashed {
		other += "/"
	}
	all := []string{r.RequestURI, other + query}
	if hasQuery && r.Method != http.MethodGet {
		all = append(all, path, other)
	}
	if prefix := r.Header.Get("X-Forwarded-Prefix"); prefix != "" {
		all = append(all, strings.TrimSuffix(prefix, "/")+r.RequestURI)
	}
	return all
}

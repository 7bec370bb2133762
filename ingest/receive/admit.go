package receive

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"

	"mmspipe/ingest/signature"
	"mmspipe/store"
)

// maxBody bounds the body of a webhook. Twilio's text is at most 1,600
// characters and ten media URLs follow; 256 KiB leaves room for add-ons.
const maxBody = 256 << 10

// admit reads a webhook and checks its signature.
func (rc *Receiver) admit(w http.ResponseWriter, r *http.Request) (store.AccountSID, url.Values, error) {
	if len(r.Header.Values("X-Twilio-Signature")) != 1 {
		return store.AccountSID{}, nil, &unsigned{cause: "it has no X-Twilio-Signature, or more than one"} // nothing of it is read
	}
	form, body, err := readForm(w, r)
	if err != nil {
		return store.AccountSID{}, nil, err
	}
	account, err := rc.authenticate(r, form, body)
	return account, form, err
}

// readForm returns the webhook's parameters and the raw body that carried them.
// Those of a GET are in its query, those of a POST only in its body: a query is
// signed as part of the URL, and is not mixed in.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, []byte, error) {
	if r.Method == http.MethodGet {
		form, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, nil, &refusal{http.StatusBadRequest, "the query is not a well-formed form"}
		}
		return form, nil, nil
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		return nil, nil, &refusal{http.StatusMethodNotAllowed, "webhooks are POST or GET"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, nil, &refusal{http.StatusRequestEntityTooLarge, "the body is over 256 KiB"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil, errSlow
	}
	if err != nil {
		return nil, nil, &refusal{http.StatusBadRequest, "the body could not be read"}
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, nil, &refusal{http.StatusBadRequest, "the body is not application/x-www-form-urlencoded"}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, &refusal{http.StatusBadRequest, "the body is not a well-formed form"}
	}
	return form, body, nil
}

// authenticate returns the account whose token signed the request. An account
// that is not known is answered like a wrong signature.
func (rc *Receiver) authenticate(r *http.Request, form url.Values, body []byte) (store.AccountSID, error) {
	accounts := form["AccountSid"]
	if len(accounts) != 1 {
		return store.AccountSID{}, &unsigned{"it names no account, or more than one", form}
	}
	account, err := store.ParseAccountSID(accounts[0])
	if err != nil {
		return store.AccountSID{}, &unsigned{"its AccountSid is not one", form}
	}
	_, ok := signature.Verify(rc.Accounts[account], signature.Request{
		Method:      r.Method,
		URL:         rc.origin + r.URL.RequestURI(),
		ContentType: r.Header.Get("Content-Type"),
		Signature:   r.Header.Get("X-Twilio-Signature"),
		Body:        body,
	})
	if !ok && len(rc.Accounts[account]) == 0 {
		return store.AccountSID{}, &unsigned{"its account is not in MMSPIPE_ACCOUNTS", form}
	}
	if !ok {
		return store.AccountSID{}, &unsigned{"no token of its account has signed this URL with these parameters", form}
	}
	return account, nil
}

package signature_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mmspipe/ingest/signature"

	"github.com/twilio/twilio-go/client"
)

// TestTwilioValidators: what one of Twilio's own validators accepts of a table of URLs and
// of what may have been signed in place of them is verified, and nothing else of it is.
func TestTwilioValidators(t *testing.T) {
	var table struct {
		Token  string
		Params map[string]string
		Rows   []struct {
			URL, Signed, Signature string
			Accepted               bool // by Node's
		}
	}
	if err := json.Unmarshal(runNode(t, "signatures.mjs"), &table); err != nil {
		t.Fatal(err)
	}
	form := url.Values{}
	for name, value := range table.Params {
		form.Set(name, value)
	}
	inGo := client.NewRequestValidator(table.Token)
	accepted := 0
	for _, row := range table.Rows {
		want := row.Accepted || inGo.Validate(row.URL, table.Params, row.Signature)
		_, got := signature.Verify([]string{table.Token}, signature.Request{
			Method: http.MethodPost, URL: row.URL, ContentType: formType, Body: []byte(form.Encode()), Signature: row.Signature,
		})
		if got != want {
			t.Errorf("%s, signed as %s: verified %v, want %v", row.URL, row.Signed, got, want)
		}
		if want {
			accepted++
		}
	}
	if refused := len(table.Rows) - accepted; accepted < 1000 || refused < 1000 {
		t.Errorf("of %d rows Twilio's validators accept %d", len(table.Rows), accepted)
	}
	t.Logf("%d URLs as they were signed, %d of them accepted", len(table.Rows), accepted)
}

// runNode returns what a script beside Twilio's client for Node prints.
func runNode(t *testing.T, script string) []byte {
	t.Helper()
	sdk := filepath.Join("..", "..", "testdata", "sdk")
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(sdk, "node_modules", "twilio"))
	}
	if err != nil {
		if os.Getenv("MMSPIPE_TEST_NO_SKIP") == "1" {
			t.Fatalf("%v, and MMSPIPE_TEST_NO_SKIP=1 forbids to leave it out: npm ci --prefix testdata/sdk", err)
		}
		t.Skipf("NOT TESTED with Twilio's client for Node: %v: npm ci --prefix testdata/sdk", err)
	}
	output, err := exec.CommandContext(t.Context(), node, filepath.Join(sdk, script)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return output
}

package signature_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mmspipe/ingest/signature"
)

const (
	vectorToken = "12345"
	vectorURL   = "https://mycompany.com/myapp.php?foo=1&bar=2"
	formType    = "application/x-www-form-urlencoded"

	// call is the form that most published vectors share.
	call = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
)

// form parses what is well formed.
func form(t testing.TB, body string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestVectors holds the published vectors of Twilio's own libraries, all with
// the token 12345: twilio-python tests/unit/test_request_validator.py,
// twilio-node spec/unit/webhooks/webhooks.spec.ts, twilio-go
// client/request_validator_test.go, twilio-java RequestValidatorTest, and the
// example of https://www.twilio.com/docs/usage/security.
func TestVectors(t *testing.T) {
	const (
		hash  = "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
		body  = `{"property": "value", "boolean": true}`
		empty = "&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
		two   = "&Reason=Participant&ReasonConferenceEnded=test"
	)
	http1 := strings.Replace(vectorURL, "https", "http", 1)
	at := func(host string) string { return strings.Replace(vectorURL, "mycompany.com", host, 1) }
	at1 := func(host string) string { return strings.Replace(http1, "mycompany.com", host, 1) }
	mms := "ToCountry=US&MediaContentType0=image%2Fjpeg&ToState=CA&SmsMessageSid=MM0123456789abcdef0123456789abcdef&NumMedia=1&ToCity=&FromZip=94103&SmsSid=MM0123456789abcdef0123456789abcdef&FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO&Body=+Caf%C3%A9+%F0%9F%90%B1+&FromCountry=US&To=%2B15558675310&NumSegments=1&MessageSid=MM0123456789abcdef0123456789abcdef&AccountSid=AC0123456789abcdef0123456789abcdef&From=%2B14017122661&MediaUrl0=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC0123456789abcdef0123456789abcdef%2FMessages%2FMM0123456789abcdef0123456789abcdef%2FMedia%2FME0123456789abcdef0123456789abcdef&ApiVersion=2010-04-01&ToZip="

	for _, c := range []struct {
		name, url, contentType, body, signature string
		want                                    bool
	}{
		{"https", vectorURL, formType, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		{"https with its port signed", vectorURL, formType, call, "kvajT1Ptam85bY51eRf/AJRuM3w=", true},
		{"https with its port configured", at("mycompany.com:443"), formType, call, "kvajT1Ptam85bY51eRf/AJRuM3w=", true},
		{"https with its port configured, not signed", at("mycompany.com:443"), formType, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		{"http", http1, formType, call, "OyGYPqTF6ztdbRNCvuQO/oPvqQ4=", true},
		{"http with its port signed", http1, formType, call, "0ZXoZLH/DfblKGATFgpif+LLRf4=", true},
		{"http with another port", at1("mycompany.com:1234"), formType, call, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", true},
		{"http with another port, not signed", at1("mycompany.com:1234"), formType, call, "OyGYPqTF6ztdbRNCvuQO/oPvqQ4=", true},
		{"http signed as https", http1, formType, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", false},
		// Twilio drops user information before it signs; what libraries accept
		// besides is not.
		{"user information configured, not signed", at("user:pass@mycompany.com"), formType, call, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		{"user information signed", at("user:pass@mycompany.com"), formType, call, "CukzLTc1tT5dXEDIHm/tKBanW10=", false},
		{"user information and port signed", at("user:pass@mycompany.com:443"), formType, call, "ZQFR1PTIZXF2MXB8ZnKCvnnA+rI=", false},
		{"user signed", at("user@mycompany.com"), formType, call, "2YRLlVAflCqxaNicjMpJcSTgzSs=", false},
		{"apostrophe signed escaped", vectorURL + "&Body=It's+amazing", formType, call, "TfZzewPq8wqrGlMfyAud8+/IvJ0=", true},
		{"apostrophe signed as it is", vectorURL + "&Body=It's+amazing", formType, call, "dsq4Ehbj6cs+KdTkpF5sSSplOWw=", true},
		{"apostrophe escaped on the way", vectorURL + "&Body=It%27s+amazing", formType, call, signature.Sign(vectorToken, vectorURL+"&Body=It's%20amazing", form(t, call)), true},
		{"an escape of another character", vectorURL + "&Body=a%26b", formType, call, signature.Sign(vectorToken, vectorURL+"&Body=a&b", form(t, call)), false},
		{"a port that is not the default added", http1, formType, call, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", false},
		{"another port configured, the default signed", at1("mycompany.com:1234"), formType, call, "0ZXoZLH/DfblKGATFgpif+LLRf4=", false},
		{"JSON, two hashes", vectorURL + empty + hash, "application/json", body, signature.Sign(vectorToken, vectorURL+empty+hash, nil), false},
		{"https with the port of http signed", vectorURL, formType, call, signature.Sign(vectorToken, at("mycompany.com:80"), form(t, call)), false},
		{"an IPv6 host, its port signed", at("[::1]"), formType, call, signature.Sign(vectorToken, at("[::1]:443"), form(t, call)), true},
		{"repeated name", vectorURL, formType, "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU=", true},
		{"repeated name in another order", vectorURL, formType, "Digits=1234&Digits=5678&SidAccount=AC123&Sid=CA123", "IK+Dwps556ElfBT0I3Rgjkr1wJU=", true},
		{"repeated name with a dot", vectorURL, formType, "MessagingBinding.Address=%2B1325xxxxxxx&MessagingBinding.Address=%2B1415xxxxxxx", "83O6e2vORAoJHUNzJjDWN1jz+BA=", true},
		{"a name that begins another", vectorURL, formType, call + two, "vOEb5UThFn24KEfnOFLQY2AE5FY=", true},
		{"the same, sorted by name and value together", vectorURL, formType, call + two, "95+Bu0JVPi0r/SsESZCVf0dWAjw=", false},
		{"a name that begins another, http", http1, formType, call + two, "n2xBNyzSW7rfYStDtOFiFMv7qNo=", true},
		{"another form", vectorURL, formType, "property=value&boolean=true", "NBdBDr/T/lgjI+tlgpXjKZQZs/k=", true},
		{"JSON", vectorURL + hash, "application/json", body, "a9nBmqA0ju/hNViExpshrM61xv4=", true},
		{"JSON, the hash alone in the query", "https://mycompany.com/myapp.php?" + hash[1:], "application/json", body, "y77kIzt2vzLz71DgmJGsen2scGs=", true},
		{"JSON, empty object, port signed", vectorURL + empty, "application/json", "{}", "Ldidvp12m26NI7eqEvxnEpkd9Hc=", true},
		{"JSON, empty object", vectorURL + empty, "application/json", "{}", "rw/jVviOgicj2+kHZULvebnA4ag=", true},
		{"JSON, another body", vectorURL + hash, "application/json", "{}", "a9nBmqA0ju/hNViExpshrM61xv4=", false},
		{"JSON without a hash", vectorURL, "application/json", body, signature.Sign(vectorToken, vectorURL, nil), false},
		{"the example of the documentation", "https://example.com/myapp.php?foo=1&bar=2", formType, strings.ReplaceAll(call, "5309", "5310"), "L/OH5YylLD5NRKLltdqwSvS0BnU=", true},
		{"an MMS", "https://mms.example.com/webhooks/twilio?tenant=a%20b&x=1", formType, mms, "sTDEWAMNP0WfpG1/CHlJ3zFPTCY=", true},
		{"an MMS without an empty parameter", "https://mms.example.com/webhooks/twilio?tenant=a%20b&x=1", formType, strings.Replace(mms, "&ToZip=", "", 1), "sTDEWAMNP0WfpG1/CHlJ3zFPTCY=", false},
		{"an MMS, trimmed", "https://mms.example.com/webhooks/twilio?tenant=a%20b&x=1", formType, strings.Replace(mms, "Body=+", "Body=", 1), "sTDEWAMNP0WfpG1/CHlJ3zFPTCY=", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := signature.Verify([]string{vectorToken}, signature.Request{
				Method: http.MethodPost, URL: c.url, ContentType: c.contentType, Body: []byte(c.body), Signature: c.signature,
			})
			if got != c.want {
				t.Errorf("verified %v, want %v", got, c.want)
			}
		})
	}
}

func TestGET(t *testing.T) {
	r := signature.Request{
		Method: http.MethodGet, URL: "https://mms.example.com/webhooks/twilio?Body=hi+there&From=%2B14017122661",
		Signature: "R5zST9lOVg+Dxr61AWq1ATLdpUM=",
	}
	if _, ok := signature.Verify([]string{vectorToken}, r); !ok {
		t.Error("a signed GET is refused")
	}
	r.Body, r.ContentType = []byte("Body=other"), formType
	if _, ok := signature.Verify([]string{vectorToken}, r); ok {
		t.Error("a GET is verified with a form that is not signed")
	}
}

// TestBypass: a true signature of something near is not one of the request.
func TestBypass(t *testing.T) {
	signed := signature.Request{
		Method: http.MethodPost, URL: vectorURL, ContentType: formType, Body: []byte(call),
		Signature: signature.Sign(vectorToken, vectorURL, form(t, call)),
	}
	if _, ok := signature.Verify([]string{vectorToken}, signed); !ok {
		t.Fatal("the request is refused as it is")
	}
	for name, change := range map[string]func(r *signature.Request){
		"no signature":            func(r *signature.Request) { r.Signature = "" },
		"half a signature":        func(r *signature.Request) { r.Signature = r.Signature[:14] + "==" },
		"padding with other bits": func(r *signature.Request) { r.Signature = r.Signature[:26] + "9=" },
		"path":                    func(r *signature.Request) { r.URL = strings.Replace(r.URL, "myapp", "MyApp", 1) },
		"path with dots":          func(r *signature.Request) { r.URL = strings.Replace(r.URL, "/myapp", "/x/../myapp", 1) },
		"escaped path":            func(r *signature.Request) { r.URL = strings.Replace(r.URL, "/m", "/%6d", 1) },
		"query order":             func(r *signature.Request) { r.URL = strings.Replace(r.URL, "foo=1&bar=2", "bar=2&foo=1", 1) },
		"more query":              func(r *signature.Request) { r.URL += "&x=" },
		"more query after a #":    func(r *signature.Request) { r.URL += "#&x=1" },
		"scheme":                  func(r *signature.Request) { r.URL = strings.Replace(r.URL, "https", "http", 1) },
		"a slash":                 func(r *signature.Request) { r.URL = strings.Replace(r.URL, "?", "/?", 1) },
		"host":                    func(r *signature.Request) { r.URL = strings.Replace(r.URL, "mycompany", "yourcompany", 1) },
		"another parameter":       func(r *signature.Request) { r.Body = append(slices.Clone(r.Body), "&X=1"...) },
		"another value":           func(r *signature.Request) { r.Body = append(slices.Clone(r.Body), "&From=1"...) },
		"a letter's case":         func(r *signature.Request) { r.Body = []byte(strings.Replace(call, "CallSid", "callSid", 1)) },
		"a broken form":           func(r *signature.Request) { r.Body = append(slices.Clone(r.Body), "&%zz"...) },
		"a semicolon":             func(r *signature.Request) { r.Body = append(slices.Clone(r.Body), ";X=1"...) },
		"no content type":         func(r *signature.Request) { r.ContentType = "" },
		"multipart":               func(r *signature.Request) { r.ContentType = "multipart/form-data; boundary=x" },
		"text":                    func(r *signature.Request) { r.ContentType = "text/plain" },
		"GET":                     func(r *signature.Request) { r.Method = http.MethodGet; r.Body = nil },
	} {
		r := signed
		change(&r)
		if match, ok := signature.Verify([]string{vectorToken}, r); ok {
			t.Errorf("%s: verified as %+v", name, match)
		}
	}
	// A form stays one however its type is written.
	signed.ContentType = "Application/X-WWW-Form-Urlencoded; charset=UTF-8"
	if _, ok := signature.Verify([]string{vectorToken}, signed); !ok {
		t.Error("a form is refused because of how its type is written")
	}
}

// TestBypassGET: what is in the query of a signed GET is all that is signed.
func TestBypassGET(t *testing.T) {
	const signed = "https://mms.example.com/webhooks/twilio?Body=hi+there&From=%2B14017122661"
	for name, u := range map[string]string{
		"a parameter after a #":         signed + "#&MediaUrl0=https://example.com/",
		"an escaped # and parameter":    signed + "%23&MediaUrl0=https://example.com/",
		"a repeated parameter":          signed + "&From=%2B1",
		"another case of an escape":     strings.Replace(signed, "%2B", "%2b", 1),
		"user information of the query": strings.Replace(signed, "?", "?x@", 1),
		"a path before the path":        strings.Replace(signed, ".com/", ".com/x@mms.example.com/", 1),
	} {
		r := signature.Request{Method: http.MethodGet, URL: u, Signature: "R5zST9lOVg+Dxr61AWq1ATLdpUM="}
		if match, ok := signature.Verify([]string{vectorToken}, r); ok {
			t.Errorf("%s: verified as %+v", name, match)
		}
	}
}

// TestSignedURL: what is configured with a fragment and user information is
// signed without.
func TestSignedURL(t *testing.T) {
	configured := strings.Replace(vectorURL, "://", "://user:pass@", 1) + "#rc=5&rp=all"
	if got, want := signature.Sign(vectorToken, configured, form(t, call)), "RSOYDt4T1cUTdK1PDd93/VVr8B8="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestTokens(t *testing.T) {
	form := url.Values{"A": {"1"}}
	r := signature.Request{
		Method: http.MethodPost, URL: vectorURL, ContentType: formType, Body: []byte("A=1"),
		Signature: signature.Sign("second", vectorURL, form),
	}
	match, ok := signature.Verify([]string{"first", "second"}, r)
	if !ok || match.Token != 1 || match.URL != vectorURL {
		t.Errorf("match %+v, %v; want the second token and the URL as given", match, ok)
	}
	if _, ok := signature.Verify(nil, r); ok {
		t.Error("verified without a token")
	}
	if _, ok := signature.Verify([]string{"", "first"}, r); ok {
		t.Error("verified with other tokens")
	}
	r.Signature = signature.Sign("", vectorURL, form)
	if _, ok := signature.Verify([]string{"first", ""}, r); ok {
		t.Error("verified with an empty token, which everybody has")
	}
}

// FuzzVerify: whatever was signed is verified, and nothing else of it is.
func FuzzVerify(f *testing.F) {
	f.Add("https://example.com/x?y=z", "a=1&b=2&a=3", "token")
	f.Add("http://u:p@[::1]:80/?q='#f", "a=1", "12345")
	f.Add("http://u:p@[::1]:80/?q='%27+", "Body=+Caf%C3%A9+", "12345")
	f.Add("https://example.com", "", "")
	f.Add("://?", "=&=&", "t")
	f.Fuzz(func(t *testing.T, rawURL, body, token string) {
		form, err := url.ParseQuery(body)
		r := signature.Request{Method: http.MethodPost, URL: rawURL, ContentType: formType, Body: []byte(body)}
		r.Signature = signature.Sign(token, rawURL, form)
		_, ok := signature.Verify([]string{token}, r)
		if want := err == nil && token != "" && !strings.Contains(rawURL, "#"); ok != want {
			t.Fatalf("verified %v, want %v, with form error %v", ok, want, err)
		}
		if _, ok := signature.Verify([]string{token + "x"}, r); ok {
			t.Fatal("verified with another token")
		}
		r.Body = append([]byte("Zz=1&"), body...)
		if _, ok := signature.Verify([]string{token}, r); ok && !slices.Contains(form["Zz"], "1") {
			t.Fatal("verified with another parameter")
		}
		r.Body, r.URL = []byte(body), rawURL+"/x"
		if _, ok := signature.Verify([]string{token}, r); ok {
			t.Fatal("verified with another URL")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	form, _ := url.ParseQuery(call)
	r := signature.Request{
		Method: http.MethodPost, URL: vectorURL, ContentType: formType, Body: []byte(call),
		Signature: signature.Sign(vectorToken, vectorURL, form),
	}
	for b.Loop() {
		if _, ok := signature.Verify([]string{vectorToken}, r); !ok {
			b.Fatal("refused")
		}
	}
}

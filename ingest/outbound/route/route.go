// Package route chooses the carrier profile of an outgoing message by its recipient and its
// sender. A file of rules may say more than the rules that are built in.
package route

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mmspipe/resize"
	"mmspipe/store/number"
)

// Func returns the profile of a message from one number to another.
type Func func(to, from string) resize.Profile

// The kinds of senders. A long code is whatever is neither of the others.
const (
	kindTollFree  = "toll-free"
	kindShortCode = "short-code"
	kindLongCode  = "long-code"
)

// tollFree are the area codes of numbers that nobody pays to call, those in use of
// 47 CFR 52.101(e) and of the FCC's list (https://www.fcc.gov/general/what-toll-free-number-and-how-does-it-work).
var tollFree = []string{"+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888"}

// kindOf returns the kind of a sender by its number. A short code has five or six digits
// (https://usshortcodes.com/about-short-codes). If a messaging service chooses the sender,
// the number is empty, and so is the kind.
func kindOf(from string) string {
	switch {
	case from == "":
		return ""
	case len(from) == len("+18005550100") && slices.Contains(tollFree, from[:5]):
		return kindTollFree
	case (len(from) == 5 || len(from) == 6) && strings.Trim(from, "0123456789") == "":
		return kindShortCode
	}
	return kindLongCode
}

// Rule says which messages have a profile.
type Rule struct {
	To      string // what the recipient's number begins with; any if empty
	From    string // what the sender's number begins with, or its kind; any if empty
	Profile resize.Profile
}

// matches tells whether a rule is for a message.
func (r Rule) matches(to, from string) bool {
	switch r.From {
	case kindTollFree, kindShortCode, kindLongCode:
		if kindOf(from) != r.From {
			return false
		}
	default:
		if !strings.HasPrefix(from, r.From) {
			return false
		}
	}
	return strings.HasPrefix(to, r.To)
}

// New returns a Func that takes the first rule that matches. If none does, messages to +1
// from toll-free numbers and short codes have the profiles us-tollfree and us-shortcode, and
// all others have the fallback. Numbers without a country code are of the region.
func New(rules []Rule, fallback resize.Profile, region number.Region) (Func, error) {
	for _, builtIn := range []struct{ kind, profile string }{{kindTollFree, "us-tollfree"}, {kindShortCode, "us-shortcode"}} {
		profile, err := resize.ProfileNamed(builtIn.profile)
		if err != nil {
			return nil, err
		}
		rules = append(slices.Clip(rules), Rule{To: "+1", From: builtIn.kind, Profile: profile})
	}
	return func(to, from string) resize.Profile {
		to, from = region.Normal(to), region.Normal(from)
		for _, rule := range rules {
			if rule.matches(to, from) {
				return rule.Profile
			}
		}
		return fallback
	}, nil
}

// ParseRules reads rules. Each line has the beginning of To; the beginning of From, or one
// of toll-free, short-code and long-code; and the name of a profile. * is any number; a #
// begins a comment. The error lists all mistakes, each with its line.
func ParseRules(r io.Reader) ([]Rule, error) {
	var rules []Rule
	var mistakes []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		rule, err := parseRule(fields)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		rules = append(rules, rule)
	}
	if err := lines.Err(); err != nil {
		mistakes = append(mistakes, fmt.Errorf("read rules: %w", err))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return rules, nil
}

// parseRule reads the fields of one line.
func parseRule(fields []string) (rule Rule, err error) {
	if len(fields) != 3 {
		return rule, fmt.Errorf("%d fields, want three: the beginning of To, of From or its kind, and a profile", len(fields))
	}
	var errs [3]error
	rule.To, errs[0] = parsePrefix(fields[0])
	switch fields[1] {
	case kindTollFree, kindShortCode, kindLongCode:
		rule.From = fields[1]
	default:
		if rule.From, errs[1] = parsePrefix(fields[1]); errs[1] != nil {
			errs[1] = fmt.Errorf("%w, or %s, %s, %s", errs[1], kindTollFree, kindShortCode, kindLongCode)
		}
	}
	rule.Profile, errs[2] = resize.ProfileNamed(fields[2])
	return rule, errors.Join(errs[:]...)
}

// parsePrefix reads the beginning of a number, or *.
func parsePrefix(s string) (string, error) {
	if s == "*" {
		return "", nil
	}
	phone, isWhatsApp := strings.CutPrefix(s, "whatsapp:")
	if isWhatsApp && phone == "" {
		return s, nil
	}
	if digits := strings.TrimPrefix(phone, "+"); digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", fmt.Errorf("%.40q is not the beginning of a number, such as +1415 or whatsapp:+1415, or *", s)
	}
	return s, nil
}

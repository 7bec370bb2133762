// Package number reads phone numbers, and all else that a message may be from or to, in
// the ways in which people write them, and says how the provider writes them.
//
// Phone numbers become E.164: +15558675310. WhatsApp addresses hold one:
// whatsapp:+15558675310. Short codes of three to eight digits, alphanumeric senders and
// the addresses of other channels are what they are. So is what begins with a plus sign
// and goes on in digits alone: nobody knows better than who writes the whole number.
package number

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

var (
	e164      = regexp.MustCompile(`^\+[0-9]{1,15}$`) // ITU-T E.164 section 6
	shortCode = regexp.MustCompile(`^[0-9]{3,8}$`)

	// senderID has a letter in it too
	// (https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id).
	senderID = regexp.MustCompile(`^[A-Za-z0-9 &+_-]{1,11}$`)
	letter   = regexp.MustCompile(`[A-Za-z]`)
	channel  = regexp.MustCompile(`^[A-Za-z]+:\S+$`)
)

// Region is where numbers without a country code are, as ISO 3166-1 writes countries: US.
// The zero Region reads only numbers that have one.
type Region string

// ParseRegion reads two letters of a country that has phone numbers.
func ParseRegion(s string) (Region, error) {
	region := strings.ToUpper(s)
	if len(region) != 2 || phonenumbers.GetCountryCodeForRegion(region) == 0 {
		return "", fmt.Errorf("%.40q is not the two letters of a country, such as US", s)
	}
	return Region(region), nil
}

// Parse returns a number or an address as the provider writes it. The error says what is
// wanted.
func (r Region) Parse(s string) (string, error) {
	name, rest, _ := strings.Cut(s, ":")
	switch {
	case strings.EqualFold(name, "whatsapp"):
		phone, err := r.phone(rest)
		if err != nil {
			return "", r.mistake(s)
		}
		return "whatsapp:" + phone, nil
	case shortCode.MatchString(s), senderID.MatchString(s) && letter.MatchString(s), channel.MatchString(s) && !strings.EqualFold(name, "tel"):
		return s, nil
	}
	phone, err := r.phone(s)
	if err != nil {
		return "", r.mistake(s)
	}
	return phone, nil
}

// Normal is [Region.Parse], and what cannot be read as it is.
func (r Region) Normal(s string) string {
	if normal, err := r.Parse(s); err == nil {
		return normal
	}
	return s
}

// phone returns a phone number in E.164. It need not be in use, but as long as one is.
func (r Region) phone(s string) (string, error) {
	if e164.MatchString(s) {
		return s, nil
	}
	phone, err := phonenumbers.Parse(s, string(r))
	if err != nil {
		return "", err
	}
	if phonenumbers.IsPossibleNumberWithReason(phone) != phonenumbers.IS_POSSIBLE { // nor one without its area
		return "", phonenumbers.ErrNotANumber
	}
	return phonenumbers.Format(phone, phonenumbers.E164), nil
}

func (r Region) mistake(s string) error {
	where := "a country code"
	if r != "" {
		where = fmt.Sprintf("a country code or in the way of %s", string(r))
	}
	return fmt.Errorf("%.40q is no number: want one with %s, such as +15558675310 or whatsapp:+15558675310, or a short code such as 12345", s, where)
}

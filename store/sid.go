package store

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
)

// AccountSID names an account: "AC" and 32 hexadecimal digits. Only
// [ParseAccountSID] makes one, so a value that is not zero is well formed.
type AccountSID struct{ s string }

// MessageSID names a message: "SM" or "MM" and 32 hexadecimal digits. Twilio
// uses both prefixes for messages with media, so neither is refused.
type MessageSID struct{ s string }

// MediaSID names one medium of a message: "ME" and 32 hexadecimal digits.
type MediaSID struct{ s string }

// ParseAccountSID returns s as an AccountSID. An error quotes s and comes with
// the zero value.
func ParseAccountSID(s string) (AccountSID, error) {
	if err := checkSID(s, "AC"); err != nil {
		return AccountSID{}, err
	}
	return AccountSID{s}, nil
}

// ParseMessageSID returns s as a MessageSID. An error quotes s and comes with
// the zero value.
func ParseMessageSID(s string) (MessageSID, error) {
	if err := checkSID(s, "SM", "MM"); err != nil {
		return MessageSID{}, err
	}
	return MessageSID{s}, nil
}

// NewMessageSID makes one up that nobody can guess: MM for a message with media,
// else SM, as the provider names its own.
func NewMessageSID(mms bool) MessageSID {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	prefix := "SM"
	if mms {
		prefix = "MM"
	}
	return MessageSID{prefix + hex.EncodeToString(random[:])}
}

// ParseMediaSID returns s as a MediaSID. An error quotes s and comes with the
// zero value.
func ParseMediaSID(s string) (MediaSID, error) {
	if err := checkSID(s, "ME"); err != nil {
		return MediaSID{}, err
	}
	return MediaSID{s}, nil
}

// checkSID holds the patterns of Twilio's OpenAPI document, in which both
// cases of hexadecimal digits are legal (twilio_api_v2010.json,
// ^(SM|MM)[0-9a-fA-F]{32}$ and its like).
func checkSID(s string, prefixes ...string) error {
	if len(s) != 34 || !slices.Contains(prefixes, s[:2]) {
		return fmt.Errorf("malformed SID %.40q: want %v and 32 hexadecimal digits", s, prefixes)
	}
	for _, c := range []byte(s[2:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return fmt.Errorf("malformed SID %.40q: %q is not a hexadecimal digit", s, c)
		}
	}
	return nil
}

// IsZero tells whether sid names nothing.
func (sid AccountSID) IsZero() bool { return sid.s == "" }

// IsZero tells whether sid names nothing.
func (sid MessageSID) IsZero() bool { return sid.s == "" }

// IsZero tells whether sid names nothing.
func (sid MediaSID) IsZero() bool { return sid.s == "" }

func (sid AccountSID) String() string { return sid.s }
func (sid MessageSID) String() string { return sid.s }
func (sid MediaSID) String() string   { return sid.s }

// MarshalText makes the SID a plain JSON string and map key.
func (sid AccountSID) MarshalText() ([]byte, error) { return []byte(sid.s), nil }

// MarshalText makes the SID a plain JSON string and map key.
func (sid MessageSID) MarshalText() ([]byte, error) { return []byte(sid.s), nil }

// MarshalText makes the SID a plain JSON string and map key.
func (sid MediaSID) MarshalText() ([]byte, error) { return []byte(sid.s), nil }

// UnmarshalText is [ParseAccountSID].
func (sid *AccountSID) UnmarshalText(text []byte) (err error) {
	*sid, err = ParseAccountSID(string(text))
	return err
}

// UnmarshalText is [ParseMessageSID].
func (sid *MessageSID) UnmarshalText(text []byte) (err error) {
	*sid, err = ParseMessageSID(string(text))
	return err
}

// UnmarshalText is [ParseMediaSID].
func (sid *MediaSID) UnmarshalText(text []byte) (err error) {
	*sid, err = ParseMediaSID(string(text))
	return err
}

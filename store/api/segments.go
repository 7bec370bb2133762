package api

import (
	"strconv"
	"strings"
	"unicode/utf16"

	"mmspipe/store"
)

// gsm7 is the basic set of GSM 03.38 (3GPP TS 23.038, section 6.2.1), and gsm7Twice
// what its extension adds, at two septets each.
const (
	gsm7 = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsm7Twice = "\f^{}\\[~]|€"
)

// segments is how many parts a message has: what its webhook says, one if it is an
// MMS, else what its text takes in GSM 03.38 or UCS-2, in one part of 140 bytes or in
// parts of 134 with a header (https://www.twilio.com/docs/glossary/what-sms-character-limit).
func segments(m store.Message) int {
	if m.Outgoing == nil { // its form is the provider's, not a client's
		if n, err := strconv.Atoi(m.Form.Get("NumSegments")); err == nil && n >= 0 {
			return n
		}
	}
	if m.NumMedia > 0 || m.Form.Get("SendAsMms") == "true" {
		return 1
	}
	septets, plain := 0, true
	for _, c := range m.Body {
		switch {
		case strings.ContainsRune(gsm7, c):
			septets++
		case strings.ContainsRune(gsm7Twice, c):
			septets += 2
		default:
			plain = false
		}
	}
	if plain {
		return parts(septets, 160, 153)
	}
	return parts(len(utf16.Encode([]rune(m.Body))), 70, 67)
}

// parts is how many parts n units take, where one alone holds more than one of
// several.
func parts(n, alone, among int) int {
	if n <= alone {
		return min(n, 1)
	}
	return (n + among - 1) / among
}

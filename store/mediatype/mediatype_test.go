package mediatype

import (
	"strings"
	"testing"

	"github.com/gabriel-vasile/mimetype"
)

func TestParse(t *testing.T) {
	for field, want := range map[string]string{
		"image/jpeg":                              "image/jpeg",
		" Text/X-vCard ; charset=utf-8":           "text/x-vcard",
		"text/x-vcard; name=My Card.vcf; charset": "text/x-vcard",
		"audio/AMR-NB":                            "audio/amr-nb",
		"":                                        "",
		"image":                                   "",
		"image/":                                  "",
		"image/*":                                 "",
		"image/jpeg, image/png":                   "",
		"text/html\r\nX: y":                       "",
		"application/" + strings.Repeat("x", maxName): "",
	} {
		if got, ok := Parse(field); got != want || ok != (want != "") {
			t.Errorf("Parse(%.40q): %q, %v, want %q", field, got, ok, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, canonical, extension string
		inline                     bool
	}{
		{"image/jpeg", "image/jpeg", ".jpg", true},
		{"image/jpg", "image/jpeg", ".jpg", true},
		{"image/pjpeg", "image/jpeg", ".jpg", true},
		{"image/x-png", "image/png", ".png", true},
		{"image/x-ms-bmp", "image/bmp", ".bmp", true},
		{"image/svg", "image/svg+xml", ".svg", false},
		{"image/svg+xml", "image/svg+xml", ".svg", false},
		{"text/vcard", "text/vcard", ".vcf", false},
		{"text/x-vcard", "text/vcard", ".vcf", false},
		{"text/directory", "text/vcard", ".vcf", false},
		{"application/vcard", "text/vcard", ".vcf", false},
		{"text/x-vcalendar", "text/calendar", ".ics", false},
		{"audio/amr-nb", "audio/amr", ".amr", true},
		{"audio/x-mp3", "audio/mpeg", ".mp3", true},
		{"audio/3gpp", "video/3gpp", ".3gp", true},
		{"video/mov", "video/quicktime", ".mov", true},
		{"video/x+xml", "video/x+xml", "", false},
		{"audio/xml", "audio/xml", "", false},
		{"text/html", "text/html", ".html", false},
		{"application/x-of-nobody", "application/x-of-nobody", "", false},
	} {
		if got := Canonical(c.name); got != c.canonical {
			t.Errorf("%s: canonical %s, want %s", c.name, got, c.canonical)
		}
		if got := Extension(c.name); got != c.extension {
			t.Errorf("%s: extension %q, want %q", c.name, got, c.extension)
		}
		if got := Inline(c.name); got != c.inline {
			t.Errorf("%s: inline %v, want %v", c.name, got, c.inline)
		}
	}
}

// TestSynonyms: each leads to a type that has an extension, and none hides a name that
// is known anyway.
func TestSynonyms(t *testing.T) {
	for name, same := range synonyms {
		if mimetype.Lookup(name) != nil {
			t.Errorf("%s is known without us", name)
		}
		if Extension(same) == "" || Canonical(same) != same {
			t.Errorf("%s leads to %s, which is no canonical name", name, same)
		}
	}
}

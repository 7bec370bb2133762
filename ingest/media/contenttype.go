package media

import (
	"fmt"
	"slices"
	"strings"

	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/mediatype"

	"github.com/gabriel-vasile/mimetype"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// sniffLength is how much of a medium is looked at for its type, mimetype's own
// default (https://pkg.go.dev/github.com/gabriel-vasile/mimetype#SetLimit).
const sniffLength = 3072

// anyBytes is the type that says nothing.
const anyBytes = "application/octet-stream"

// saysNothing are the names of it: the last is what S3 has for an object without a
// type (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html).
var saysNothing = []string{anyBytes, "application/x-octet-stream", "application/unknown", "application/x-unknown", "binary/octet-stream"}

// ContentType tells a medium's type from its first bytes and from what was declared of
// it, the most trusted first. The first declared name is kept, as it was given, that
// the bytes do not contradict. Without one it is what the bytes say.
func ContentType(head []byte, declared ...string) string {
	sniffed := sniff(head)
	for _, field := range declared {
		if name, ok := mediatype.Parse(field); ok && !slices.Contains(saysNothing, name) && !contradicts(sniffed, name) {
			return name
		}
	}
	name, _, _ := strings.Cut(sniffed.String(), ";")
	return name
}

// sniff tells a type from the bytes. What is text is looked at again without its byte
// order mark, in UTF-8: most kinds of text are known by how they begin.
func sniff(head []byte) *mimetype.MIME {
	sniffed := mimetype.Detect(head)
	if !sniffed.Is("text/plain") {
		return sniffed
	}
	if plain, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), head); err == nil {
		return mimetype.Detect(plain)
	}
	return sniffed
}

// guesses are types that much plain text looks like.
var guesses = []string{
	"text/csv", "text/tab-separated-values",
	"image/x-portable-bitmap", "image/x-portable-graymap", "image/x-portable-pixmap", "image/x-portable-arbitrarymap",
}

// contradicts tells whether a medium cannot be what its name says. A name that says
// more or less than the bytes do is no contradiction, as long as one type is a kind of
// the other: a vCard is text, and what begins as a zip file may be a document. But
// pictures, and text of a known kind, are known by their bytes.
func contradicts(sniffed *mimetype.MIME, declared string) bool {
	if name, _, _ := strings.Cut(sniffed.String(), ";"); slices.Contains(guesses, name) {
		sniffed = sniffed.Parent()
	}
	known := mediatype.Lookup(declared)
	if known == nil {
		return contradictsUnknown(sniffed, declared)
	}
	switch {
	case sniffed.Is(anyBytes):
		return mediatype.Group(known.String()) == "image" || isKind(known, "text/plain")
	case isPicture(sniffed) != isPicture(known):
		return true
	case isPicture(sniffed):
		return !isRelated(sniffed, known) && (!isHEIF(sniffed) || !isHEIF(known))
	}
	return !isRelated(sniffed, known) && container(sniffed) != container(known)
}

// contradictsUnknown is contradicts for a name of which only the group says what its
// bytes are like.
func contradictsUnknown(sniffed *mimetype.MIME, declared string) bool {
	group := mediatype.Group(declared)
	switch {
	case sniffed.Is(anyBytes):
		return group == "text"
	case sniffed.Is("text/plain"), sniffed.Is("text/xml"):
		return group != "text" && group != "application"
	case sniffed.Is("application/json"):
		return !strings.HasSuffix(declared, "+json")
	case sniffed.Is("application/zip"), sniffed.Is("application/gzip"), sniffed.Is("application/x-ole-storage"):
		return group != "application"
	}
	return true
}

// isKind tells whether a type is the named one or a kind of it.
func isKind(m *mimetype.MIME, name string) bool {
	for ; m != nil; m = m.Parent() {
		if m.Is(name) {
			return true
		}
	}
	return false
}

// isRelated tells whether one of two types is the other or a kind of it.
func isRelated(a, b *mimetype.MIME) bool { return isKind(a, b.String()) || isKind(b, a.String()) }

// isPicture tells a picture, but not one that is written as text.
func isPicture(m *mimetype.MIME) bool {
	return mediatype.Group(m.String()) == "image" && !isKind(m, "text/plain")
}

// isHEIF tells the formats whose pictures are in the container of ISO/IEC 23008-12, of
// which HEIC is one.
func isHEIF(m *mimetype.MIME) bool { return strings.HasPrefix(m.String(), "image/hei") }

// container is the format that a recording is wrapped in, which the names of audio and
// of video share: 3GPP and QuickTime are of the family of MP4 (ISO/IEC 14496-12). It is
// the type itself if it is no such recording.
func container(m *mimetype.MIME) string {
	switch {
	case isKind(m, "video/mp4"), m.Is("video/quicktime"):
		return "video/mp4"
	case isKind(m, "application/ogg"):
		return "application/ogg"
	case m.Is("video/webm"), m.Is("video/matroska"):
		return "video/matroska"
	}
	return m.String()
}

// asItCame is the note of a medium that is not fitted.
func asItCame(record store.Media, p resize.Profile) string {
	limit := int64(p.MaxBytes - p.Reserve)
	if record.Size > limit {
		return fmt.Sprintf("%s is kept as it came; it is %d bytes over the limit of profile %s", record.ContentType, record.Size-limit, p.Name)
	}
	return fmt.Sprintf("%s is kept as it came; it is inside the limit of profile %s", record.ContentType, p.Name)
}

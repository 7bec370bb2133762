package media

import (
	"fmt"
	"mime"
	"strings"

	"mmspipe/resize"
	"mmspipe/store"

	"github.com/gabriel-vasile/mimetype"
)

// sniffLength is how much of a medium is looked at for its type, mimetype's own
// default (https://pkg.go.dev/github.com/gabriel-vasile/mimetype#SetLimit).
const sniffLength = 3072

// maxType bounds a declared type: both of its names may have 127 characters (RFC
// 6838 section 4.2).
const maxType = 255

// ContentType tells a medium's type from its first bytes. What was declared is
// believed only where these say no more than that it is text, or nothing: every
// picture worth showing is told by its bytes.
func ContentType(head []byte, declared string) string {
	sniffed, _, _ := strings.Cut(mimetype.Detect(head).String(), ";")
	declared, _, err := mime.ParseMediaType(declared)
	if err != nil || len(declared) > maxType {
		return sniffed
	}
	group, _, _ := strings.Cut(declared, "/")
	switch {
	case sniffed == "text/plain" && group == "text",
		sniffed == "application/octet-stream" && (group == "audio" || group == "video" || group == "application"):
		return declared
	}
	return sniffed
}

// asItCame is the note of a medium that is not fitted.
func asItCame(record store.Media, p resize.Profile) string {
	limit := int64(p.MaxBytes - p.Reserve)
	if record.Size > limit {
		return fmt.Sprintf("%s is kept as it came; it is %d bytes over the limit of profile %s", record.ContentType, record.Size-limit, p.Name)
	}
	return fmt.Sprintf("%s is kept as it came; it is inside the limit of profile %s", record.ContentType, p.Name)
}

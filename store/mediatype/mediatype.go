// Package mediatype knows the names of media types: which mean the same, which
// extension a file of one has, and what a browser may show in place.
//
// A type is kept under the name that its sender gave it. Whoever compares two names
// compares their canonical ones.
package mediatype

import (
	"mime"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// maxName bounds a name: both of its parts may have 127 characters (RFC 6838
// section 4.2).
const maxName = 255

// synonyms are names that phones, carriers and web servers write besides those that
// mimetype knows (https://github.com/gabriel-vasile/mimetype/blob/master/supported_mimes.md).
var synonyms = map[string]string{
	"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-jpeg": "image/jpeg", "image/x-jpg": "image/jpeg", "image/jfif": "image/jpeg",
	"image/x-png": "image/png", "image/x-gif": "image/gif", "image/x-webp": "image/webp",
	"image/tif": "image/tiff", "image/x-tiff": "image/tiff", "image/x-tif": "image/tiff",
	"image/x-windows-bmp": "image/bmp", "image/vnd.microsoft.icon": "image/x-icon", "image/ico": "image/x-icon",
	"image/x-heic": "image/heic", "image/x-heif": "image/heif", "image/svg": "image/svg+xml",

	"audio/amr-wb": "audio/amr", "audio/x-amr": "audio/amr", "audio/aacp": "audio/aac", "audio/x-aac": "audio/aac",
	"audio/x-mp3": "audio/mpeg", "audio/mpg": "audio/mpeg", "audio/mpeg3": "audio/mpeg", "audio/x-mpeg-3": "audio/mpeg", "audio/x-mpg": "audio/mpeg",
	"audio/m4a": "audio/x-m4a", "audio/mp4a-latm": "audio/x-m4a", "audio/x-m4p": "audio/x-m4a",
	"audio/x-ogg": "audio/ogg", "audio/opus": "audio/ogg", "audio/vorbis": "audio/ogg", "audio/speex": "audio/ogg",
	"audio/x-flac": "audio/flac", "audio/x-qcelp": "audio/qcelp", "audio/vnd.qcelp": "audio/qcelp", "audio/x-au": "audio/basic",
	"audio/3gp": "video/3gpp", "audio/x-matroska": "video/matroska", "audio/x-ms-wma": "video/x-ms-asf",

	"video/mpeg4": "video/mp4", "video/x-mp4": "video/mp4", "video/m4v": "video/x-m4v", "video/mpg": "video/mpeg", "video/x-mpeg": "video/mpeg",
	"video/mov": "video/quicktime", "video/x-quicktime": "video/quicktime", "video/x-3gpp": "video/3gpp",

	"text/x-vcard": "text/vcard", "text/vcf": "text/vcard", "text/x-vcf": "text/vcard", "text/directory": "text/vcard",
	"application/vcard": "text/vcard", "application/x-vcard": "text/vcard",
	"text/x-vcalendar": "text/calendar", "text/vcalendar": "text/calendar", "text/x-calendar": "text/calendar", "text/ics": "text/calendar", "application/ics": "text/calendar",
	"text/x-csv": "text/csv", "application/csv": "text/csv", "text/comma-separated-values": "text/csv",
	"text/richtext": "text/rtf", "application/x-rtf": "text/rtf",
}

// Parse returns the name in a Content-Type field, in lower case and without its
// parameters, however these are written. It is not ok if there is none, nor if it is
// a pattern such as image/*.
func Parse(field string) (name string, ok bool) {
	name, _, _ = strings.Cut(field, ";")
	name, _, err := mime.ParseMediaType(name)
	_, subtype, both := strings.Cut(name, "/")
	if err != nil || !both || subtype == "" || len(name) > maxName || strings.Contains(name, "*") {
		return "", false
	}
	return name, true
}

// Group is the first part of a name: image of image/png.
func Group(name string) string {
	group, _, _ := strings.Cut(name, "/")
	return group
}

// Lookup returns how a named type is told from its bytes, nil if it is not.
func Lookup(name string) *mimetype.MIME {
	if same, ok := synonyms[name]; ok {
		name = same
	}
	return mimetype.Lookup(name)
}

// Canonical returns the one name of all that mean the same type as the given one.
func Canonical(name string) string {
	known := Lookup(name)
	if known == nil {
		return name
	}
	canonical, _, _ := strings.Cut(known.String(), ";")
	return canonical
}

// Extension is that of a file of the type, with its dot; empty if it has none.
func Extension(name string) string {
	known := Lookup(name)
	if known == nil {
		return ""
	}
	return known.Extension()
}

// rasterTypes are pictures in which nothing can run.
var rasterTypes = []string{
	"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/heic", "image/heif", "image/avif",
}

// Inline tells whether a browser may show what somebody sent under this type: raster
// pictures, audio and video. It must save all else, as a page of ours could run in it:
// also what ends in +xml, which is XML of every group to a browser
// (https://mimesniff.spec.whatwg.org/#xml-mime-type).
func Inline(name string) bool {
	if slices.Contains(rasterTypes, Canonical(name)) {
		return true
	}
	group := Group(name)
	return (group == "audio" || group == "video") && !strings.HasSuffix(name, "xml")
}

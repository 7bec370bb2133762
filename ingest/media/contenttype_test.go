package media_test

import (
	"testing"

	"mmspipe/ingest/media"
)

const (
	bom    = "\xef\xbb\xbf"
	card   = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoë\r\nEND:VCARD\r\n"
	page   = "<!DOCTYPE html><html><script>alert(1)</script></html>"
	amr    = "#!AMR\n\x3c\x91\x17\x16\xbe\x66\x79\xe1\xe0\x01\xe7\xaf\xf0\x00\x00\x00"
	jpeg   = "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01"
	png    = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	svg    = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	mp4    = "\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp42isom"
	heic   = "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
	mp3    = "ID3\x04\x00\x00\x00\x00\x00\x00"
	pdf    = "%PDF-1.7\n"
	table  = "a,b,c\n1,2,3\n4,5,6\n"
	noise  = "\x00\x01\x02\x03\x80\xfe\x00\x90\x07"
	noType = "application/octet-stream"
)

func TestContentType(t *testing.T) {
	for _, c := range []struct{ name, head, declared, want string }{
		// The same type in other words.
		{"a vCard", card, "text/x-vcard", "text/x-vcard"},
		{"a vCard with a mark", bom + card, "text/x-vcard; charset=utf-8", "text/x-vcard"},
		{"a vCard of an application", card, "application/vcard", "application/vcard"},
		{"a directory", card, "text/directory", "text/directory"},
		{"a JPEG", jpeg, "image/jpg", "image/jpg"},
		{"a progressive JPEG", jpeg, "image/pjpeg", "image/pjpeg"},
		{"a PNG", png, "image/x-png", "image/x-png"},
		{"speech", amr, "audio/AMR-NB", "audio/amr-nb"},
		{"wideband speech", "#!AMR-WB\n" + noise, "audio/amr-wb", "audio/amr-wb"},
		{"MP3", mp3, "audio/x-mp3", "audio/x-mp3"},
		{"sound in MP4", mp4, "audio/mp4", "audio/mp4"},
		{"sound in 3GPP", mp4, "audio/3gpp", "audio/3gpp"},
		{"a film of QuickTime", mp4, "video/quicktime", "video/quicktime"},
		{"HEIC as HEIF", heic, "image/heif", "image/heif"},
		{"PDF", pdf, "application/x-pdf", "application/x-pdf"},
		// What says more or less than the bytes do.
		{"text", "hello, world", "text/x-whatever", "text/x-whatever"},
		{"text with commas", table, "text/plain", "text/plain"},
		{"text that begins as a pixmap", "P3 is the room", "text/plain", "text/plain"},
		{"a vCard as text", card, "text/plain", "text/plain"},
		{"a page as text", page, "text/plain", "text/plain"},
		{"SMIL", "<smil><body/></smil>", "application/smil", "application/smil"},
		{"SMIL with a declaration", `<?xml version="1.0"?><smil><body/></smil>`, "application/smil", "application/smil"},
		{"a document in a zip file", "PK\x03\x04" + noise, "application/vnd.example", "application/vnd.example"},
		{"sound that nobody knows", noise, "audio/evrc", "audio/evrc"},
		{"sound without a beginning", noise, "audio/mpeg", "audio/mpeg"},
		{"a picture that nobody knows", noise, "image/x-of-nobody", "image/x-of-nobody"},
		// Contradictions.
		{"a page as a picture", page, "image/jpeg", "text/html"},
		{"a page as sound", page, "audio/mpeg", "text/html"},
		{"a page as unknown sound", page, "audio/x-of-nobody", "text/html"},
		{"a page as a vCard", page, "text/x-vcard", "text/html"},
		{"a page with a mark as film", bom + page, "video/mp4", "text/html"},
		{"a page in UTF-16 as film", utf16(page), "video/mp4", "text/html"},
		{"a drawing as a film", svg, "video/x-of-nobody+xml", "image/svg+xml"},
		{"a drawing as a picture", svg, "image/png", "image/svg+xml"},
		{"a JPEG as PNG", jpeg, "image/png", "image/jpeg"},
		{"a JPEG as a vCard", jpeg, "text/x-vcard", "image/jpeg"},
		{"a JPEG as what nobody knows", jpeg, "image/x-of-nobody", "image/jpeg"},
		{"HEIC as a film", heic, "video/mp4", "image/heic"},
		{"speech as MP3", amr, "audio/mpeg", "audio/amr"},
		{"noise as a picture", noise, "image/jpeg", noType},
		{"noise as text", noise, "text/x-vcard", noType},
		{"text as sound", "hello", "audio/amr", "text/plain"},
		{"text as PDF", "hello", "application/pdf", "text/plain"},
		// Nothing declared.
		{"nothing", card, "", "text/vcard"},
		{"a pattern", jpeg, "image/*", "image/jpeg"},
		{"no name", jpeg, "jpeg", "image/jpeg"},
		{"any bytes", bom + card, noType, "text/vcard"},
		{"any bytes of S3", jpeg, "binary/octet-stream", "image/jpeg"},
		{"a vCard in UTF-16", utf16(card), noType, "text/vcard"},
		{"a table", table, noType, "text/csv"},
	} {
		if got := media.ContentType([]byte(c.head), c.declared); got != c.want {
			t.Errorf("%s: %s as %q is %s, want %s", c.name, c.head, c.declared, got, c.want)
		}
	}
	for _, declared := range [][]string{{noType, "text/x-vcard"}, {"", "text/x-vcard"}, {"image/png", "text/x-vcard"}, {"text/x-vcard", "text/vcard"}} {
		if got := media.ContentType([]byte(card), declared...); got != "text/x-vcard" {
			t.Errorf("a vCard as %q is %s, want text/x-vcard", declared, got)
		}
	}
}

// utf16 writes ASCII in UTF-16 with its byte order mark.
func utf16(s string) string {
	wide := []byte{0xff, 0xfe}
	for _, b := range []byte(s) {
		wide = append(wide, b, 0)
	}
	return string(wide)
}

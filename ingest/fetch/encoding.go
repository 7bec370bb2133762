package fetch

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// errGzip says no more than that: the decoder quotes what it read.
var errGzip = errors.New("the gzip stream is damaged")

// encoding reads Content-Encoding: whether the body is compressed by gzip, and whether
// it is understood at all (RFC 9110 section 8.4; x-gzip is another name of gzip,
// section 8.4.1.3).
func encoding(h http.Header) (compressed, understood bool) {
	for name := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "", "identity":
		case "gzip", "x-gzip":
			if compressed {
				return true, false // twice
			}
			compressed = true
		default:
			return compressed, false
		}
	}
	return compressed, true
}

// decoder is a body as it was before it was compressed. It keeps its error, which may
// be the body's, apart from that of where it is copied to. An empty body is empty.
type decoder struct {
	body       io.Reader
	compressed bool
	gzip       *gzip.Reader
	err        error
}

// Read implements [io.Reader].
func (d *decoder) Read(p []byte) (n int, err error) {
	switch {
	case !d.compressed:
		n, err = d.body.Read(p)
	case d.gzip == nil:
		d.gzip, err = gzip.NewReader(d.body)
	default:
		n, err = d.gzip.Read(p)
	}
	if !errors.Is(err, io.EOF) {
		d.err = err
	}
	return n, err
}

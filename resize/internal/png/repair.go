package png

import "encoding/binary"

// Repair returns a file that [Reader.Decode] found odd as strict decoders read
// it, without its metadata: the pixels in one chunk, checksums and end right, the
// deflated bytes as they were. It reports false where they have no end, or there
// are more frames than the still picture, which would be lost.
func (r *Reader) Repair(o Outcome) ([]byte, bool) {
	if o.Lost || o.deflated <= 0 {
		return nil, false
	}
	pixels := make([]byte, 0, o.deflated+6)
	out, done := append(make([]byte, 0, len(r.data)+16), Signature...), false
	for c := range Chunks(r.data) {
		if c.Is("IDAT") {
			pixels = append(pixels, c.Body()...)
		}
	}
	pixels = binary.BigEndian.AppendUint32(pixels[:2+o.deflated], o.adler)
	if oddHead(pixels) {
		copy(pixels, "\x78\x01") // deflated, with the largest window
	}
	for c := range Chunks(r.data) {
		switch picture := c.Picture(); {
		case c.Is("fdAT"):
			return nil, false
		case c.Is("IDAT") && !done:
			out, done = appendChunk(out, "IDAT", pixels), true
		case c.Is("IDAT"), c.Is("IEND"), picture == nil, c.Is("PLTE") && r.Colour&1 == 0 && r.odd:
		case done: // what stands behind the pixels bears on nothing
		default:
			out = appendChunk(out, string(c[4:8]), c.Body())
		}
	}
	return appendChunk(out, "IEND"), true
}

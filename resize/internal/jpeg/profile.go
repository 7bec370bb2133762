package jpeg

import "encoding/binary"

// ProfileSegment returns an ICC profile as the segment that a file has it in (ICC.1,
// annex B.4), or nil where there is none, or it is too long for one segment.
func ProfileSegment(profile []byte) []byte {
	const name = "ICC_PROFILE\x00\x01\x01" // the first of one
	length := 2 + len(name) + len(profile)
	if len(profile) == 0 || length > 1<<16-1 {
		return nil
	}
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe2}, uint16(length))
	return append(append(segment, name...), profile...)
}

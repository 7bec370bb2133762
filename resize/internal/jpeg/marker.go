package jpeg

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Markers of a JPEG file (ITU-T T.81, table B.1).
const (
	markerTEM   = 0x01
	markerSOF0  = 0xc0 // baseline
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerSOF9  = 0xc9 // sequential, of arithmetic coding
	markerSOF10 = 0xca // progressive
	markerDAC   = 0xcc
	markerSOFf  = 0xcf // the last of the frame headers
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPPf  = 0xef
	markerCOM   = 0xfe
)

// jfifHeader is a JFIF header without the thumbnail that it may carry, of square
// pixels (ITU-T T.871, section 10.1).
const jfifHeader = "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"

// Segments walks a JPEG file. It yields each marker with the bytes that belong
// to it: the 0xff and the marker itself, its parameters, behind SOS the coded
// data up to the next marker, and behind EOI whatever is appended to the file.
// What stands between markers without belonging to one is passed over, as
// decoders do. The walk ends after EOI, or where the file is cut off.
func Segments(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for pos := 0; ; {
			i := bytes.IndexByte(data[pos:], 0xff)
			if i < 0 || pos+i+2 > len(data) {
				return
			}
			pos += i
			marker := data[pos+1]
			switch {
			case marker == 0xff: // a fill byte before the marker
				pos++
				continue
			case marker == 0, marker >= markerRST0 && marker <= markerRST7:
				pos += 2
				continue
			}
			end := segmentEnd(data, pos, marker)
			if end < 0 || !yield(marker, data[pos:end]) || marker == markerEOI {
				return
			}
			pos = end
		}
	}
}

// segmentEnd returns where the segment of the marker at pos ends, or -1 where
// the file does before it.
func segmentEnd(data []byte, pos int, marker byte) int {
	end := pos + 2
	switch marker {
	case markerSOI, markerTEM:
		return end
	case markerEOI:
		return len(data)
	}
	if end+2 > len(data) {
		return -1
	}
	n := int(binary.BigEndian.Uint16(data[end:]))
	end += n
	if n < 2 || end > len(data) {
		return -1
	}
	if marker != markerSOS {
		return end
	}
	// In coded data 0xff is followed by 0 or is a restart marker (T.81, B.1.1.5).
	for {
		i := bytes.IndexByte(data[end:], 0xff)
		if i < 0 || end+i+1 >= len(data) {
			return len(data)
		}
		end += i
		next := data[end+1]
		if next != 0 && (next < markerRST0 || next > markerRST7) {
			return end
		}
		end += 2
	}
}

// isFrameHeader reports whether a marker is one of the frame headers.
func isFrameHeader(marker byte) bool {
	return marker >= markerSOF0 && marker <= markerSOFf &&
		marker != markerDHT && marker != markerJPG && marker != markerDAC
}

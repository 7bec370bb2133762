package resize

import (
	"bytes"
	"encoding/binary"
)

// exifOrientation returns the orientation, 1 to 8, that a TIFF structure as in
// EXIF gives in its first directory, or 0 where it gives none. The tag is
// 0x0112 of type SHORT (CIPA DC-008, "Exif 2.32", section 4.6.4 A).
func exifOrientation(tiff []byte) int {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 0
	}
	if len(tiff) < 8 {
		return 0
	}
	offset := uint64(order.Uint32(tiff[4:]))
	if offset+2 > uint64(len(tiff)) {
		return 0
	}
	entries := int(order.Uint16(tiff[offset:]))
	rest := tiff[offset+2:]
	for range entries {
		if len(rest) < 12 {
			return 0
		}
		tag, kind, value := order.Uint16(rest), order.Uint16(rest[2:]), order.Uint16(rest[8:])
		if tag == 0x0112 && kind == 3 && value >= 1 && value <= 8 {
			return int(value)
		}
		rest = rest[12:]
	}
	return 0
}

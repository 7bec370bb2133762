package resize

import (
	"bytes"
	"encoding/binary"
)

// exifOrientation returns the orientation, 1 to 8, that a TIFF structure as in
// EXIF gives in its first directory, or 0 where it gives none. The tag is
// 0x0112 of type SHORT (CIPA DC-008, "Exif 2.32", section 4.6.4 A); writers use
// the other types of whole numbers too, and readers take them.
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
		if order.Uint16(rest) == 0x0112 {
			if o := wholeNumber(order, order.Uint16(rest[2:]), rest[8:12]); o >= 1 && o <= 8 {
				return int(o)
			}
		}
		rest = rest[12:]
	}
	return 0
}

// wholeNumber returns the value of a tag of a type of whole numbers, which stands
// at the beginning of its field of four bytes (TIFF 6.0, section 2); 0 of others.
func wholeNumber(order binary.ByteOrder, kind uint16, field []byte) uint32 {
	switch kind {
	case 1, 6: // BYTE, SBYTE
		return uint32(field[0])
	case 3, 8: // SHORT, SSHORT
		return uint32(order.Uint16(field))
	case 4, 9, 13: // LONG, SLONG, IFD
		return order.Uint32(field)
	}
	return 0
}

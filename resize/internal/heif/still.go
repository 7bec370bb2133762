package heif

import "bytes"

// still returns a file with one coded picture as its only item, for a codec that
// takes no bare bitstream.
func (l *layer) still(t tile) []byte {
	kind, config, brand := "hvc1", "hvcC", "heic"
	if l.av1 {
		kind, config, brand = "av01", "av1C", "avif"
	}
	record := t.config
	if !l.av1 && len(record) > 16 && record[16]&3 == 0 {
		// libheif is asked for grey as 4:2:0: as grey it does not give it. This is
		// chroma_format (ISO/IEC 14496-15, section 8.3.3.1).
		record = bytes.Clone(record)
		record[16] |= 1
	}
	properties := [][]byte{
		box(config, record),
		box("ispe", numbers(4, 0, uint64(l.tile.width), uint64(l.tile.height))),
	}
	if l.colr != nil {
		properties = append(properties, box("colr", l.colr))
	}
	owned := numbers(1, 0x81, 2, 3)[:len(properties)] // the first is essential

	const item = 1
	ftyp := box("ftyp", []byte(brand), numbers(4, 0), []byte(brand+"mif1"))
	meta := func(offset int) []byte {
		return box("meta", numbers(4, 0),
			box("hdlr", numbers(4, 0, 0), []byte("pict"), numbers(4, 0, 0, 0), []byte{0}),
			box("pitm", numbers(4, 0), numbers(2, item)),
			box("iloc", numbers(4, 0), numbers(2, 0x4400, 1, item, 0, 1),
				numbers(4, uint64(offset), uint64(len(t.data)))),
			box("iinf", numbers(4, 0), numbers(2, 1),
				box("infe", numbers(4, 2<<24), numbers(2, item, 0), []byte(kind), []byte{0})),
			box("iprp", box("ipco", properties...),
				box("ipma", numbers(4, 0, 1), numbers(2, item), numbers(1, uint64(len(owned))), owned)),
		)
	}
	offset := len(ftyp) + len(meta(0)) + 8
	return append(append(ftyp, meta(offset)...), box("mdat", t.data)...)
}

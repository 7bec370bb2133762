package resize

import (
	"bytes"
	"encoding/binary"
)

// Info is what a picture's header says.
type Info struct {
	ContentType string
	// Width and Height are the picture's as seen, after its orientation is
	// applied, in pixels.
	Width, Height int
	// Orientation is EXIF's, 1 to 8; 1 where there is none.
	Orientation int
	// Frames is the number of pictures of an animation, 1 of a still picture.
	Frames int
}

// Sniff returns the media type of the picture that begins with head, of the
// formats that are decoded: image/jpeg, image/png, image/gif, image/webp or
// image/bmp. It returns "" for all else. 32 bytes are enough.
func Sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return typeJPEG
	case bytes.HasPrefix(head, []byte(pngSignature)):
		return typePNG
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return typeGIF
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return typeWebP
	case isBMP(head):
		return typeBMP
	}
	return ""
}

// Inspect reads the header of a picture and walks its structure; it decodes and
// allocates nothing. The error is an *[UnfitError] where the format is not one
// of those that [Sniff] tells, or its header is damaged. A picture that Inspect
// can read may still be one that Fit refuses.
func Inspect(data []byte) (Info, error) {
	h, err := readHeader(data)
	return h.Info, err
}

// header is what is known of a picture before it is decoded.
type header struct {
	Info
	width, height int    // as coded, before orientation
	components    int    // of a JPEG: 1 grey, 3 colour, 4 CMYK
	memory        int64  // bytes that the decoder takes for the picture; not of a JPEG
	metadata      bool   // there is something that a result must not carry
	whole         bool   // the structure is complete up to its end mark
	refused       string // why Fit does not decode it although the header is right
}

// pixels returns the number of pixels that are to be decoded.
func (h header) pixels() int64 { return int64(h.width) * int64(h.height) }

// readHeader reads the header of any format that is decoded.
func readHeader(data []byte) (h header, err error) {
	h.ContentType = Sniff(data)
	h.Orientation, h.Frames = 1, 1
	switch h.ContentType {
	case typeJPEG:
		err = h.readJPEG(data)
	case typePNG:
		err = h.readPNG(data)
	case typeGIF:
		err = h.readGIF(data)
	case typeWebP:
		err = h.readWebP(data)
	case typeBMP:
		err = h.readBMP(data)
	default:
		return header{}, unfit("format %s is not decoded", formatName(data))
	}
	if err != nil {
		return header{}, err
	}
	if h.width <= 0 || h.height <= 0 {
		return header{}, unfit("damaged: no size in the header of %s", h.ContentType)
	}
	h.Width, h.Height = h.width, h.height
	if h.Orientation >= 5 {
		h.Width, h.Height = h.height, h.width
	}
	return h, nil
}

// formatName names a format that is not decoded, for the reason of an error.
// The brands are those of ISO/IEC 23008-12 (HEIF) and of AV1's image format.
func formatName(data []byte) string {
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		switch string(data[8:12]) {
		case "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1":
			return "HEIC"
		case "avif", "avis":
			return "AVIF"
		}
	}
	switch {
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		return "TIFF"
	case len(data) == 0:
		return "of no bytes"
	}
	return "of these bytes"
}

// isBMP wants more than the two letters with which any text may begin: a file
// header and the length of one of the information headers that are decoded
// (BITMAPINFOHEADER, version 4, version 5; Windows GDI, "Bitmap Storage").
func isBMP(head []byte) bool {
	if len(head) < 18 || string(head[:2]) != "BM" {
		return false
	}
	n := binary.LittleEndian.Uint32(head[14:])
	return n == 40 || n == 108 || n == 124
}

// readBMP reads the file header and the information header.
func (h *header) readBMP(data []byte) error {
	if len(data) < 54 {
		return unfit("damaged: the header of the BMP is cut off")
	}
	width := int64(int32(binary.LittleEndian.Uint32(data[18:])))
	height := int64(int32(binary.LittleEndian.Uint32(data[22:])))
	height = max(height, -height) // negative: rows from the top down
	depth := int64(binary.LittleEndian.Uint16(data[28:]))
	if width <= 0 || width > 1<<30 || height > 1<<30 || depth == 0 || depth > 32 {
		return unfit("damaged: the header of the BMP has no valid size")
	}
	h.width, h.height = int(width), int(height)
	h.memory = 4 * width * height
	offset := int64(binary.LittleEndian.Uint32(data[10:]))
	row := (width*depth + 31) / 32 * 4 // rows are padded to four bytes
	if int64(len(data)) < offset+row*height {
		h.refused = "damaged: the BMP is cut off"
	}
	return nil
}

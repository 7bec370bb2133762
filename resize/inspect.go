package resize

import (
	"bytes"

	"mmspipe/resize/internal/bmp"
	"mmspipe/resize/internal/heif"
	"mmspipe/resize/internal/png"
	"mmspipe/resize/internal/webp"
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
// formats that are decoded: image/jpeg, image/png, image/gif, image/webp,
// image/bmp, image/heic, image/avif, or image/heif where a file of that family does
// not say how it is coded. It returns "" for all else. 64 bytes are enough.
func Sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return typeJPEG
	case bytes.HasPrefix(head, []byte(png.Signature)):
		return typePNG
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return typeGIF
	case webp.Sniff(head):
		return typeWebP
	case bmp.Is(head):
		return typeBMP
	}
	return heifType(head)
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
	width, height int          // as coded, before orientation
	components    int          // of a JPEG: 1 grey, 3 colour, 4 CMYK
	progressive   bool         // of a JPEG
	arithmetic    bool         // of a JPEG: its coding, which phones do not read
	planar        bool         // opaque, and coded in planes as video has them
	heif          *heif.Header // of a file of that family
	memory        int64        // bytes that the decoder takes for the picture; not of a JPEG
	moving        int64        // pixels of all pictures of an animation that [Fitter.fitMoving] takes; 0 of all else
	cost          int64        // nanoseconds of CPU that a decode takes, about
	metadata      bool         // there is something that a result must not carry
	whole         bool         // the structure is complete up to its end mark; of a PNG, a decode tells
	refused       string       // why Fit does not decode it although the header is right
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
		h.readGIF(data)
	case typeWebP:
		err = h.readWebP(data)
	case typeHEIC, typeHEIF, typeAVIF:
		err = h.readHEIF(data)
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
	if h.cost == 0 {
		h.cost = 30 * h.pixels() * int64(h.Frames)
	}
	h.Width, h.Height = h.width, h.height
	if h.Orientation >= 5 {
		h.Width, h.Height = h.height, h.width
	}
	return h, nil
}

// formatName names a format that is not decoded, for the reason of an error.
func formatName(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		return "TIFF"
	case len(data) == 0:
		return "of no bytes"
	}
	return "of these bytes"
}

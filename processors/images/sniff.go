package images

import "bytes"

// Format is an accepted image format, as statuses and metadata name it.
type Format string

// The accepted formats.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	WebP Format = "webp"
)

// SniffLength is how many of an image's first bytes Sniff wants to see.
const SniffLength = 12

// ContentType is the format's media type.
func (f Format) ContentType() string { return "image/" + string(f) }

// Sniff tells an image's format by its first bytes, whatever it is called; false for anything that is not accepted.
func Sniff(b []byte) (Format, bool) {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return JPEG, true
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		return PNG, true
	case bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		return GIF, true
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		return WebP, true
	}
	return "", false
}

package images

import "encoding/binary"

// The decoder of golang.org/x/image knows still WebP images only. An animated one (RIFF chunks VP8X with the animation
// bit, ANIM, ANMF for each frame) is therefore taken apart here, and its first frame put together as a still image.
const (
	webpHeader    = 12 // RIFF, size, WEBP
	chunkHeader   = 8  // name, size
	frameHeader   = 16 // of an ANMF chunk: place, size, duration, flags
	animationFlag = 1 << 1
	alphaFlag     = 1 << 4
)

// chunks calls f for each whole chunk of b, until it returns false.
func chunks(b []byte, f func(name string, data []byte) bool) {
	for len(b) >= chunkHeader {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n > uint64(len(b)-chunkHeader) {
			return
		}
		if !f(string(b[:4]), b[chunkHeader:chunkHeader+n]) {
			return
		}
		next := chunkHeader + n + n&1
		if next > uint64(len(b)) {
			return
		}
		b = b[next:]
	}
}

// animated says whether b is an animated WebP image.
func animated(b []byte) bool {
	return len(b) > webpHeader+chunkHeader && string(b[webpHeader:webpHeader+4]) == "VP8X" && b[webpHeader+chunkHeader]&animationFlag != 0
}

// webpFrames counts the frames of a WebP image.
func webpFrames(b []byte) int {
	if !animated(b) {
		return 1
	}
	n := 0
	chunks(b[webpHeader:], func(name string, _ []byte) bool {
		if name == "ANMF" {
			n++
		}
		return true
	})
	return n
}

// firstFrame is an animated image's first frame as a still one. What is no animation, or has no whole frame, comes back as
// it is: the decoder says what is wrong with it.
func firstFrame(b []byte) []byte {
	if !animated(b) {
		return b
	}
	out := b
	chunks(b[webpHeader:], func(name string, data []byte) bool {
		if name != "ANMF" || len(data) < frameHeader {
			return true
		}
		out = still(data[6:12], data[frameHeader:])
		return false
	})
	return out
}

// still makes a file of a frame's chunks. size is the frame's width and height less one, 24 bits each, as ANMF and VP8X
// both have them; a frame with an alpha chunk needs the extended header.
func still(size, frame []byte) []byte {
	body := []byte("WEBP")
	if len(frame) >= 4 && string(frame[:4]) == "ALPH" {
		body = append(body, "VP8X\x0a\x00\x00\x00"...)
		body = append(body, alphaFlag, 0, 0, 0)
		body = append(body, size...)
	}
	body = append(body, frame...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

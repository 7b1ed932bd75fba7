package images

// This file walks over the segments of an image without decoding them. A walk reads what is there and stops at the
// first thing it does not understand: the decoder has the last word on whether an image is whole.

// progressive says whether a JPEG's frame is a progressive one (SOF2), by its markers before the first scan.
func progressive(b []byte) bool {
	for i := 2; i+4 <= len(b); {
		if b[i] != 0xff {
			return false
		}
		switch b[i+1] {
		case 0xff: // fill byte
			i++
			continue
		case 0xc2:
			return true
		case 0xda, 0xd9: // scan, end
			return false
		}
		i += 2 + int(b[i+2])<<8 + int(b[i+3])
	}
	return false
}

// countFrames counts the frames of a GIF or WebP image without decoding them; other formats have one.
func countFrames(f Format, b []byte) int {
	switch f {
	case GIF:
		return max(1, gifFrames(b))
	case WebP:
		return max(1, webpFrames(b))
	}
	return 1
}

// gifFrames counts image descriptors (GIF89a, section 20).
func gifFrames(b []byte) int {
	i := skipTable(b, 13, 10)
	frames := 0
	for i < len(b) {
		switch b[i] {
		case 0x21: // extension: a label and sub-blocks
			i = skipBlocks(b, i+2)
		case 0x2c: // image descriptor: 10 bytes, colours, code size, sub-blocks
			end := skipBlocks(b, skipTable(b, i+10, i+9)+1)
			if end > len(b) {
				return frames
			}
			frames++
			i = end
		default:
			return frames
		}
	}
	return frames
}

// skipTable returns where to go on behind a colour table that would begin at i; the byte at flags says whether there
// is one and how long it is.
func skipTable(b []byte, i, flags int) int {
	if flags >= len(b) || b[flags]&0x80 == 0 {
		return i
	}
	return i + 3<<(b[flags]&7+1)
}

// skipBlocks returns where to go on behind a chain of sub-blocks, beyond the end if it is cut off.
func skipBlocks(b []byte, i int) int {
	for i < len(b) {
		n := int(b[i])
		i += 1 + n
		if n == 0 {
			return i
		}
	}
	return len(b) + 1
}

package demo

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// bombSide is the width and height of the bomb in pixels: decoded it would take 1.6 GB.
const bombSide = 20_000

// bomb is a black PNG of 20,000 by 20,000 pixels, one bit each, in some 50 kB.
func bomb() ([]byte, error) {
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	row := make([]byte, 1+bombSide/8)
	for range bombSide {
		if _, err := z.Write(row); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	header := binary.BigEndian.AppendUint32(nil, bombSide)
	header = binary.BigEndian.AppendUint32(header, bombSide)
	header = append(header, 1, 0, 0, 0, 0)
	b := []byte("\x89PNG\r\n\x1a\n")
	for _, chunk := range []struct {
		name string
		data []byte
	}{{"IHDR", header}, {"IDAT", packed.Bytes()}, {"IEND", nil}} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(chunk.data)))
		start := len(b)
		b = append(append(b, chunk.name...), chunk.data...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	}
	return b, nil
}

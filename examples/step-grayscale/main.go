// Step-grayscale is a sample step: it makes a grayscale PNG of each image. Name it in the configuration:
//
//	processors:
//	  - {name: grayscale, version: "1", command: [bin/step-grayscale]}
package main

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"
	_ "image/jpeg"
	"image/png"
	"os"

	_ "golang.org/x/image/webp"

	"github.com/millrun/millrun/processors/host/step"
)

func main() {
	if err := step.Serve(grayscale); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func grayscale(q step.Request, b []byte) ([]step.Output, error) {
	m, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.ImageID, err)
	}
	gray := image.NewGray(m.Bounds())
	draw.Draw(gray, gray.Bounds(), m, m.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if err := png.Encode(&out, gray); err != nil {
		return nil, err
	}
	s := m.Bounds().Size()
	return []step.Output{{Name: "grayscale", ContentType: "image/png", Width: s.X, Height: s.Y, Bytes: out.Bytes()}}, nil
}

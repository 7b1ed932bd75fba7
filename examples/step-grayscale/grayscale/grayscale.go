// Package grayscale is a sample of the company's own code: a step that makes a grayscale PNG of each image.
package grayscale

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"  // what the pipeline accepts
	_ "image/jpeg" // what the pipeline accepts
	"image/png"

	_ "golang.org/x/image/webp" // what the pipeline accepts

	"github.com/millrun/millrun/processors/host/step"
)

// Step decodes the image and encodes it without its colours, in its own size. An image that it cannot decode is an
// error, which makes a dead letter of the step and lets the image go on.
func Step(q step.Request, b []byte) ([]step.Output, error) {
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

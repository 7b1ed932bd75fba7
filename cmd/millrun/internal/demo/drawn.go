package demo

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
)

// drawnPhotos are pictures for a demo that was given no folder: interference patterns in the three formats that the
// standard library can write.
func drawnPhotos() ([]*photo, error) {
	var photos []*photo
	for i := range 9 {
		img := pattern(640+40*i, 480, float64(i+1))
		var buf bytes.Buffer
		var err error
		var name string
		switch i % 3 {
		case 0:
			name, err = fmt.Sprintf("drawn-%d.jpg", i), jpeg.Encode(&buf, img, &jpeg.Options{Quality: 90})
		case 1:
			name, err = fmt.Sprintf("drawn-%d.png", i), png.Encode(&buf, img)
		default:
			p := image.NewPaletted(img.Bounds(), palette.Plan9)
			draw.FloydSteinberg.Draw(p, p.Bounds(), img, image.Point{})
			name, err = fmt.Sprintf("drawn-%d.gif", i), gif.Encode(&buf, p, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		photos = append(photos, newPhoto(name, buf.Bytes()))
	}
	return photos, nil
}

// pattern is two waves over each other.
func pattern(w, h int, seed float64) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			a := math.Sin(math.Hypot(float64(x), float64(y)) / (7 + seed))
			b := math.Sin(math.Hypot(float64(w-x), float64(y)) / (11 + seed))
			img.SetNRGBA(x, y, color.NRGBA{R: uint8(128 + 127*a), G: uint8(128 + 127*b), B: uint8(128 + 63*(a+b)), A: 255})
		}
	}
	return img
}

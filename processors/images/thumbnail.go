package images

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"

	"golang.org/x/image/draw"
)

// ThumbnailSide is the longest side of a thumbnail, in pixels.
const ThumbnailSide = 320

// thumbnailQuality is JPEG's quality of thumbnails.
const thumbnailQuality = 82

// Thumbnail is a picture as JPEG whose sides are at most side pixels, never larger than the original, transparent parts
// on white. Nothing of the original but its pixels goes into it. The same pixels give the same bytes.
func Thumbnail(m image.Image, side int) (jpg []byte, size image.Point, err error) {
	size = fit(m.Bounds().Size(), side)
	small := shrink(m, size)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, small, &jpeg.Options{Quality: thumbnailQuality}); err != nil {
		return nil, image.Point{}, fmt.Errorf("images: thumbnail: %w", err)
	}
	return b.Bytes(), size, nil
}

// fit is the largest size of the same shape whose sides are at most side.
func fit(s image.Point, side int) image.Point {
	long := max(s.X, s.Y)
	if long <= side {
		return s
	}
	return image.Pt(max(1, (s.X*side+long/2)/long), max(1, (s.Y*side+long/2)/long))
}

// shrink scales in two steps: ApproxBiLinear looks at four pixels of the source for each of the result, so a picture
// made at twice the size first has sixteen behind each. That is 100 times faster than a filter over all pixels of a
// photograph, and hard to tell from it at this size.
func shrink(m image.Image, size image.Point) *image.RGBA {
	if s := m.Bounds().Size(); s.X > 2*size.X && s.Y > 2*size.Y {
		m = scale(m, size.Mul(2))
	}
	return scale(m, size)
}

func scale(m image.Image, size image.Point) *image.RGBA {
	dst := image.NewRGBA(image.Rectangle{Max: size})
	op := draw.Src
	if o, ok := m.(interface{ Opaque() bool }); !ok || !o.Opaque() {
		draw.Draw(dst, dst.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
		op = draw.Over
	}
	draw.ApproxBiLinear.Scale(dst, dst.Bounds(), m, m.Bounds(), op, nil)
	return dst
}

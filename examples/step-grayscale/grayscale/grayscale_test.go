package grayscale

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/millrun/millrun/processors/host/step"
)

func TestGrayscaleKeepsSizeAndLosesColour(t *testing.T) {
	t.Parallel()
	m := image.NewRGBA(image.Rect(3, 3, 13, 8))
	m.Set(3, 3, color.RGBA{R: 255, A: 255})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	out, err := Step(step.Request{}, b.Bytes())
	if err != nil || len(out) != 1 || out[0].Width != 10 || out[0].Height != 5 {
		t.Fatalf("%+v %v", out, err)
	}
	got, err := png.Decode(bytes.NewReader(out[0].Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := got.(*image.Gray); !ok || g.GrayAt(0, 0).Y != color.GrayModel.Convert(m.At(3, 3)).(color.Gray).Y {
		t.Errorf("got %T, pixel %v", got, got.At(0, 0))
	}
	if _, err := Step(step.Request{}, []byte("text")); err == nil {
		t.Error("a text became a picture")
	}
}

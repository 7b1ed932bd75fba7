package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"testing"

	"golang.org/x/image/webp"
)

// animate makes an animation whose frames are the given still images.
func animate(t *testing.T, frames ...[]byte) []byte {
	t.Helper()
	chunk := func(name string, data []byte) []byte {
		out := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data)))
		out = append(out, data...)
		return append(out, make([]byte, len(data)&1)...)
	}
	size := func(b []byte) []byte {
		cfg, err := webp.DecodeConfig(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		w, h := uint32(cfg.Width-1), uint32(cfg.Height-1)
		return []byte{byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)}
	}
	body := []byte("WEBP")
	body = append(body, chunk("VP8X", append([]byte{animationFlag | alphaFlag, 0, 0, 0}, size(frames[0])...))...)
	body = append(body, chunk("ANIM", make([]byte, 6))...)
	for _, f := range frames {
		inner := f[webpHeader:]
		if string(inner[:4]) == "VP8X" {
			inner = inner[chunkHeader+10:]
		}
		body = append(body, chunk("ANMF", append(append(append(make([]byte, 6), size(f)...), make([]byte, 4)...), inner...))...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func TestFirstFrameOfAnAnimatedWebPIsDecoded(t *testing.T) {
	t.Parallel()
	ps := photographs(t)
	for _, name := range []string{"yellow_rose.lossy.webp", "yellow_rose.lossless.webp", "yellow_rose.lossy-with-alpha.webp"} {
		want, err := webp.Decode(bytes.NewReader(ps[name]))
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewDecoder(DecoderConfig{}).Decode(t.Context(), animate(t, ps[name], ps["tux.lossless.webp"], ps[name]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Frames != 3 || m.Pixels.Bounds() != want.Bounds() || m.Pixels.At(40, 40) != want.At(40, 40) {
			t.Errorf("%s: %d frames, %v", name, m.Frames, m.Pixels.Bounds())
		}
		m.Close()
	}
}

// A small canvas in front of a huge frame must not pass the limits.
func TestFrameThatIsLargerThanItsCanvasIsRefused(t *testing.T) {
	t.Parallel()
	ps := photographs(t)
	b := animate(t, ps["yellow_rose.lossless.webp"])
	copy(b[webpHeader+chunkHeader+4:], []byte{0, 0, 0, 0, 0, 0}) // 1 × 1
	m, err := NewDecoder(DecoderConfig{}).Decode(t.Context(), b)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrUndecodable) {
		t.Fatalf("%v, %v", m, err)
	}
}

func TestAnimationThatIsCutOffIsTruncated(t *testing.T) {
	t.Parallel()
	b := animate(t, photographs(t)["yellow_rose.lossy.webp"])
	_, err := NewDecoder(DecoderConfig{}).Decode(t.Context(), b[:len(b)/2])
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("%v is no fault of the image", err)
	}
	if i, err := Header(bytes.NewReader(b[:len(b)/2]), Limits{}); err != nil || image.Pt(i.Width, i.Height) == (image.Point{}) {
		t.Errorf("its header is whole: %+v, %v", i, err)
	}
}

package images

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// photographs are those of Go's own tests and of golang.org/x/image, in the toolchain and the module cache.
func photographs(tb testing.TB) map[string][]byte {
	tb.Helper()
	mod, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output()
	if err != nil {
		tb.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string][]byte{}
	for _, dir := range []string{
		filepath.Join(strings.TrimSpace(string(mod)), "testdata"),
		filepath.Join(strings.TrimSpace(string(root)), "src", "image", "testdata"),
		filepath.Join(strings.TrimSpace(string(root)), "src", "image", "png", "testdata"),
	} {
		files, err := os.ReadDir(dir)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range files {
			if f.IsDir() {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				tb.Fatal(err)
			}
			out[f.Name()] = b
		}
	}
	if len(out) < 100 {
		tb.Fatalf("only %d pictures found", len(out))
	}
	return out
}

// bombPNG claims side × side pixels of one bit each: 48 kB for 20,000.
func bombPNG(side uint32) []byte {
	var idat bytes.Buffer
	z, err := zlib.NewWriterLevel(&idat, zlib.BestCompression)
	if err != nil {
		panic(err)
	}
	row := make([]byte, 1+(side+7)/8)
	for range side {
		z.Write(row)
	}
	z.Close()
	return assemblePNG(side, side, 1, idat.Bytes())
}

func assemblePNG(w, h uint32, depth byte, idat []byte) []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	for _, c := range []struct {
		name string
		data []byte
	}{{"IHDR", append(ihdr, depth, 0, 0, 0, 0)}, {"IDAT", idat}, {"IEND", nil}} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(c.data)))
		body := append([]byte(c.name), c.data...)
		out = binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
	}
	return out
}

// lyingJPEG is a whole small JPEG whose header claims w × h.
func lyingJPEG(tb testing.TB, w, h uint16) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		tb.Fatal(err)
	}
	out := b.Bytes()
	sof := bytes.Index(out, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(out[sof+5:], h)
	binary.BigEndian.PutUint16(out[sof+7:], w)
	return out
}

// allocated is how many bytes f takes from the heap, others' parallel work excluded by running alone.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Not parallel: it measures the process's heap.
func TestBombsAreRefusedFromTheirHeaderWithFlatMemory(t *testing.T) {
	bomb := bombPNG(20_000)
	if len(bomb) > 50_000 {
		t.Fatalf("the bomb weighs %d bytes", len(bomb))
	}
	for name, b := range map[string][]byte{"png": bomb, "jpeg": lyingJPEG(t, 65_500, 65_500)} {
		d := NewDecoder(DecoderConfig{})
		var err error
		got := allocated(func() { _, err = d.Decode(t.Context(), b) })
		if !errors.Is(err, ErrTooBig) {
			t.Errorf("%s: %v", name, err)
		}
		if got > 256<<10 {
			t.Errorf("%s: %d bytes allocated to refuse it", name, got)
		}
	}
}

func TestSniffGoesByContent(t *testing.T) {
	t.Parallel()
	for name, b := range photographs(t) {
		want := map[string]Format{".jpeg": JPEG, ".png": PNG, ".gif": GIF, ".webp": WebP}[filepath.Ext(name)]
		if got, ok := Sniff(b); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %t, want %q", name, got, ok, want)
		}
	}
	for _, b := range []string{"", "\xff\xd8", "hello, I am photo.jpg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "RIFF....WAVE"} {
		if f, ok := Sniff([]byte(b)); ok {
			t.Errorf("%q is taken for %s", b, f)
		}
	}
}

func TestHeaderTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ps := photographs(t)
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"a text called .jpg", []byte("this is no photograph at all"), ErrNotAnImage},
		{"nothing", nil, ErrNotAnImage},
		{"a TIFF", ps["video-001.tiff"], ErrNotAnImage},
		{"a JPEG cut within its header", ps["video-001.jpeg"][:40], ErrTruncated},
		{"a PNG cut within its header", ps["video-001.png"][:20], ErrTruncated},
		{"a GIF cut within its header", ps["video-001.gif"][:12], ErrTruncated},
		{"a WebP cut within its header", ps["video-001.lossy.webp"][:20], ErrTruncated},
		{"a PNG without width", assemblePNG(0, 9, 1, nil), ErrZeroSize},
		{"a JPEG without height", lyingJPEG(t, 8, 0), ErrZeroSize},
		{"a side too long", assemblePNG(20_001, 1, 1, nil), ErrTooBig},
		{"too many pixels", lyingJPEG(t, 8_000, 5_001), ErrTooBig},
		{"a PNG of depth 3", assemblePNG(9, 9, 3, nil), ErrUndecodable},
	} {
		_, err := Header(bytes.NewReader(c.b), Limits{})
		var e *Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "images: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if i, err := Header(bytes.NewReader(lyingJPEG(t, 8_000, 5_000)), Limits{}); err != nil || i.Width != 8_000 || i.Height != 5_000 {
		t.Errorf("exactly 40 megapixels: %+v, %v", i, err)
	}
	if _, err := Header(bytes.NewReader(lyingJPEG(t, 11, 10)), Limits{MaxPixels: 100}); !errors.Is(err, ErrTooBig) {
		t.Errorf("a limit of 100 pixels: %v", err)
	}
}

func TestHeaderPassesTheReadersOwnErrorOn(t *testing.T) {
	t.Parallel()
	lost := errors.New("connection lost")
	r := io.MultiReader(bytes.NewReader(lyingJPEG(t, 8, 8)[:30]), failing{lost})
	_, err := Header(r, Limits{})
	var e *Error
	if !errors.Is(err, lost) || errors.As(err, &e) {
		t.Errorf("got %v: it must not be the image's fault", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestEveryPhotographDecodesAsItsHeaderSays(t *testing.T) {
	t.Parallel()
	d := NewDecoder(DecoderConfig{})
	whole, broken := 0, 0
	// "video-001.progressive.truncated.jpeg" is whole by its markers: it lacks scans, not bytes.
	damaged := map[string]bool{"invalid-crc32.png": true, "invalid-noend.png": true, "invalid-trunc.png": true, "invalid-zlib.png": true}
	for name, b := range photographs(t) {
		if _, ok := Sniff(b); !ok {
			continue
		}
		m, err := d.Decode(t.Context(), b)
		if damaged[name] {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%s: %v, want a fault of the image", name, err)
			}
			broken++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s := m.Pixels.Bounds().Size(); s.X != m.Width || s.Y != m.Height {
			t.Errorf("%s: header %d×%d, pixels %v", name, m.Width, m.Height, s)
		}
		m.Close()
		whole++
	}
	if whole < 90 || broken < 4 {
		t.Errorf("%d whole and %d broken pictures seen", whole, broken)
	}
}

func TestTruncatedImageIsAFaultWithAName(t *testing.T) {
	t.Parallel()
	d := NewDecoder(DecoderConfig{})
	ps := photographs(t)
	for _, name := range []string{"video-001.jpeg", "video-001.progressive.jpeg", "video-001.png", "video-001.gif", "yellow_rose.lossless.webp"} {
		b := ps[name]
		_, err := d.Decode(t.Context(), b[:len(b)*2/3])
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBudgetMakesCallersWaitAndDeadlineEndsIt(t *testing.T) {
	t.Parallel()
	b := photographs(t)["video-001.png"]
	d := NewDecoder(DecoderConfig{Budget: 1, Timeout: time.Hour}) // one image at a time
	first, err := d.Decode(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	cancel(gone)
	if _, err := d.Decode(ctx, b); !errors.Is(err, gone) {
		t.Errorf("a second image while the first holds the budget: %v", err)
	}
	first.Close()
	first.Close()
	second, err := d.Decode(t.Context(), b)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	second.Close()
	late := NewDecoder(DecoderConfig{Timeout: time.Nanosecond})
	if _, err := late.Decode(t.Context(), b); !errors.Is(err, ErrTimeout) {
		t.Errorf("a deadline of a nanosecond: %v", err)
	}
	late.Wait()
}

func TestDecodersPanicIsAnError(t *testing.T) {
	t.Parallel()
	err := func() (err error) {
		defer contain(&err)
		panic("index out of range")
	}()
	if err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("got %v", err)
	}
}

func TestFramesOfAGIFAreCountedAndOnlyTheFirstIsDecoded(t *testing.T) {
	t.Parallel()
	var g gif.GIF
	palette := color.Palette{color.Black, color.White}
	for i := range 5 {
		p := image.NewPaletted(image.Rect(0, 0, 40, 30), palette)
		p.SetColorIndex(i, 0, 1)
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, 1)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(DecoderConfig{})
	m, err := d.Decode(t.Context(), b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Frames != 5 || m.Pixels.Bounds() != image.Rect(0, 0, 40, 30) {
		t.Errorf("%d frames, %v", m.Frames, m.Pixels.Bounds())
	}
	if r, _, _, _ := m.Pixels.At(0, 0).RGBA(); r != 0xffff {
		t.Error("that is not the first frame")
	}
}

func TestCostKnowsTheExpensiveForms(t *testing.T) {
	t.Parallel()
	ps := photographs(t)
	for name, want := range map[string]int64{
		"video-001.jpeg": 4, "video-001.progressive.jpeg": 16, "video-001.png": 4, "gray-gradient.interlaced.png": 8,
	} {
		i, err := Header(bytes.NewReader(ps[name]), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := i.cost(ps[name]) / int64(i.Width*i.Height); got != want {
			t.Errorf("%s: %d bytes a pixel, want %d", name, got, want)
		}
	}
}

func TestThumbnailFitsAndKeepsShape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, tw, th int }{
		{4000, 3000, 320, 240}, {3000, 4000, 240, 320}, {320, 320, 320, 320}, {10, 5, 10, 5}, {20000, 1, 320, 1}, {641, 479, 320, 239},
	} {
		m := image.NewRGBA(image.Rect(7, 7, 7+c.w, 7+c.h))
		jpg, size, err := Thumbnail(m, ThumbnailSide)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := jpeg.DecodeConfig(bytes.NewReader(jpg))
		if err != nil || size != image.Pt(c.tw, c.th) || cfg.Width != c.tw || cfg.Height != c.th {
			t.Errorf("%d×%d: %v, in the file %d×%d, %v", c.w, c.h, size, cfg.Width, cfg.Height, err)
		}
	}
}

func TestThumbnailLooksLikeThePictureAndPutsTransparencyOnWhite(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 1000, 1000)) // left half red, right half transparent
	for y := range 1000 {
		for x := range 500 {
			m.SetNRGBA(x, y, color.NRGBA{R: 255, A: 255})
		}
	}
	jpg, _, err := Thumbnail(m, ThumbnailSide)
	if err != nil {
		t.Fatal(err)
	}
	got, err := jpeg.Decode(bytes.NewReader(jpg))
	if err != nil {
		t.Fatal(err)
	}
	near := func(x, y int, want color.RGBA) {
		t.Helper()
		r, g, b, _ := got.At(x, y).RGBA()
		for _, d := range []int{int(r>>8) - int(want.R), int(g>>8) - int(want.G), int(b>>8) - int(want.B)} {
			if d < -12 || d > 12 {
				t.Errorf("at %d,%d: %d %d %d, want %v", x, y, r>>8, g>>8, b>>8, want)
				return
			}
		}
	}
	near(60, 160, color.RGBA{R: 255})
	near(260, 160, color.RGBA{R: 255, G: 255, B: 255})
	again, _, err := Thumbnail(m, ThumbnailSide)
	if err != nil || !bytes.Equal(jpg, again) {
		t.Errorf("the same pixels gave other bytes (%v)", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range photographs(f) {
		if _, ok := Sniff(b); ok && len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Add(lyingJPEG(f, 65_500, 65_500))
	d := NewDecoder(DecoderConfig{Limits: Limits{MaxPixels: 1 << 20}, Budget: 64 << 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := d.Decode(context.Background(), b)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%v is no fault of the image", err)
			}
			return
		}
		defer m.Close()
		if m.Width*m.Height > 1<<20 {
			t.Fatalf("%d×%d passed a limit of 1 Mpx", m.Width, m.Height)
		}
		if _, _, err := Thumbnail(m.Pixels, ThumbnailSide); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkThumbnail12MP(b *testing.B) {
	m := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for b.Loop() {
		if _, _, err := Thumbnail(m, ThumbnailSide); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaderOfABomb(b *testing.B) {
	bomb := bombPNG(20_000)
	for b.Loop() {
		if _, err := Header(bytes.NewReader(bomb), Limits{}); !errors.Is(err, ErrTooBig) {
			b.Fatal(err)
		}
	}
}

package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/images"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("the storage is away")

// lenient is a staging container that takes a body which breaks off for one that ends.
type lenient struct{ *memory }

func (l lenient) Put(ctx context.Context, name, contentType string, body io.Reader, size int64) error {
	b, _ := io.ReadAll(body)
	return l.memory.Put(ctx, name, contentType, bytes.NewReader(b), size)
}

func TestABodyThatBreaksOffIsNeverAShortImage(t *testing.T) {
	t.Parallel()
	whole := pngOf(t, 10, 10)
	for _, broken := range []error{io.ErrUnexpectedEOF, context.DeadlineExceeded} {
		m := lenient{newMemory()}
		_, err := open(t, Config{Staging: m}).Take(t.Context(), "n", io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), -1)
		if _, reading := errors.AsType[*BodyError](err); !reading || !errors.Is(err, broken) || len(m.blobs) != 0 {
			t.Errorf("%v: %v, %d blobs", broken, err, len(m.blobs))
		}
	}
}

// hasty is a staging container that stops in the middle and says that all is well.
type hasty struct{ *memory }

func (h hasty) Put(ctx context.Context, name, contentType string, body io.Reader, size int64) error {
	return h.memory.Put(ctx, name, contentType, io.LimitReader(body, 20), size)
}

func TestAStorageThatTakesAPartIsAway(t *testing.T) {
	t.Parallel()
	m := hasty{newMemory()}
	b := append(pngOf(t, 10, 10), make([]byte, 1<<16)...)
	if _, err := open(t, Config{Staging: m}).Take(t.Context(), "n", bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrStaging) || len(m.blobs) != 0 {
		t.Errorf("%v, %d blobs", err, len(m.blobs))
	}
}

// memory is a staging container that may fail.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
	types map[string]string
	err   error
}

func newMemory() *memory { return &memory{blobs: map[string][]byte{}, types: map[string]string{}} }

func (m *memory) Container() string { return "staging" }

func (m *memory) Put(_ context.Context, name, contentType string, body io.Reader, _ int64) error {
	b, err := io.ReadAll(body)
	if err = errors.Join(err, m.err); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[name], m.types[name] = b, contentType
	return nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, name)
	return m.err
}

func open(tb testing.TB, c Config) *Intake {
	tb.Helper()
	i, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func pngOf(tb testing.TB, width, height int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestTakeStagesExactlyWhatCameIn(t *testing.T) {
	t.Parallel()
	b := append(pngOf(t, 30, 20), bytes.Repeat([]byte("trailer"), 100_000)...)
	for name, body := range map[string]io.Reader{
		"at once": bytes.NewReader(b), "by bytes": iotest.OneByteReader(bytes.NewReader(b)), "by halves": iotest.HalfReader(bytes.NewReader(b)),
		"with its last bytes and EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		m := newMemory()
		s, err := open(t, Config{Staging: m}).Take(t.Context(), "n", body, -1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(m.blobs["n"], b) || m.types["n"] != "image/png" {
			t.Errorf("%s: %d bytes of %s are staged", name, len(m.blobs["n"]), m.types["n"])
		}
		if s.Bytes != int64(len(b)) || s.SHA256 != sha256.Sum256(b) || s.Width != 30 || s.Height != 20 || s.ContentType != "image/png" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestTakeRefusesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	whole := pngOf(t, 10, 10)
	lateJPEG := lateHeader(t)
	broken := errors.New("the line went dead")
	rows := []struct {
		name string
		body io.Reader
		size int64
		want error
	}{
		{"nothing", bytes.NewReader(nil), -1, ErrEmpty},
		{"text", bytes.NewReader([]byte("this is a text")), -1, images.ErrNotAnImage},
		{"a few bytes", bytes.NewReader(whole[:5]), -1, images.ErrNotAnImage},
		{"a header that is cut off", bytes.NewReader(whole[:20]), -1, images.ErrTruncated},
		{"a side too long", bytes.NewReader(pngOf(t, 101, 1)), -1, images.ErrTooBig},
		{"too many bytes, told", bytes.NewReader(whole), 5<<20 + 1, ErrTooLarge},
		{"too many bytes, not told", io.MultiReader(bytes.NewReader(whole), io.LimitReader(zero{}, 5<<20)), -1, ErrTooLarge},
		{"a size behind 4 MiB", bytes.NewReader(lateJPEG), -1, ErrLateBytes},
		{"a line that breaks at once", iotest.ErrReader(broken), -1, broken},
		{"a line that breaks in the header", io.MultiReader(bytes.NewReader(whole[:20]), iotest.ErrReader(broken)), -1, broken},
		{"a line that breaks behind the header", io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), -1, broken},
	}
	for _, row := range rows {
		m := newMemory()
		_, err := open(t, Config{Staging: m, MaxBytes: 5 << 20, Limits: images.Limits{MaxSide: 100}}).Take(t.Context(), "n", row.body, row.size)
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
		if _, reading := errors.AsType[*BodyError](err); reading != errors.Is(row.want, broken) {
			t.Errorf("%s: a reader's fault: %v", row.name, reading)
		}
		if len(m.blobs) != 0 {
			t.Errorf("%s: something was staged", row.name)
		}
	}
}

// lateHeader is a JPEG with more than 4 MiB of application segments before its size.
func lateHeader(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	segment := append([]byte{0xff, 0xe1, 0xff, 0xff}, make([]byte, 0xfffd)...)
	return append(append([]byte{0xff, 0xd8}, bytes.Repeat(segment, 66)...), b.Bytes()[2:]...)
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestExactlyTheLimitIsAccepted(t *testing.T) {
	t.Parallel()
	b := pngOf(t, 10, 10)
	in := open(t, Config{Staging: newMemory(), MaxBytes: int64(len(b))})
	if _, err := in.Take(t.Context(), "n", bytes.NewReader(b), -1); err != nil {
		t.Errorf("as many bytes as are allowed: %v", err)
	}
	if _, err := in.Take(t.Context(), "n", io.MultiReader(bytes.NewReader(b), bytes.NewReader([]byte{0})), -1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
}

func TestAStorageThatIsAwayIsNotTheImagesFault(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.err = errAway
	in := open(t, Config{Staging: m})
	_, err := in.Take(t.Context(), "n", bytes.NewReader(pngOf(t, 1, 1)), -1)
	if !errors.Is(err, ErrStaging) || !errors.Is(err, errAway) {
		t.Errorf("take: %v", err)
	}
	if err := in.Discard(t.Context(), Staged{}); !errors.Is(err, ErrStaging) {
		t.Errorf("discard: %v", err)
	}
}

func TestNoAccountHoldsMoreThanHalfOfTheMemory(t *testing.T) {
	t.Parallel()
	in := open(t, Config{Staging: newMemory(), Memory: 4 * footprint})
	var held []func()
	for range 2 {
		release, err := in.Reserve(t.Context(), "greedy", -1)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := in.Reserve(short, "greedy", -1); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond its half: %v", err)
	}
	for range 2 {
		release, err := in.Reserve(t.Context(), "modest", 1<<30)
		if err != nil {
			t.Fatalf("another account: %v", err)
		}
		held = append(held, release)
	}
	if _, err := in.Reserve(short, "third", 1); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond all memory: %v", err)
	}
	for _, release := range held {
		release()
	}
	if release, err := in.Reserve(t.Context(), "third", -1); err != nil {
		t.Errorf("after all was given back: %v", err)
	} else {
		release()
	}
}

func TestReceiptFollowsFromWhatWasStaged(t *testing.T) {
	t.Parallel()
	b := pngOf(t, 3, 3)
	in := open(t, Config{Staging: newMemory()})
	s, err := in.Take(t.Context(), "incoming/x", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 11, 0, 0, 123456789, time.FixedZone("", 3600))
	r := in.Receipt(s, "demo", events.OriginAPI, at, "")
	if r.ImageID != events.ImageID("demo", sha256.Sum256(b)) || !r.ReceivedAt.Equal(at.Truncate(time.Millisecond)) || r.ReceivedAt.Location() != time.UTC ||
		!r.ExpiresAt.Equal(time.Date(2026, 11, 30, 10, 0, 1, 0, time.UTC)) || r.Blob != (events.Blob{Container: "staging", Name: "incoming/x"}) {
		t.Errorf("%+v", r)
	}
	longer := open(t, Config{Staging: newMemory(), Keep: 10 * 24 * time.Hour})
	if r := longer.Receipt(s, "demo", events.OriginAPI, at, ""); !r.ExpiresAt.Equal(time.Date(2026, 12, 3, 10, 0, 1, 0, time.UTC)) {
		t.Errorf("kept ten days it expires at %s", r.ExpiresAt)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Staging: newMemory(), MaxBytes: -1}, {Staging: newMemory(), Memory: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// FuzzTake holds any bytes against the rule: refused and nothing staged, or staged as they are with sane sizes.
func FuzzTake(f *testing.F) {
	f.Add(pngOf(f, 3, 2), 7)
	f.Add([]byte("\xff\xd8\xff\xe0"), 1)
	f.Add([]byte("GIF89a\x01\x00\x01\x00"), 3)
	f.Add([]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), 2)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		m := newMemory()
		in := open(t, Config{Staging: m, MaxBytes: 1 << 20})
		s, err := in.Take(t.Context(), "n", &steps{b, max(step, 1)}, -1)
		if err != nil {
			if len(m.blobs) != 0 {
				t.Fatalf("%v, but something was staged", err)
			}
			return
		}
		if !bytes.Equal(m.blobs["n"], b) || s.Bytes != int64(len(b)) || s.SHA256 != sha256.Sum256(b) {
			t.Fatal("other bytes are staged than came in")
		}
		if s.Width <= 0 || s.Height <= 0 || s.Width > 20_000 || s.Height > 20_000 || s.Width*s.Height > 40_000_000 {
			t.Fatalf("%d × %d was accepted", s.Width, s.Height)
		}
	})
}

// steps reads some bytes at a time.
type steps struct {
	b []byte
	n int
}

func (s *steps) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(s.n, len(p))], s.b)
	s.b = s.b[n:]
	return n, nil
}

package azblob

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// stagings are every storage that staging must work on.
func stagings(t *testing.T) map[string]func(*testing.T) *Staging {
	t.Helper()
	return map[string]func(*testing.T) *Staging{
		"blobd": func(t *testing.T) *Staging { return newRig(t).staging() },
		"Azurite": func(t *testing.T) *Staging {
			a, name := azurite(t)
			return NewStaging(a, StagingConfig{Container: name, Clock: clock.NewManual(origin)})
		},
	}
}

func TestStagingKeepsBytesUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	for where, open := range stagings(t) {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			big := strings.Repeat("0123456789", 1_000_000) // more than two blocks
			for name, data := range map[string]string{"small": "some bytes", "empty": "", "block": big[:stagingBlock], "big": big} {
				for _, size := range []int64{-1, int64(len(data))} {
					name := events.StagingName(origin, name)
					ok(t, s.Put(ctx, name, "image/png", io.MultiReader(strings.NewReader(data)), size))
					r, info, err := s.Open(ctx, name, 50<<20)
					if got := text(t, r, err); got != data {
						t.Fatalf("%s: %d bytes came back, want %d", name, len(got), len(data))
					}
					if info.Size != int64(len(data)) || info.ContentType != "image/png" || !info.ExpiresAt.Equal(origin.Add(168*time.Hour)) {
						t.Fatalf("%s: %+v", name, info)
					}
				}
			}
			name := events.StagingName(origin, "big")
			if _, err := s.Read(ctx, name, 100); !errors.As(err, new(*TooLargeError)) {
				t.Fatalf("reading beyond the limit: %v", err)
			}
			b, err := s.Read(ctx, name, 50<<20)
			ok(t, err)
			if !bytes.Equal(b, []byte(big)) {
				t.Fatal("Read gave other bytes")
			}
			ok(t, s.Delete(ctx, name))
			ok(t, s.Delete(ctx, name))
			if _, err := s.Read(ctx, name, 50<<20); !errors.Is(err, ErrNotFound) {
				t.Fatalf("after the delete: %v", err)
			}
		})
	}
}

func TestStagingOfBrokenBodyLeavesNoBlob(t *testing.T) {
	t.Parallel()
	s := newRig(t).staging()
	broken := errors.New("the client went away")
	for name, body := range map[string]io.Reader{
		"early": iotest.ErrReader(broken),
		"late":  io.MultiReader(strings.NewReader(strings.Repeat("x", 2*stagingBlock)), iotest.ErrReader(broken)),
	} {
		if err := s.Put(ctx, name, "image/png", body, -1); !errors.Is(err, broken) {
			t.Fatalf("%s: %v, want the body's own error", name, err)
		}
		if _, err := s.Read(ctx, name, 1<<20); !errors.Is(err, ErrNotFound) {
			t.Fatalf("%s: %v, want no blob", name, err)
		}
	}
	for _, size := range []int64{3, 5} {
		if err := s.Put(ctx, "size", "image/png", strings.NewReader("four"), size); err == nil {
			t.Fatalf("a body of 4 bytes passed for %d", size)
		}
	}
}

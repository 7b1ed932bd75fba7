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

func TestStagingKeepsBytesUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"blobd", "Azurite"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			var s *Staging
			if where == "blobd" {
				s = newRig(t).staging()
			} else {
				a, name := azurite(t)
				s = NewStaging(a, StagingConfig{Container: name, Clock: clock.NewManual(origin)})
			}
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

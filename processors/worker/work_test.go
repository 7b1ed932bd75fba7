package worker

import (
	"bytes"
	"image"
	"image/jpeg"
	"log/slog"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// BenchmarkWork12MP is what an image of 12 megapixels costs one thread, storage apart.
func BenchmarkWork12MP(b *testing.B) {
	m := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i*7 + i/4000*13)
	}
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, m, nil); err != nil {
		b.Fatal(err)
	}
	r := &rig{clock: clock.NewManual(noon), staging: &shelf{blobs: map[string][]byte{}, until: map[string]time.Time{}}}
	raw := r.receipt(jpg.Bytes())
	r.staging.blobs[raw.Blob.Name] = jpg.Bytes()
	p, err := newPipeline(Config{Staging: r.staging, Log: slog.New(slog.DiscardHandler)}.withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(jpg.Len()))
	for b.Loop() {
		if _, err := p.work(b.Context(), raw, events.Receipt{Blob: raw.Blob.Name}); err != nil {
			b.Fatal(err)
		}
	}
}

package wall_test

import (
	"testing"
	"time"

	"github.com/millrun/millrun/stream/internal/wall"
)

func TestSetMovesTheTimeOfDayAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, by := range []time.Duration{-time.Hour, 0, 48 * time.Hour} {
		later := wall.Set(now, by)
		if passed, day := later.Sub(now), later.Round(0).Sub(now.Round(0)); passed != 0 || day != by {
			t.Errorf("set by %s: %s have passed, the time of day moved by %s", by, passed, day)
		}
	}
}

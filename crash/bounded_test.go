package crash

import (
	"log/slog"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/real"
)

// TestNothingIsLostNorDoubledInABoundedRun is `make crash` in small: 200,000 records and twelve kills over both guarantees, each
// on a broker of its own.
func TestNothingIsLostNorDoubledInABoundedRun(t *testing.T) {
	t.Parallel()
	real.Kafka(t) // skips, or fails, where there is none
	for _, guarantee := range []string{ExactlyOnce, AtLeastOnce} {
		t.Run(guarantee, func(t *testing.T) {
			t.Parallel()
			o := Defaults()
			o.Guarantee, o.Seed, o.Dir, o.Programs = guarantee, 3, workplace(t), programs(t)
			o.Records, o.Rate, o.Kills, o.Stops, o.Bounces, o.Cuts, o.Restarts = 100_000, 1000, 6, 1, 1, 2, 1
			o.StopMin, o.StopMax, o.Session, o.TransactionTimeout = 5*time.Second, 7*time.Second, 3*time.Second, 3*time.Second
			o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
			report, err := Run(t.Context(), o)
			if report != nil {
				report.Table(t.Output())
			}
			if err != nil {
				t.Fatal(err)
			}
			if kills := report.count(Kill); kills != o.Kills || report.Verdict.Left+report.Verdict.Right < o.Records {
				t.Errorf("%d kills, %d records", kills, report.Verdict.Left+report.Verdict.Right)
			}
		})
	}
}

package crash

import (
	"log/slog"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/real"
)

// TestNothingIsLostNorDoubledInABoundedRun is `make crash` in small: 260,000 records and 17 kills over the guarantees, each on a
// broker of its own, one after the other. The broker stays up: a broker that was killed may keep a transaction open for ever
// (docs/track-record.md). Without transactions, nobody stands still for longer than a session, since nothing would stop what a
// process then sends (docs/guarantees.md).
func TestNothingIsLostNorDoubledInABoundedRun(t *testing.T) {
	t.Parallel()
	real.Kafka(t) // skips, or fails, where there is none
	for _, c := range []struct {
		guarantee, store string
		records          int64
		kills            int
		session, stop    time.Duration
	}{
		{ExactlyOnce, "disk", 100_000, 6, 3 * time.Second, 5 * time.Second},
		{AtLeastOnce, "memory", 100_000, 6, 10 * time.Second, 5 * time.Second},
		{ExactState, "memory", 60_000, 5, 3 * time.Second, time.Second},
	} {
		t.Run(c.guarantee, func(t *testing.T) {
			o := Defaults()
			o.Guarantee, o.Store, o.Seed, o.Dir, o.Programs = c.guarantee, c.store, 3, workplace(t), programs(t)
			o.Records, o.Rate, o.Kills, o.Stops, o.Bounces, o.Cuts, o.Restarts = c.records, 1500, c.kills, 1, 0, 2, 1
			o.StopMin, o.StopMax, o.Session, o.TransactionTimeout = c.stop, c.stop+time.Second, c.session, 3*time.Second
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
			if c.guarantee == ExactState && report.Verdict.Counts.again() == 0 {
				t.Error("nothing was counted again, so nothing was tried")
			}
		})
	}
}

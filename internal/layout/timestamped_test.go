package layout_test

import (
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestTimestampedValuesAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Value              octets
		TS                 int64
		Store              octets
		ChangelogValue     octets
		ChangelogTimestamp int64
	}](t, "value-and-timestamp") {
		wrote(t, "store", layout.AppendTimestamped(head, f.Value, f.TS), f.Store)
		value, at, err := layout.ReadTimestamped(f.Store)
		read(t, "store", err, equal(value, f.ChangelogValue) && at == f.ChangelogTimestamp)
	}
	refused(t, "store", make([]byte, 8), func(b []byte) error { _, _, err := layout.ReadTimestamped(b); return err })
}

package stream

import (
	"math"
	"strconv"
	"time"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// shape is what a windowed store's keys look like, nil for others. No cache stands in front of a store whose results leave
// when windows close, since nothing would be forwarded out of it; but its rows last as if there were one.
func (b *build) shape(d *store.Decl, spec *task.StoreSpec, c Config) *store.Shape {
	lasting, closes := b.closing[d.Name]
	out := d.Shape(c.Stores == state.Memory(), closes)
	if closes && out != nil {
		out.Lasting, spec.Cached = lasting && spec.Cached, false
	}
	return out
}

// extraRetention is how much longer a changelog keeps a row than the store does: Kafka Streams'
// windowstore.changelog.additional.retention.ms.
const extraRetention = 24 * time.Hour

// changelogOf is what Kafka Streams sets on the changelog of a store whose rows live for a time only, beside what it sets
// on all: what gives way to the application's settings, and what does not.
func changelogOf(d *store.Decl) (defaults, imposed map[string]string) {
	if d.Kind == store.Versioned {
		// What history still has to answer must not be compacted away.
		return nil, map[string]string{"min.compaction.lag.ms": strconv.FormatInt((d.History + extraRetention).Milliseconds(), 10)}
	}
	if !d.Kind.Windowed() {
		return nil, nil
	}
	policy := "compact,delete"
	if d.Kind == store.JoinWindow {
		policy = "delete" // every record has a key of its own
	}
	retention := int64(math.MaxInt64)
	if d.Retention <= math.MaxInt64-extraRetention {
		retention = (d.Retention + extraRetention).Milliseconds()
	}
	return map[string]string{"cleanup.policy": policy}, map[string]string{"retention.ms": strconv.FormatInt(retention, 10)}
}

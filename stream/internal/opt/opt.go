// Package opt holds the markers that seal the options of packages stream and state, and what options carry.
//
// An option writes itself into Settings. Which operators take it is decided by the compiler: each kind of operator asks
// for one marker method, and Seal, which is in every marker's signature, cannot be named outside this module.
package opt

import "time"

// Seal is in every marker's signature.
type Seal struct{}

// The markers: one for each kind of operator.
type (
	// Plain marks what every operator takes.
	Plain interface{ PlainOption(Seal, *Settings) }
	// Consumed marks options of a stream's source.
	Consumed interface{ ConsumedOption(Seal, *Settings) }
	// TableSource marks options of a table's source.
	TableSource interface{ TableSourceOption(Seal, *Settings) }
	// Produced marks options of a sink.
	Produced interface{ ProducedOption(Seal, *Settings) }
	// Grouped marks options of a grouping.
	Grouped interface{ GroupedOption(Seal, *Settings) }
	// Materialized marks options of whatever keeps a store.
	Materialized interface{ MaterializedOption(Seal, *Settings) }
	// Processed marks options of a user's processor.
	Processed interface{ ProcessedOption(Seal, *Settings) }
)

// Settings is what the options of one operator say together. The zero value is "nothing said".
type Settings struct {
	Name       string            // Named
	StoreName  string            // As
	KeySerde   any               // a serde.Serde[K]
	ValueSerde any               // a serde.Serde[V]
	Store      any               // Into: a declared store
	Uses       []any             // declared stores
	Partition  any               // a partitioner; the sink knows its type
	Reset      *Reset            // StartFrom
	NoLogging  bool              // state.NoLogging
	LogConfig  map[string]string // state.Logging
	Kept       bool              // any option about a store or its bytes was given, a name apart
}

// Reset says where a source begins that has no committed offset.
type Reset struct {
	Policy Policy
	Ago    time.Duration // for ByDuration
}

// Policy is a kind of Reset.
type Policy uint8

// The policies.
const (
	Earliest   Policy = iota // the first record there is
	Latest                   // what comes from now on
	ByDuration               // Reset.Ago before now
	None                     // no beginning: an error
)

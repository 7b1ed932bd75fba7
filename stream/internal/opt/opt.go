// Package opt holds the markers that seal the options of packages stream and state, and what options carry.
//
// An option writes itself into Settings. Which operators take it is decided by the compiler: each kind of operator asks
// for one marker method, and Seal, which is in every marker's signature, cannot be named outside this module.
package opt

import (
	"io"
	"time"
)

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
	// Async marks options of slow work.
	Async interface{ AsyncOption(Seal, *Settings) }
	// Printed marks options of Print.
	Printed interface{ PrintedOption(Seal, *Settings) }
	// Repartitioned marks options of Repartition.
	Repartitioned interface{ RepartitionedOption(Seal, *Settings) }
	// Joined marks options of a stream-table join.
	Joined interface{ JoinedOption(Seal, *Settings) }
	// StreamJoined marks options of a stream-stream join.
	StreamJoined interface{ StreamJoinedOption(Seal, *Settings) }
	// TableJoined marks options of a foreign-key join.
	TableJoined interface{ TableJoinedOption(Seal, *Settings) }
)

// Settings is what the options of one operator say together. The zero value is "nothing said".
type Settings struct {
	Name       string            // Named
	StoreName  string            // As
	KeySerde   any               // a serde.Serde[K]
	ValueSerde any               // a serde.Serde[V]
	Store      any               // Into: a declared store
	Stores     []any             // all of them: a join of streams has two
	Uses       []any             // declared stores
	Partition  any               // a partitioner; the sink knows its type
	Reset      *Reset            // StartFrom
	NoLogging  bool              // state.NoLogging
	LogConfig  map[string]string // state.Logging
	Kept       bool              // any option about a store or its bytes was given, a name apart

	OtherSerde any           // the right side's value in a join
	Empty      any           // DeleteWhen: a func(V) bool
	Timestamps any           // a timestamp extractor; the source knows its type
	Multicast  any           // a partitioner that answers any number; the sink knows its type
	Primary    any           // ForeignPartition: how the left table's topic is partitioned
	Foreign    any           // ForeignPartition: how the right table's topic is partitioned
	Partitions int           // of a repartition topic; 0 is to be derived
	Grace      time.Duration // GracePeriod, if HasGrace
	HasGrace   bool
	Output     io.Writer     // of Print
	Engine     Engine        // what a store is kept in
	LRU        int           // state.LRU: the most entries; 0 is no limit
	TTL        time.Duration // state.TTL: how long a row lives; 0 is for ever
	Caching    Switch        // state.Caching
	Retention  time.Duration // state.Retention; 0 is by the window

	Concurrency int           // of slow work; 0 is the default
	Timeout     time.Duration // of one call of slow work; 0 is none
	Attempts    int           // at slow work; 0 is the default
	Pause       time.Duration // between two attempts
	Unordered   bool          // slow work keeps no order per key
}

// Engine is what a store is kept in.
type Engine uint8

// The engines.
const (
	DefaultEngine Engine = iota // the application's
	Memory
	Persistent
)

// Switch is a setting that may be left open.
type Switch uint8

// The positions of a Switch.
const (
	Unset Switch = iota
	On
	Off
)

// Reset says where a source begins that has no committed offset.
type Reset struct {
	Policy Policy
	Ago    time.Duration // for ByDuration
}

// String is the policy's name as Kafka has it.
func (r Reset) String() string {
	if r.Policy == ByDuration {
		return r.Ago.String() + " ago"
	}
	return [...]string{Earliest: "earliest", Latest: "latest", None: "none", ByDuration: "by_duration"}[r.Policy]
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

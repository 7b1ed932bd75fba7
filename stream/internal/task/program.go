// Package task is the core that runs a topology: a state machine without goroutine, clock, random source or socket. Records,
// ticks and the contents of changelogs go in; records to produce, changelog records among them, and offsets to commit come
// out. The runtime on Kafka and the test driver both feed it, so what holds in a test holds in production.
package task

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// ID names a task: a sub-topology and a partition.
type ID struct {
	Sub       int
	Partition int32
}

// String is like "0_3".
func (i ID) String() string { return fmt.Sprintf("%d_%d", i.Sub, i.Partition) }

// Input is a record of a source topic. It is not changed once a task has it.
type Input struct {
	Topic     string
	Partition int32
	Epoch     int32 // the leader's, -1 if unknown
	Offset    int64
	Time      int64 // milliseconds
	Key       []byte
	Value     []byte
	Headers   serde.Headers
}

// ByKey as an Output's partition leaves the choice to whoever sends: murmur2 of the key, any partition without one.
const ByKey int32 = -1

// Output is a record to send.
type Output struct {
	Topic     string
	Partition int32
	Time      int64
	Key       []byte
	Value     []byte
	Headers   serde.Headers
	Node      string // who sends: a sink, a store, or the node whose failure it tells
	Source    *Input // what caused it; nil in a punctuation
	Changelog bool
}

// Body makes what a node does in one task: for a source a func(*Rec, key, value []byte) error, for a processor or sink a
// func(*Rec, K, V) error, which its parents know the type of.
type Body func(a *Assembly, n *plan.Node) any

// StoreSpec is a store of the program.
type StoreSpec struct {
	Name      string
	Kind      store.Kind
	Changelog string // "" if it keeps none
	Source    string // the topic it is restored from in place of a changelog, as far as that was processed; "" if there is none
	Cached    bool   // changes are held back until the task flushes
	Headers   bool   // a deletion in the changelog carries the headers of the record that makes it
	LRU       int    // the most rows; 0 is no limit
	TTL       int64  // how long a row lives, in milliseconds; 0 is for ever
	Opener    store.Opener
	Shape     *store.Shape // of a windowed store
	History   int64        // of a versioned store, in milliseconds
	OnDisk    bool         // rows outlive the process
}

// Restored is the topic that makes the store whole again: its changelog, or its table's source. "" if it is lost with its
// task.
func (s *StoreSpec) Restored() string {
	if s.Source != "" {
		return s.Source
	}
	return s.Changelog
}

// OnDisk says whether any store outlives the process.
func (p *Program) OnDisk() bool {
	for _, s := range p.Stores {
		if s.OnDisk {
			return true
		}
	}
	return false
}

// Response is what a handler decides about a failure.
type Response struct {
	Action Action
	Topic  string // for DeadLetter; "" is the program's
}

// Serdes are what a topic is written or read with, erased.
type Serdes struct{ Key, Value any }

// Action is a kind of Response.
type Action uint8

// The actions.
const (
	Fail Action = iota
	Continue
	Retry
	DeadLetter
)

// Handler decides about a failure. It is called by the task's goroutine.
type Handler func(ctx context.Context, f Failure) Response

// Program is a plan made runnable. It is shared by all tasks and never changed.
type Program struct {
	Plan       *plan.Plan
	Bodies     []Body // by Node.Index
	Stores     map[string]*StoreSpec
	Handlers   map[Stage]Handler
	DeadLetter string // the topic of a dead letter that names none
	CacheBytes int64  // of all threads
	MaxIdle    time.Duration
	Globals    *Globals
	// EmitInterval is how much of the wall clock passes at least between two looks for results whose window has closed, in
	// one operator of one task: looking reads a store from its beginning.
	EmitInterval time.Duration
	TimeBy       Extractor // of sources without their own; nil is the record's own time
	Retryable    func(error) bool
	// Ordered lets results of slow work go on in the order of their records' offsets, so that a commit covers exactly what has
	// gone on.
	Ordered bool
	// ExactState stamps what is written to changelogs and repartition topics, so that state counts nothing twice.
	ExactState bool
	Topics     map[string]Serdes
	Detailed   bool          // what each node is given is counted
	Disk       store.Backend // of the stores that are OnDisk
	User       any           // the typed edge's: what contexts offer
}

// Env is what a task is given besides its records.
type Env struct {
	Context    context.Context          // ends when the task is closed
	Partitions func(topic string) int32 // of topics that are written
	// TopicID is the id of a topic that is read, zero where brokers have none. It may be nil.
	TopicID func(topic string) [16]byte
	Log     *slog.Logger  // carries the task
	Cache   *store.Budget // of all tasks of the thread
	// Home opens what a store that outlives the process keeps its rows in. Without it, such a store is in memory.
	Home func(store string) (store.Home, error)
	User any // passed through to contexts
	// Trace is asked about each record that has headers. Nil: nothing is traced.
	Trace Tracer
}

// Assembly makes the nodes of one task, children before parents.
type Assembly struct {
	Task   *Task
	made   []any
	inits  [][]func() error
	closes [][]func() error
	times  map[int]Extractor // by Node.Index
}

// Extractor finds the time of a record, in milliseconds, when it becomes the first of its queue; prev is the highest time
// taken from that queue, -1 before the first. A negative result drops the record.
type Extractor func(in *Input, prev int64) int64

// TimeBy lets a source take the time of its records from f.
func (a *Assembly) TimeBy(n *plan.Node, f Extractor) { a.times[n.Index] = f }

// Made is what a child of the node at work does; the caller knows its type.
func (a *Assembly) Made(n *plan.Node) any { return a.made[n.Index] }

// OnInit runs f when the task's stores are ready, in the order of the nodes.
func (a *Assembly) OnInit(n *plan.Node, f func() error) {
	a.inits[n.Index] = append(a.inits[n.Index], f)
}

// OnClose runs f when the task ends, in the order of the nodes.
func (a *Assembly) OnClose(n *plan.Node, f func() error) {
	a.closes[n.Index] = append(a.closes[n.Index], f)
}

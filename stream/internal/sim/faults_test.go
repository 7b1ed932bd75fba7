//go:build synctests

package sim

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fault is one thing that happens to applications.
type fault struct {
	name string
	do   func(w *world)
}

// answers are errors that brokers give while they move or fail, by request.
var answers = map[kmsg.Key][]*kerr.Error{
	kmsg.Produce:         {kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch},
	kmsg.Fetch:           {kerr.NotLeaderForPartition, kerr.UnknownLeaderEpoch},
	kmsg.ListOffsets:     {kerr.NotLeaderForPartition},
	kmsg.OffsetCommit:    {kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.RebalanceInProgress},
	kmsg.TxnOffsetCommit: {kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnknownMemberID},
	kmsg.EndTxn:          {kerr.ConcurrentTransactions, kerr.NotCoordinator, kerr.InvalidProducerEpoch},
	kmsg.InitProducerID:  {kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress},
	kmsg.Heartbeat:       {kerr.RebalanceInProgress, kerr.NotCoordinator, kerr.UnknownMemberID},
	kmsg.JoinGroup:       {kerr.NotCoordinator, kerr.UnknownMemberID},
	kmsg.SyncGroup:       {kerr.NotCoordinator, kerr.RebalanceInProgress},
	kmsg.OffsetFetch:     {kerr.UnstableOffsetCommit, kerr.NotCoordinator},
	kmsg.FindCoordinator: {kerr.CoordinatorNotAvailable},
	kmsg.Metadata:        {kerr.LeaderNotAvailable},
}

// asked are the requests that fail, in an order.
var asked = []kmsg.Key{
	kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.OffsetCommit, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID,
	kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.Metadata,
}

// points are the failpoints at which an instance may be killed: before and after each step that lasts.
var points = []string{
	"begin-before", "begin-after", "flush-before", "flush-after", "offset-commit-before", "offset-commit-after", "txn-offsets-before",
	"txn-offsets-after", "end-before", "end-after", "abort-before", "abort-after", "save-before", "save-after", "restore-before",
	"restore-after", "assigned-before", "assigned-after", "revoked-before", "revoked-after", "lost-before", "lost-after",
	"offsets-fetched-before", "offsets-fetched-after", "purge-before", "purge-after", "shutdown-before", "shutdown-after",
}

// most is how many instances there are at most.
const most = 4

// faults are all kinds.
func faults() []fault {
	out := []fault{
		{"kill", func(w *world) { w.one().kill(w) }},
		{"stop", func(w *world) { w.one().cancel() }},
		{"add", func(w *world) { w.join(w.free(false), "") }},
		{"add on a new machine", func(w *world) { w.join(w.free(true), "") }},
		{"add one that will crash", func(w *world) { w.join(w.free(false), points[w.r.IntN(len(points))]) }},
		{"kill all", func(w *world) {
			for _, i := range w.some() {
				i.kill(w)
			}
		}},
		{"network down", func(w *world) { w.one().leave(w.span(90)) }},
		{zombie, func(w *world) { w.one().stall(w.span(90)) }},
		{"connections break", func(w *world) { w.one().leave(0) }},
		{"leaders move", func(w *world) { w.fake.ShufflePartitionLeaders() }},
		{"coordinators move", func(w *world) { w.fake.RehashCoordinators() }},
		{compaction, func(w *world) { w.compact() }},
		{"thread added", func(w *world) { w.addThread() }},
		{"thread removed", func(w *world) { w.removeThread() }},
		{"application paused", func(w *world) { w.pause() }},
		{"a record is refused", func(w *world) {
			w.armed = append(w.armed, w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "sim-counts-repartition", Err: kerr.InvalidRecord}))
		}},
		{"burst of input", func(w *world) { w.feed(300) }},
	}
	for _, key := range asked {
		out = append(out,
			fault{"error for " + key.Name(), func(w *world) { w.refuse(key) }},
			fault{"not done: " + key.Name(), func(w *world) { w.drop(key) }},
			fault{"done, no answer to " + key.Name(), func(w *world) { w.unhear(key) }})
	}
	return out
}

// zombie is a fault under which at-least-once loses what it counts: a process that stood still for longer than its session still
// sends what it had counted when it goes on, over what others have counted since. Exactly-once fences it.
const zombie = "process stalls"

const compaction = "changelogs are compacted"

// compact lets the broker clean its changelogs, but for times when a transaction is open: the embedded broker takes what is not
// decided for newer than what is, and if it is aborted both are gone. Apache Kafka cleans up to the last stable offset.
func (w *world) compact() {
	open := false
	if !w.undecided(func(string, int32, int64, int64) { open = true }) {
		return
	}
	if open {
		w.notef("", "not compacted: a transaction is open")
		return
	}
	w.fake.Compact()
}

// one is an instance at work.
func (w *world) one() *instance {
	live := w.some()
	return live[w.r.IntN(len(live))]
}

// span is a time of up to so many seconds.
func (w *world) span(seconds int) time.Duration {
	return time.Duration(w.r.IntN(1000*seconds)) * time.Millisecond
}

func (i *instance) kill(w *world) {
	i.cut(w.r)
	i.cancel()
}

func (w *world) join(on *machine, crash string) {
	if len(w.live()) < most {
		w.begin(on, crash, 1+w.r.IntN(4))
	}
}

func (w *world) addThread() {
	i := w.one()
	if i.hands < most {
		if _, err := i.app.AddThread(); err == nil { // otherwise it is beginning or ending
			i.hands++
		}
	}
}

// removeThread ends a thread of an instance, beside what else happens, unless it is the last one.
func (w *world) removeThread() {
	i := w.one()
	if i.hands < 2 {
		return
	}
	i.hands--
	w.aside.Go(func() { _, _ = i.app.RemoveThread(i.ctx) }) // it may be ending
}

func (w *world) pause() {
	i := w.one()
	i.app.Pause()
	time.AfterFunc(w.span(30), i.app.Resume)
}

// refuse lets a few requests of a kind be answered with an error.
func (w *world) refuse(key kmsg.Key) {
	e := answers[key][w.r.IntN(len(answers[key]))]
	w.notef("", "%s", e.Message)
	w.armed = append(w.armed, w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 1 + w.r.IntN(3)}))
}

// drop lets the connection break on which the next request of a kind comes, before it is done.
func (w *world) drop(key kmsg.Key) {
	w.fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		if w.healed.Load() {
			return nil, nil, false
		}
		return nil, errCut, true // once
	})
}

// unhear lets the connection break on which the answer to the next request of a kind comes, once it is done.
func (w *world) unhear(key kmsg.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unheard[key]++
}

// loses says whether the answer to a request gets lost.
func (w *world) loses(key kmsg.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unheard[key] == 0 || w.healed.Load() {
		return false
	}
	w.unheard[key]--
	return true
}

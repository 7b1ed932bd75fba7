// Package kafkad is a Kafka of our own: kfake, in this process, on loopback, in memory or with its data under a folder.
// It serves the demo, `millrun up` and tests. It is no store of record.
//
// What it adds to kfake:
//
//   - Retention and compaction by a movable clock. kfake asks the package time, which nobody can move; its own cleaner is
//     switched off. What a topic's configuration says is over is gone within seconds of the clock reaching that moment,
//     also from the bytes of the files.
//   - Deleted records stay deleted after kill -9, and a partition that was emptied goes on at its old offsets after a
//     restart. kfake forgets both: it keeps the log's start only on a clean end, and finds the log's end in the last
//     batch alone. The file of starts (see starts) remembers them.
//   - Compaction that a kill -9 cannot turn into loss, that leaves open transactions alone, and that also reaches the
//     last batch of a partition when this is a tombstone.
//   - OffsetForLeaderEpoch that never claims data loss after a leader moved.
//
// Timestamps are those of the records: who produces with the machine's clock while the movable one is ahead by more than
// a topic's retention sees records go after ten to twenty seconds.
package kafkad

// Limits says what this Kafka is not, for people who read a log.
func Limits() string {
	return "embedded Kafka: one broker in one process on loopback, without replication, TLS or authentication; " +
		"KIP-1071 streams groups, quotas and retention.bytes are not applied; " +
		"its data are for demo, laptop and tests, not a store of record"
}

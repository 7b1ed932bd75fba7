// Package postgres applies the shop's change events to its PostgreSQL database, each topic under the login of the team
// that owns it, each event exactly once.
//
// # How once is once
//
// An [Applier] reads one topic as a member of a consumer group. The group only spreads the work; what was done is known
// by the database alone. For each partition one row of pipeline.applied_offsets, keyed by the team, the cluster's id, the
// topic's id and the partition, says up to which offset everything is settled. A batch is one database transaction: it
// locks that row, skips what lies behind it, applies the rest and moves it. So a second process, a zombie, a redelivery
// or a crash at any instant finds either all of a batch or nothing. A copy of an event under another offset is known by
// its event id in pipeline.applied_events, written with the effect. Offsets committed to Kafka serve the display of lag.
//
// # What becomes of an event
//
//	applied        its effect, its event id and the watermark are committed together
//	duplicate      its event id is known: nothing happens
//	parked         it speaks of an item, order or member that is not there yet: the record moves into
//	               pipeline.parked_events and the watermark passes it; it, and what follows of the same key, is tried
//	               again until it succeeds or 30 seconds are over; other keys go on
//	dead-lettered  it can never be applied: the record goes to <topic>.dlq, bytes, key and headers unchanged, with the
//	               reason; the rest of its batch is applied
//
// A dead letter is acknowledged by the broker before the watermark passes its record. A crash in between repeats the dead
// letter, never loses it: readers of a dead-letter topic tell a repetition by __streams.errors.topic, .partition and
// .offset.
//
// # Errors
//
// What another attempt may cure (deadlock, lock and statement timeouts, lost connections, a full or restarting server) is
// tried again until the context ends, and nothing passes meanwhile. What the record is at fault for is a dead letter with
// its SQLSTATE. Everything else, such as a missing table or a refused password, ends [Applier.Run]: no record is blamed
// for it.
package postgres

// Package stream is Kafka Streams for Go: typed topologies of streams and tables that run as part of an ordinary program,
// share their work through a consumer group and keep their state in Kafka.
//
//	b := stream.NewBuilder()
//	b.Stream(lines).
//		FlatMapValues(words).
//		GroupBy(func(_ string, word string) string { return word }).
//		Count(stream.As("counts")).
//		ToStream().
//		To(counts)
//	app, err := stream.NewApp(b, stream.Config{ApplicationID: "wordcount", Brokers: []string{"localhost:9092"}})
//	err = app.Run(ctx)
//
// # Types
//
// A Topic is a name that knows what it holds; declared as a constant it gives its types to everything behind it. Serdes are
// found by type (package serde), stores are declared as handles (package state), and package streamtest runs a topology
// without a broker.
//
// # Null
//
// Kafka's null is Go's nil. A V without a nil never carries null: functions are called for values only. Where absence is an
// answer, it is ", ok". See KStream.
//
// # Names and bytes
//
// Generated names of nodes, stores and internal topics, and the bytes in those topics, are those of Apache Kafka Streams 4.3,
// so an application keeps its state when it moves from Java to Go. Adding an operator shifts generated names: name what has
// state by As and Named.
//
// # Guarantee
//
// At least once: after a crash records since the last commit are processed again. A commit says what was processed, never
// what was only read, and comes after every record sent so far, those of changelogs too, is acknowledged.
//
// # Errors
//
// A wrong topology is reported by Build and NewApp, all faults at once, each with the line that caused it. At run time the
// handlers in Config decide about records that cannot be read, processed or written; without one the application stops with a
// TaskError, which names task, record and node. A panic of user code is such a failure, too.
package stream

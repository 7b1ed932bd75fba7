// Package conformance replays what Apache Kafka Streams did, and asks the library for the same.
//
// A set of vectors is a folder: vectors/<topology>/<seed>.json has the records that went into a small topology, step by
// step, and all that came out; descriptions/, internal-topics/ and formats/ have names and bytes. The set was recorded from
// Kafka Streams' own test driver by the program in generator/; testdata/ holds a packed copy. Each file is one item that
// passes or fails, a topology that is not registered here fails, and nothing is skipped.
//
//	go test ./conformance -count=1                               the packed copy
//	CONFORMANCE_DIR=<folder> go test ./conformance -count=1      any other set
//	CONFORMANCE_ONLY='^table .*vectors/' go test ./conformance   only what matches "<family> <path>"; the report says so
//
// The report lists each failed item with the first difference, then figures for each family; its last line is
// "N passed, N failed", and the test fails if the second number is not 0.
//
// # Adding a family
//
// A family is a test file of its own, family_<name>_test.go, that registers topologies by a package-level value; there is no
// list to add it to:
//
//	var _ = family("aggregate",
//		t("count", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
//			str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
//		}),
//		t("count-cached", io(in("in", STR), out("out", I64)), func(b *stream.Builder) { ... }).cached(),
//	)
//
// Operators, names and functions are those of TOPOLOGIES.md; words_test.go has its words (str, num, json, kv, upper, pair
// and so on). io names the topics and what they hold, as there: the runner writes input and reads output by it, not by what
// the topology says. Where null matters, types are pointers: *string, *int64, *object; a key is a *string. The calls behind
// t are cached, memory, optimize and cfg for settings; bare in place of t is a topology without the DSL.
//
// The runner never looks at expectations to produce a result. A vector says only which stores are asked, and, of versions,
// for which keys and times.
package conformance

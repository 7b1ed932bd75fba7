// Package crash is the rig that attacks the promises of docs/guarantees.md on Apache Kafka: it runs workers (crash/worker) as
// processes of their own, kills, stops and restarts them, bounces their broker, cuts and stalls their connections on a schedule
// that a seed decides, and lets a checker (crash/check) that shares no code with the library recompute what came out.
//
// It stands at the root, in a layer of its own, because it looks at both the library and internal/real, which nothing of the
// product may.
//
// How a run goes: a feed writes records at a rate and, upon each fault, markers into every input partition; a watch reads what
// comes out. A fault is over when all its markers have come out: from then on the output is at full coverage again.
package crash

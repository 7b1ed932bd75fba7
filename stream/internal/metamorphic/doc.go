// Package metamorphic holds the test that runs one random topology over one random input under many settings that may not
// change the answer: partitions, commits, crashes, caches, kinds of stores, optimizations. What the answer is nobody has
// to know. METAMORPHIC_RUNS, METAMORPHIC_RECORDS and METAMORPHIC_SEED say how much of it.
package metamorphic

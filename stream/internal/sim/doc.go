// Package sim simulates whole applications in virtual time: embedded brokers on a network in memory, several instances of the
// library on machines whose disks lose what was not synced, faults, and a checker that recomputes what should have come out of
// what went in and never asks the library. It is built with the tag synctests; `make sim SEEDS=a..b` runs it.
//
// A seed chooses the scenario: the guarantee, threads, where stores are kept, which kinds of faults happen and when. Time is
// virtual but goroutines are scheduled freely, so that a seed repeats a scenario, not a run of instructions: each failure
// shows the log of its faults.
//
// The simulation is itself tested: bugs are planted in the library by name, and each must be caught (`make canaries`).
package sim

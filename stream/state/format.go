package state

// Format is what the stores of the DSL keep beside a value: Kafka Streams' dsl.store.format.
type Format uint8

// The formats. They differ in the changelog, and only there: with WithHeaders a deletion carries the headers of the record
// that made it. A store may change from one to the other.
const (
	Plain       Format = iota // a value and its time
	WithHeaders               // headers too (KIP-1271)
)

// Package layout holds the bytes that Kafka Streams 4.3 keeps on the broker: keys and values of changelog and repartition
// topics, headers, and the text beside a committed offset. They are the contract by which an application can be handed
// from one implementation to the other with its state, so nothing in here may change, ever.
//
// All functions are pure. AppendX writes to the end of dst and returns the longer slice. ReadX takes apart what AppendX
// made; what it returns is a part of its input, not a copy, and bytes that are too few or wrong are ErrLayout, never a
// panic. A nil slice is null, an empty one is not. Numbers are big-endian, times are milliseconds since 1970.
//
// Bytes that are only kept locally (a timestamped value, the keys of stores ordered by time) are in here too, where Kafka
// Streams' order of iteration follows from them.
package layout

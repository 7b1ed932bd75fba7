package layout

import "fmt"

// Instruction is what the left side of a foreign-key join asks the right side to do.
type Instruction byte

// The instructions.
const (
	// DeleteKeyNoPropagate forgets the subscription and answers nothing.
	DeleteKeyNoPropagate Instruction = iota
	// DeleteKeyAndPropagate forgets the subscription and answers null.
	DeleteKeyAndPropagate
	// PropagateNullIfNoForeign subscribes and answers in any case.
	PropagateNullIfNoForeign
	// PropagateOnlyIfForeign subscribes and answers only if the right row is there.
	PropagateOnlyIfForeign
)

// The versions of a Subscription. The second carries the partition of the left row.
const (
	SubscriptionV0 byte = 0
	SubscriptionV1 byte = 1
)

const (
	hashLen  = 16
	hashNull = 0x80 // in the first byte: no hash follows
)

// Subscription is the value of a foreign-key join's registration topic and of its subscription store: a left row says which
// right row it wants. On the topic the record's key is the foreign key.
type Subscription struct {
	Version     byte
	Instruction Instruction
	Hash        []byte // Hash128 of the left row's value; nil if the row is gone
	Primary     []byte // the left row's key
	Partition   int32  // of the left row; -1 in version 0
}

// AppendSubscription writes s. A hash is 16 bytes.
func AppendSubscription(dst []byte, s Subscription) []byte {
	dst = append(dst, s.Version|absent(s.Hash), byte(s.Instruction))
	dst = append(append(dst, s.Hash...), s.Primary...)
	if s.Version == SubscriptionV0 {
		return dst
	}
	return appendInt32(dst, s.Partition)
}

// ReadSubscription takes apart what AppendSubscription wrote.
func ReadSubscription(b []byte) (Subscription, error) {
	r := reader{b: b}
	first := r.byte()
	s := Subscription{Version: first &^ hashNull, Instruction: Instruction(r.byte()), Partition: -1}
	if !r.bad && (s.Version > SubscriptionV1 || s.Instruction > PropagateOnlyIfForeign) {
		return Subscription{}, fmt.Errorf("%w: a subscription of version %d with instruction %d is not known", ErrLayout, s.Version, s.Instruction)
	}
	if first&hashNull == 0 {
		s.Hash = r.take(hashLen)
	}
	if s.Version == SubscriptionV0 {
		s.Primary = r.rest()
	} else {
		s.Primary, s.Partition = r.take(len(r.b)-int32Len), r.int32()
	}
	if err := r.done("subscription", b); err != nil {
		return Subscription{}, err
	}
	return s, nil
}

func absent(hash []byte) byte {
	if hash == nil {
		return hashNull
	}
	return 0
}

package run

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// identity is who commits: a member of the group as of a generation (classic protocol) or an epoch (streams protocol). Both
// parts always go into a commit: without them a member that the group has given up would not be refused.
type identity struct {
	member string
	epoch  int32
}

// membership is a stream thread's place in the application's group: the protocol by which it joins, learns which tasks are
// its own, and leaves. It tells the thread of tasks by gain, give, lose and settled (group.go), with the thread's
// mutex held and never while a record is processed. It belongs to one client of one thread.
type membership interface {
	// options make the thread's client fit for this protocol.
	options() []kgo.Opt
	// join begins the membership, once the client is there.
	join(ctx context.Context) error
	// turn comes at the beginning of each turn of the loop, with the mutex held: what the group has said is carried out.
	turn(ctx context.Context) error
	// allow comes after each turn: the group may move tasks until the thread has polled again.
	allow()
	// ready says whether the thread has its share of the tasks and the group lets its members process.
	ready() bool
	// silent says whether the group may have given this member up without a word: it has not been heard of for too long.
	silent() bool
	// identity is who the thread commits as; an empty member means that it is none.
	identity() identity
	// renewed is asked when a commit was refused because a new epoch has begun. It may wait until the identity is not old any
	// more. Nil says that there is a new one to try again with, kerr.RebalanceInProgress that there will be, and any other error
	// that the group has moved on.
	renewed(ctx context.Context, old identity) error
	// rejoin gives up the place in the group and asks for another one. The thread has given its tasks up already.
	rejoin()
	// fault judges an error of polling that belongs to no partition: nil if the membership goes on.
	fault(err error) error
	// leave ends the membership and closes the client.
	leave()
}

package task

import "time"

// unknown stands for an offset or time that is not known yet.
const unknown = -1

// queue holds the records of one input partition that were fetched and not yet processed. Its position is what a commit
// says: the first record that is not processed, or, when there is none, where the consumer goes on, which may lie behind
// transaction markers. Records with calls under way count as not processed.
type queue struct {
	topic     string
	partition int32
	source    func(*Rec, []byte, []byte) error
	node      string
	flow      *Flow

	extract Extractor // nil: records have their own time
	at      int64     // the time of the first record
	bad     error     // finding it failed

	chunks [][]Input // never written again once here: outputs point into them
	head   int       // in chunks[0]
	n      int

	next      int64     // where the consumer goes on
	epoch     int32     // of the record before next
	committed int64     // what the last commit said
	end       int64     // of the partition, as far as known
	seen      int64     // the highest end ever known: for people, who are told a lag
	time      int64     // the highest time taken from this queue: Kafka Streams' partition time
	emptyAt   time.Time // since when, by the wall clock, the queue is empty and the partition has no more

	held   []*held  // records taken and not finished, in their order
	safe   position // as of the last flush
	handed int64    // the highest offset of a record that had a call run
	effect int64    // the highest offset of a record that has left a trace; only where results are ordered

	internal bool  // a repartition topic's
	hops     *hops // what was seen of its writers; nil until the task begins, and of others
}

func newQueue(topic string, partition int32) *queue {
	return &queue{topic: topic, partition: partition, next: unknown, epoch: unknown, committed: unknown, end: unknown, seen: unknown, time: unknown, safe: position{offset: unknown}, handed: unknown, effect: unknown}
}

func (q *queue) add(in []Input) {
	if len(in) == 0 {
		return
	}
	if q.n == 0 {
		q.emptyAt = time.Time{}
	}
	q.chunks = append(q.chunks, in)
	q.n += len(in)
	last := in[len(in)-1]
	q.advance(last.Offset+1, last.Epoch)
}

// advance moves the consumer's position: behind records, or behind transaction markers.
func (q *queue) advance(next int64, epoch int32) {
	if next > q.next {
		q.next, q.epoch = next, epoch
	}
	q.end = max(q.end, q.next)
}

func (q *queue) peek() *Input { return &q.chunks[0][q.head] }

func (q *queue) pop() {
	q.head++
	q.n--
	if q.head == len(q.chunks[0]) {
		q.chunks, q.head = q.chunks[1:], 0
		if len(q.chunks) == 0 {
			q.chunks = nil
		}
	}
}

// position is what a commit would say, with the leader's epoch.
func (q *queue) position() position {
	switch {
	case len(q.held) > 0:
		h := q.held[0]
		return position{h.in.Offset, h.in.Epoch, h.before}
	case q.n > 0:
		in := q.peek()
		return position{in.Offset, in.Epoch, q.time}
	}
	return position{q.next, q.epoch, q.time}
}

// caughtUp says whether an empty queue is known to have nothing left in its partition.
func (q *queue) caughtUp() bool { return q.end != unknown && q.next >= q.end }

// byTime holds the queues that have records, the one with the oldest head first. It is java.util.PriorityQueue's binary
// heap, step by step: between equal times its shape decides who is next, and that is visible in the order of results.
type byTime []*queue

func (h *byTime) offer(q *queue) {
	*h = append(*h, q)
	a, k := *h, len(*h)-1
	for k > 0 {
		parent := (k - 1) / 2
		if q.at >= a[parent].at {
			break
		}
		a[k], k = a[parent], parent
	}
	a[k] = q
}

// poll removes the first.
func (h *byTime) poll() {
	a := *h
	n := len(a) - 1
	last := a[n]
	a[n] = nil
	*h = a[:n]
	if n == 0 {
		return
	}
	k := 0
	for k < n/2 {
		child := 2*k + 1
		if right := child + 1; right < n && a[child].at > a[right].at {
			child = right
		}
		if last.at <= a[child].at {
			break
		}
		a[k], k = a[child], child
	}
	a[k] = last
}

package task

import "github.com/millrun/millrun/stream/internal/plan"

// addQueue lets a source read a topic.
func (t *Task) addQueue(n *plan.Node, topic string) {
	q := newQueue(topic, t.id.Partition)
	q.source, q.node = t.parts.made[n.Index].(func(*Rec, []byte, []byte) error), n.Name
	if q.extract = t.parts.times[n.Index]; q.extract == nil && !n.Internal {
		q.extract = t.program.TimeBy // what the application sent itself has the right time
	}
	q.flow = t.Flow(n.Name, topic, false)
	q.internal = n.Internal
	t.byTopic[topic] = q
	t.queues = append(t.queues, q)
}

// Open lets the task read a topic that a source by pattern matches, if it does not yet. It says whether the task reads it.
func (t *Task) Open(topic string) bool {
	if _, ok := t.byTopic[topic]; ok {
		return true
	}
	for _, sub := range t.subs {
		for _, n := range sub.Sources {
			if n.Matches(topic) {
				t.addQueue(n, topic)
				return true
			}
		}
	}
	return false
}

// headed finds the time of a queue's first record, and says whether there is one. Records that have no time are dropped
// here, so that they hold nobody up; their offsets are passed over.
func (t *Task) headed(q *queue) bool {
	for ; q.n > 0; q.pop() {
		in := q.peek()
		if q.at, q.bad = in.Time, nil; q.extract == nil {
			return true
		}
		t.begin(in, Processing)
		q.bad = t.guarded(func(*Rec) error {
			q.at = q.extract(in, q.time)
			return nil
		})
		if q.bad != nil || q.at >= 0 {
			return true
		}
		t.drop("timestamp")
	}
	return false
}

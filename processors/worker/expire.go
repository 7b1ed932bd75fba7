package worker

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// dues are the moments at which a task's images want attention, the earliest first: when one must be settled, and when
// it expires. It is built from the store once and kept up by receipts; an image that was settled in between is found so
// when its moment comes. Owned by one receive.
type dues struct {
	built bool
	queue dueHeap
}

type due struct {
	at time.Time
	id string
}

// add notes a new life.
func (d *dues) add(img *events.Image) {
	at := img.ExpiresAt
	if s := img.ReceivedAt.Add(events.SettleLimit); !img.Status.Final() && s.Before(at) {
		at = s
	}
	heap.Push(&d.queue, due{at, img.ImageID})
}

// next takes the earliest moment that is not after now.
func (d *dues) next(now time.Time) (string, bool) {
	if len(d.queue) == 0 || d.queue[0].at.After(now) {
		return "", false
	}
	return heap.Pop(&d.queue).(due).id, true
}

// expire does what has become due: an image that is not settled in time has failed, and an expired one is forgotten,
// which is a tombstone in the changelog.
func (r *receive) expire() error {
	if !r.due.built {
		rows := r.images.All()
		for _, img := range rows.All() {
			r.due.add(&img)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		r.due.built = true
	}
	for now := r.now(); ; {
		id, ok := r.due.next(now)
		if !ok {
			return nil
		}
		if err := r.attend(id, now); err != nil {
			return err
		}
	}
}

func (r *receive) attend(id string, now time.Time) error {
	img, known, err := r.images.Get(id)
	switch {
	case err != nil || !known:
		return err
	case !now.Before(img.ExpiresAt):
		r.metrics.expired.Inc()
		return r.images.Delete(id, r.expiryStamp(img.ExpiresAt))
	case !img.Status.Final() && !now.Before(img.ReceivedAt.Add(events.SettleLimit)):
		r.metrics.ended.WithLabelValues(string(events.StatusFailed), events.CodeTooLate).Inc()
		f := &fault{code: events.CodeTooLate, err: fmt.Errorf("it was not settled within %s", events.SettleLimit)}
		if err := r.end(&img, events.StatusFailed, f); err != nil {
			return err
		}
	}
	r.due.add(&img) // a final image waits for its end; another life of the same id for its own moments
	return nil
}

// expiryStamp is the timestamp of a tombstone: the expiry itself, however late it is noticed, so that the tombstone's own
// retention begins with it. It is never ahead of the records' clock, which a broker would not take.
func (r *receive) expiryStamp(expiry time.Time) time.Time {
	if now := r.c.Stamp.Now(); now.Before(expiry) {
		return now
	}
	return expiry
}

// dueHeap is a heap by time.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(due)) }

// Pop is heap.Interface's.
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

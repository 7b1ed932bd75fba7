package httpin

import (
	"container/list"
	"sync"
	"time"
)

// slots is the fineness of a window: a minute in steps of two seconds.
const (
	slots    = 30
	slotTime = time.Minute / slots
)

// window counts what happened in the last minute and never lets more than limit pass in any minute (the step at its
// edge counts whole, so it errs towards less). Not safe for concurrent use; a windows holds its lock.
type window struct {
	counts [slots + 1]int64
	last   int64 // number of the newest slot since the epoch
	sum    int64
}

// slide forgets what is older than a minute.
func (w *window) slide(now time.Time) {
	n := now.UnixNano() / int64(slotTime)
	if n-w.last > slots {
		*w = window{last: n}
		return
	}
	for w.last < n {
		w.last++
		i := w.last % (slots + 1)
		w.sum -= w.counts[i]
		w.counts[i] = 0
	}
}

func (w *window) add(n int64) {
	w.counts[w.last%(slots+1)] += n
	w.sum += n
}

// wait is how long until n more are below the limit. Call slide first.
func (w *window) wait(now time.Time, n, limit int64) time.Duration {
	over := w.sum + n - limit
	if over <= 0 {
		return 0
	}
	for s := w.last - slots; s <= w.last; s++ {
		if s < 0 {
			continue
		}
		if over -= w.counts[s%(slots+1)]; over <= 0 {
			return time.Unix(0, (s+slots+1)*int64(slotTime)).Sub(now)
		}
	}
	return time.Minute
}

// windows are the windows of many callers, by name. The least recently used is forgotten when there are too many, so a
// flood of names costs bounded memory. Safe for concurrent use.
type windows struct {
	limit int64
	most  int
	now   func() time.Time

	mu     sync.Mutex
	byName map[string]*list.Element
	recent *list.List // of *named, the most recently used first
}

type named struct {
	window

	name string
}

func newWindows(limit int64, most int, now func() time.Time) *windows {
	return &windows{limit: limit, most: most, now: now, byName: map[string]*list.Element{}, recent: list.New()}
}

// take counts n for name when that stays within the limit, and otherwise says how long to wait.
func (w *windows) take(name string, n int64) (wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	win, now := w.of(name), w.now()
	win.slide(now)
	if d := win.wait(now, n, w.limit); d > 0 {
		return d, false
	}
	win.add(n)
	return 0, true
}

// charge counts n although it may be beyond the limit: it has happened already.
func (w *windows) charge(name string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	win := w.of(name)
	win.slide(w.now())
	win.add(n)
}

// full says whether nothing more fits for name, and how long until something does.
func (w *windows) full(name string) (wait time.Duration, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, known := w.byName[name]
	if !known {
		return 0, false
	}
	win, now := e.Value.(*named), w.now()
	win.slide(now)
	d := win.wait(now, 1, w.limit)
	return d, d > 0
}

func (w *windows) of(name string) *named {
	if e, ok := w.byName[name]; ok {
		w.recent.MoveToFront(e)
		return e.Value.(*named)
	}
	n := &named{name: name}
	w.byName[name] = w.recent.PushFront(n)
	if len(w.byName) > w.most {
		oldest := w.recent.Back()
		delete(w.byName, w.recent.Remove(oldest).(*named).name)
	}
	return n
}

package crash

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watch reads what comes out, as a user of the output would. Safe for concurrent use.
type watch struct {
	client *kgo.Client
	app    string

	mu      sync.Mutex
	seen    int64 // ordinary records
	last    time.Time
	silence time.Duration // the longest time without one since quiet was asked
	waits   []*wait
	changed chan struct{} // closed and made anew when seen grows
}

// wait is a marker that is to come out.
type wait struct {
	left marks
	done chan struct{}
	when time.Time // written before done is closed
}

// at is when the last of it came out. It must only be asked after done.
func (x *wait) at() time.Time { return x.when }

func newWatch(o *Options, broker, app string) (*watch, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(broker), kgo.ConsumeTopics(app+"-counts", app+"-windows", app+"-joined"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200 * time.Millisecond)}
	if o.Guarantee == ExactlyOnce {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	return &watch{client: client, app: app, changed: make(chan struct{}), last: time.Now()}, nil
}

// run reads until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.client.Close()
	for ctx.Err() == nil {
		w.take(w.client.PollFetches(ctx).Records())
	}
}

func (w *watch) take(records []*kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, now := w.seen, time.Now()
	for _, r := range records {
		id := string(r.Key)
		if r.Topic == w.app+"-joined" {
			id = string(r.Value)
		}
		if id[0] == 'w' {
			w.seen++ // markers do not begin as words do
		}
		for _, x := range w.waits {
			delete(x.left, id)
		}
	}
	kept := w.waits[:0]
	for _, x := range w.waits {
		if len(x.left) == 0 {
			x.when = now
			close(x.done)
		} else {
			kept = append(kept, x)
		}
	}
	w.waits = kept
	if w.seen > before {
		w.silence = max(w.silence, now.Sub(w.last))
		w.last = now
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// await is told when all of the marks have come out. It is to be asked before they are written.
func (w *watch) await(m marks) *wait {
	x := &wait{left: m, done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = append(w.waits, x)
	return x
}

// missing is how many of the marks have not come out, and one of them.
func (w *watch) missing(x *wait) (int, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range x.left {
		return len(x.left), id
	}
	return 0, ""
}

// output is how many ordinary records have come out.
func (w *watch) output() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// quiet is the longest time without an ordinary record since it was last asked.
func (w *watch) quiet() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.silence
	w.silence = 0
	return longest
}

// outputs is output, and a channel that is closed when there is more.
func (w *watch) outputs() (int64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen, w.changed
}

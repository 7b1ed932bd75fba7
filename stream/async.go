package stream

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// MapAsync is MapValues for slow work: f runs beside the stream, for many records at a time and not on the stream's thread,
// which goes on with other tasks. Records whose value f cannot make are in the second stream, as those of TryMapValues are;
// failures that nobody reads go to Config.ProcessingErrors. A panic is a failure that is not repeated.
//
// Calls with equal keys run one after the other, and their results leave in the order of their records; with different keys
// they overtake each other. A result goes on as its record: with its time, headers and place. A record counts as processed
// only when its result has gone on, so that after a crash f may be called for it again; what other branches of the
// topology have done with the record may be done again, too. Under ExactlyOnce results go on in the order of offsets.
//
// f gets a context that ends when its Timeout is over or its task moves away: it should heed it, and must not change v where
// others see it. Records that are under way are bounded: if a task has too many it takes no more until some are done.
func (s KStream[K, V]) MapAsync[V2 any](f func(ctx context.Context, k K, v V) (V2, error), opts ...Async) (KStream[K, V2], KStream[[]byte, Failure]) {
	set := opt.Settings{Concurrency: 16, Attempts: 1}
	for _, o := range opts {
		o.AsyncOption(opt.Seal{}, &set)
	}
	m := s.s.b.at("MapAsync")
	n := m.node(plan.Processor, m.b.graph.Named(set.Name, "KSTREAM-MAPASYNC-"), s.s.n)
	checkAsync(m, n.Name, &set)
	failed := m.node(plan.Processor, n.Name+"-failed", n)
	failed.Body = passBody[[]byte, Failure]()
	failed.Revalues = true
	n.Body = asyncBody(&set, f, s.s.ks, failed.Name)
	return valued[K, V2](s.s, n), KStream[[]byte, Failure]{s: &flow{b: m.b, n: failed, ks: serde.Bytes()}}
}

func checkAsync(m maker, node string, set *opt.Settings) {
	if set.Concurrency < 1 {
		m.faultf(node, "Concurrency is %d: at least one call must run", set.Concurrency)
	}
	if set.Attempts < 1 {
		m.faultf(node, "Attempts is %d: there is at least the first", set.Attempts)
	}
	if set.Timeout < 0 || set.Pause < 0 {
		m.faultf(node, "Timeout is %s and the pause between attempts %s: neither can be negative", set.Timeout, set.Pause)
	}
}

// Concurrency is how many calls run at a time per task. Default: 16.
func Concurrency(n int) Async { return option(func(s *opt.Settings) { s.Concurrency = n }) }

// Timeout bounds one call: its context ends then, and a call that does not answer it is left to itself and has failed.
// Default: none.
func Timeout(d time.Duration) Async { return option(func(s *opt.Settings) { s.Timeout = d }) }

// Attempts repeats a failed call until it was tried n times. It waits for pause before the second attempt and for twice as
// long before each further one, up to a minute, less a random part of up to a half. An error that says of itself by
// Retryable() bool that it is not is final. Default: 1.
func Attempts(n int, pause time.Duration) Async {
	return option(func(s *opt.Settings) { s.Attempts, s.Pause = n, pause })
}

// Unordered gives up the order of each key: its calls overlap, and results leave as they come.
func Unordered() Async { return option(func(s *opt.Settings) { s.Unordered = true }) }

// asyncWindow is how many records may be under way for each call that may run: enough for keys that come in clusters, whose
// calls wait for each other, and few enough to do again after a crash.
const asyncWindow = 8

// caller is an operator of slow work in one task.
type caller[K, V, V2 any] struct {
	f      func(context.Context, K, V) (V2, error)
	lane   func(r *task.Rec, k K) (any, error)
	node   *plan.Node
	work   *task.Async
	next   step[K, V2]
	failed step[[]byte, Failure]
}

func asyncBody[K, V, V2 any](set *opt.Settings, f func(context.Context, K, V) (V2, error), ks any, failures string) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		lane, err := laneOf[K](rs, ks, set.Unordered)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			c := &caller[K, V, V2]{f: f, lane: lane, node: n}
			o := task.AsyncOptions{
				Concurrency: set.Concurrency, Window: asyncWindow * set.Concurrency, Timeout: set.Timeout,
				Attempts: set.Attempts, Pause: set.Pause, Final: final,
			}
			var good []*plan.Node
			for _, child := range n.Children { // the plan's nodes are copies of the builder's: found by name
				if child.Name != failures {
					good = append(good, child)
				} else if len(child.Children) > 0 {
					c.failed, o.Failed = failureStep(a, child), c.fail
				}
			}
			c.next = revalued(among[K, V2](a, good))
			c.work = a.Task.NewAsync(n, o)
			return c.take
		}, nil
	}
}

func failureStep(a *task.Assembly, n *plan.Node) step[[]byte, Failure] {
	return child[[]byte, Failure](a, n)
}

func (c *caller[K, V, V2]) take(r *task.Rec, k K, v V) error {
	r.At = c.node.Index
	var lane any
	if !r.Keyless {
		var err error
		if lane, err = c.lane(r, k); err != nil {
			return faulty(task.Serialization, c.node, err)
		}
	}
	if r.Tombstone { // there is nothing to call f with, but it must not overtake its key's values
		c.work.Begin(r, lane, nil, func(r *task.Rec) error {
			var none V2
			return c.next(r, k, none)
		})
		return nil
	}
	c.work.Begin(r, lane, func(ctx context.Context) (task.Forward, error) {
		v2, err := c.f(ctx, k, v)
		return func(r *task.Rec) error { return c.next(r, k, v2) }, err
	}, nil)
	return nil
}

func (c *caller[K, V, V2]) fail(r *task.Rec, f *task.Failure) error { return failing(r, c.failed, f) }

// final says of an error that the same again cannot succeed.
func final(err error) bool {
	r, ok := errors.AsType[interface {
		error
		Retryable() bool
	}](err)
	return ok && !r.Retryable()
}

// laneOf finds what stands for a key: itself where == means the same key, otherwise its bytes.
func laneOf[K any](rs *resolver, named any, unordered bool) (func(*task.Rec, K) (any, error), error) {
	if unordered {
		return func(*task.Rec, K) (any, error) { return nil, nil }, nil
	}
	if plainly(reflect.TypeFor[K]()) {
		return func(_ *task.Rec, k K) (any, error) { return k, nil }, nil
	}
	ks, err := find[K](rs, named)
	if err != nil {
		return nil, err
	}
	return func(r *task.Rec, k K) (any, error) {
		if hasNil[K]() && isNil(k) {
			return nil, nil
		}
		var h serde.Headers
		m := serde.Meta{IsKey: true, Headers: &h}
		if r.Source != nil {
			m.Topic = r.Source.Topic
		}
		b, err := ks.Append(nil, k, m)
		return string(b), err
	}, nil
}

// plainly says whether values of a type are the same key if and only if they are equal.
func plainly(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Array:
		return plainly(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !plainly(f.Type) {
				return false
			}
		}
		return true
	}
	return false
}

package stream

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// alone holds, in one task, the records of a left or outer join that have found no partner yet, of both sides together. It
// is the typed face of a key-value store by time, side (right first) and key; a value is the list of all records that have
// these three in common.
type alone[K, V, W, R any] struct {
	b      store.Bytes
	ks     serde.Serde[K]
	vs     serde.Serde[V]
	ws     serde.Serde[W]
	topic  string
	within span // as the left side sees it
	join   func(k K, v V, vok bool, w W, wok bool) R

	time  int64       // the highest of any record of either side
	quiet *task.Quiet // moves time on when the input is quiet; nil: nothing does
	first int64       // no record is older; unlooked until that is known
	look  int64       // wall clock before which nobody looks for results again

	headers           serde.Headers // what serdes see and set
	key, value, list  []byte
	at, emitted, seen []byte
	values            [][]byte
}

// unlooked is the time of the oldest record while nobody knows: at the beginning, and when there was none.
const unlooked = math.MaxInt64

// aloneDecl declares the store.
func (p *pairing[K, V, W, R]) aloneDecl(name string, set *opt.Settings, ks, vs, ws any) *store.Decl {
	return &store.Decl{
		Name: name, Kind: store.KeyValue, Key: reflect.TypeFor[K](), Value: reflect.TypeFor[V](),
		NoLogging: set.NoLogging, LogConfig: set.LogConfig, Engine: set.Engine,
		Resolve: func(_ *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
			o := &aloneOpener[K, V, W, R]{p: p, topic: topic}
			var err error
			if o.ks, o.vs, err = findBoth[K, V](&resolver{registry: r}, ks, vs); err == nil {
				if o.ws, err = find[W](&resolver{registry: r}, ws); err != nil {
					err = fmt.Errorf("other value: %w", err)
				}
			}
			return o, err
		},
	}
}

type aloneOpener[K, V, W, R any] struct {
	p     *pairing[K, V, W, R]
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	ws    serde.Serde[W]
	topic string
}

// Open is the store in its task's hands.
func (o *aloneOpener[K, V, W, R]) Open(b store.Bytes) any {
	s := &alone[K, V, W, R]{
		b: b, ks: o.ks, vs: o.vs, ws: o.ws, topic: o.topic, within: o.p.within.left(), join: o.p.join, time: -1, first: unlooked,
	}
	if o.p.within.idle > 0 {
		s.quiet = task.NewQuiet(o.p.within.idle)
	}
	return s
}

// raise says that a record has come.
func (s *alone[K, V, W, R]) raise(at int64, now time.Time) {
	s.time = max(s.time, at)
	if s.quiet != nil {
		s.time = s.quiet.See(at, now)
	}
}

// watch releases what is over while the input is quiet.
func (s *alone[K, V, W, R]) watch(a *task.Assembly, out exit[K, R]) {
	if s.quiet == nil {
		return
	}
	a.OnInit(out.node, func() error {
		a.Task.Schedule(out.node.Index, s.quiet.Interval(), task.WallClock, func(time.Time) error {
			if at := s.quiet.At(a.Task.Now()); at > s.time {
				s.time = at
				return s.release(a.Task.Rec(), out)
			}
			return nil
		})
		return nil
	})
}

func aloneOf[K, V, W, R any](a *task.Assembly, name string) *alone[K, V, W, R] {
	s, _ := a.Task.Store(name)
	o := s.Face().(*alone[K, V, W, R])
	a.Task.KeepTime(name, &o.time)
	return o
}

// Read is nothing: nobody queries it.
func (o *aloneOpener[K, V, W, R]) Read(store.Reader) any { return nil }

func (s *alone[K, V, W, R]) meta(isKey bool) serde.Meta {
	s.headers = nil
	return serde.Meta{Topic: s.topic, IsKey: isKey, Headers: &s.headers}
}

// keyBytes is the store's key of a record.
func (s *alone[K, V, W, R]) keyBytes(k K, at int64, left bool) (err error) {
	if s.value, err = s.ks.Append(s.value[:0], k, s.meta(true)); err == nil {
		s.key = layout.AppendOuterKey(s.key[:0], s.value, at, left)
	}
	return err
}

// drop takes the records of one side, key and time out, if there are any.
func (s *alone[K, V, W, R]) drop(k K, at int64, left bool) error {
	if err := s.keyBytes(k, at, left); err != nil {
		return err
	}
	if _, ok, err := s.b.Get(s.key); !ok || err != nil {
		return err
	}
	return s.b.Set(store.Write{Key: s.key, Time: s.b.Now()})
}

// add keeps one more record.
func addAlone[K, V, W, R, X any](s *alone[K, V, W, R], k K, x X, serde serde.Serde[X], at int64, left bool) error {
	if err := s.keyBytes(k, at, left); err != nil {
		return err
	}
	value, err := serde.Append(layout.AppendOuterValue(s.value[:0], nil, left), x, s.meta(false))
	if err != nil {
		return err
	}
	s.value = value
	had, _, err := s.b.Get(s.key)
	if err != nil {
		return err
	}
	if s.list, err = layout.AppendToList(s.list[:0], had, value); err != nil {
		return err
	}
	s.first = min(s.first, at)
	return s.b.Set(store.Write{Key: s.key, Local: s.list, Plain: s.list, Time: s.b.Now()})
}

// exit is where results without partner leave: the side whose record is at work.
type exit[K, R any] struct {
	node  *plan.Node
	next  step[K, R]
	after int64 // how much later a partner of this side's records may be
}

// release emits the records whose window is over, in the order of the store, under their own time and the headers of the
// record at work. It looks at most once in an interval of the wall clock, because looking means to read the store from its
// beginning, and ends one record behind that from which on all of both sides have open windows. The time of the last one
// looked at decides when it looks again: later, at times, than the oldest record would ask for. All that is Java's.
func (s *alone[K, V, W, R]) release(r *task.Rec, out exit[K, R]) error {
	if s.first != unlooked && s.first+out.after+s.within.grace >= s.time {
		return nil
	}
	if !r.Task().Looks(&s.look) {
		return nil
	}
	s.first, s.emitted = unlooked, s.emitted[:0]
	var left, right bool // a window is open
	for from := []byte(nil); ; from = s.at {
		key, list, ok, err := s.b.Seek(from, false, from != nil)
		if err != nil {
			return faulty(task.Processing, out.node, err)
		}
		if !ok {
			break
		}
		s.at = append(s.at[:0], key...)
		one, err := s.entry(list)
		if err != nil {
			return faulty(task.Processing, out.node, err)
		}
		s.first = one.at
		if left && right {
			break
		}
		if s.open(one) {
			left, right = left || one.left, right || !one.left
			if left && right && len(s.values) > 1 {
				break
			}
			continue
		}
		if err := s.emit(r, out, one); err != nil {
			return err
		}
	}
	return s.forget(out.node)
}

// entry is a key of the store.
type entry struct {
	key  []byte // the records'
	at   int64
	left bool
}

// entry takes the key at s.at and its values apart. The list is the store's, which may change next: it is copied.
func (s *alone[K, V, W, R]) entry(list []byte) (e entry, err error) {
	if e.key, e.at, e.left, err = layout.ReadOuterKey(s.at); err != nil {
		return e, err
	}
	s.seen = append(s.seen[:0], list...)
	s.values, err = layout.ReadList(s.values[:0], s.seen)
	return e, err
}

// open says whether the partner of a record may still come.
func (s *alone[K, V, W, R]) open(e entry) bool {
	lookback := s.within.before
	if e.left {
		lookback = s.within.after
	}
	return e.at+lookback+s.within.grace >= s.time
}

// forget deletes the key that was emitted last.
func (s *alone[K, V, W, R]) forget(n *plan.Node) error {
	if len(s.emitted) == 0 {
		return nil
	}
	if err := s.b.Set(store.Write{Key: s.emitted, Time: s.b.Now()}); err != nil {
		return faulty(task.Processing, n, err)
	}
	return nil
}

// emit emits the records of an entry. Its key is deleted after the first record of the next one has been emitted: so a
// failure loses none of a list, and so Java orders what it sends.
func (s *alone[K, V, W, R]) emit(r *task.Rec, out exit[K, R], e entry) error {
	for _, value := range s.values {
		k, result, err := s.single(e.key, value)
		if err != nil {
			return faulty(task.Processing, out.node, err)
		}
		mark := r.Mark()
		r.Time, r.Keyless, r.Tombstone = e.at, false, false
		err = out.next(r, k, result)
		r.Restore(mark)
		if err != nil {
			return err
		}
		if !bytes.Equal(s.emitted, s.at) {
			if err := s.forget(out.node); err != nil {
				return err
			}
			s.emitted = append(s.emitted[:0], s.at...)
		}
	}
	return nil
}

// single is the result of a record without partner.
func (s *alone[K, V, W, R]) single(raw, value []byte) (k K, result R, err error) {
	value, left, err := layout.ReadOuterValue(value)
	if err == nil {
		k, err = s.ks.Decode(raw, s.meta(true))
	}
	if err != nil {
		return k, result, err
	}
	var v V
	var w W
	if left {
		v, err = s.vs.Decode(value, s.meta(false))
	} else {
		w, err = s.ws.Decode(value, s.meta(false))
	}
	if err != nil {
		return k, result, err
	}
	return k, s.join(k, v, left, w, !left), nil
}

// leftLoners is alone as the left side sees it.
type leftLoners[K, V, W, R any] struct {
	s   *alone[K, V, W, R]
	out exit[K, R]
}

func (l *leftLoners[K, V, W, R]) raise(at int64, now time.Time) { l.s.raise(at, now) }
func (l *leftLoners[K, V, W, R]) now() int64                    { return l.s.time }
func (l *leftLoners[K, V, W, R]) release(r *task.Rec) error     { return l.s.release(r, l.out) }
func (l *leftLoners[K, V, W, R]) met(k K, at int64) error       { return l.s.drop(k, at, false) }
func (l *leftLoners[K, V, W, R]) wait(k K, v V, at int64) error {
	return addAlone(l.s, k, v, l.s.vs, at, true)
}

// rightLoners is alone as the right side sees it.
type rightLoners[K, V, W, R any] struct {
	s   *alone[K, V, W, R]
	out exit[K, R]
}

func (l *rightLoners[K, V, W, R]) raise(at int64, now time.Time) { l.s.raise(at, now) }
func (l *rightLoners[K, V, W, R]) now() int64                    { return l.s.time }
func (l *rightLoners[K, V, W, R]) release(r *task.Rec) error     { return l.s.release(r, l.out) }
func (l *rightLoners[K, V, W, R]) met(k K, at int64) error       { return l.s.drop(k, at, true) }
func (l *rightLoners[K, V, W, R]) wait(k K, w W, at int64) error {
	return addAlone(l.s, k, w, l.s.ws, at, false)
}

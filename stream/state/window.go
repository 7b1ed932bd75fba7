package state

import (
	"math"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Slot is a key and the start (and end) of its window. The end of a session belongs to it, that of any other window does
// not. Times are whole milliseconds.
type Slot[K any] struct {
	Key        K
	Start, End time.Time
}

// ReadOnlyWindowStore reads windows by start time. All spans include both ends. A row whose start lies the store's retention
// or more behind the newest is no longer there.
//
// Several keys come in the order of Kafka Streams: by segment of time (the retention's half, at least a minute), key bytes
// and start from a persistent store, by start and key bytes from one in memory.
type ReadOnlyWindowStore[K, V any] interface {
	// Get finds the row of k whose window begins at start.
	Get(k K, start time.Time) (v Timestamped[V], ok bool, err error)
	// Fetch is the rows of k whose windows begin in a span, earliest first.
	Fetch(k K, from, to time.Time) *Rows[Slot[K], V]
	// FetchRange is the rows of the keys from fromKey to toKey, both included.
	FetchRange(fromKey, toKey K, from, to time.Time) *Rows[Slot[K], V]
	// FetchAll is the rows of all keys.
	FetchAll(from, to time.Time) *Rows[Slot[K], V]
	// ReverseFetch is Fetch backwards.
	ReverseFetch(k K, from, to time.Time) *Rows[Slot[K], V]
	// ReverseFetchRange is FetchRange backwards.
	ReverseFetchRange(fromKey, toKey K, from, to time.Time) *Rows[Slot[K], V]
	// ReverseFetchAll is FetchAll backwards.
	ReverseFetchAll(from, to time.Time) *Rows[Slot[K], V]
}

// WindowStore reads and writes windows. Owned by one task: not for concurrent use.
type WindowStore[K, V any] interface {
	ReadOnlyWindowStore[K, V]
	// Put sets the row of k in the window that begins at start, as of the time t. A nil v deletes it. A row that is too old
	// for the store is counted as dropped; the changelog gets it all the same.
	Put(k K, v V, start, t time.Time) error
	// Delete removes a row.
	Delete(k K, start time.Time) error
}

// Window declares a window store. Size is that of a window, only told to readers; retention is how long a row stays after
// its window's start, by the time the store itself has seen. Both are whole milliseconds.
func Window[K, V any](name string, size, retention time.Duration, opts ...Option) Handle[WindowStore[K, V], ReadOnlyWindowStore[K, V]] {
	d := declare[K, V](name, store.Window, resolveWindow[K, V], opts)
	d.Size, d.Retention = size, retention
	return Handle[WindowStore[K, V], ReadOnlyWindowStore[K, V]]{d}
}

// windowed is what the typed faces of all windowed stores share.
type windowed[K, V any] struct {
	kind  store.Kind
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	topic string
	shape *store.Shape
}

// SetShape tells what the keys look like, which is known when the program is made.
func (o *windowed[K, V]) SetShape(s *store.Shape) { o.shape = s }

func (o *windowed[K, V]) reader(r store.Reader, shared bool) windowReader[K, V] {
	out := windowReader[K, V]{
		r: r, ks: o.ks, vs: o.vs, topic: o.topic, shared: shared, shape: o.shape,
		nilKey: store.HasNil[K](), nilValue: store.HasNil[V](),
	}
	if o.kind.HasTime() {
		out.skip = timeLen
	}
	return out
}

// windowReader is a windowed store, read only.
type windowReader[K, V any] struct {
	reader[K, V]
	shape            *store.Shape
	nilKey, nilValue bool
	local            []byte
}

func windowOpener[K, V any](d *store.Decl, r *serde.Registry, topic string) (o windowed[K, V], err error) {
	o.kind, o.topic = d.Kind, topic
	o.ks, o.vs, err = serdes[K, V](d, r)
	return o, err
}

func resolveWindow[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	o, err := windowOpener[K, V](d, r, topic)
	return &windowFaces[K, V]{o}, err
}

// windowFaces opens window stores.
type windowFaces[K, V any] struct{ windowed[K, V] }

// Open is the store of a processor.
func (o *windowFaces[K, V]) Open(b store.Bytes) any {
	return &windowStore[K, V]{slots: slots[K, V]{o.reader(b, false)}, b: b}
}

// Read is the store of a query.
func (o *windowFaces[K, V]) Read(r store.Reader) any { return &slots[K, V]{o.reader(r, true)} }

// slots is a window store, read only.
type slots[K, V any] struct{ windowReader[K, V] }

func (s *slots[K, V]) Get(k K, start time.Time) (v Timestamped[V], ok bool, err error) {
	value, at, ok, err := s.At(k, start.UnixMilli())
	if !ok || err != nil {
		return v, false, err
	}
	return Timestamped[V]{value, time.UnixMilli(at).UTC()}, true, nil
}

// At is Get in milliseconds.
func (s *slots[K, V]) At(k K, start int64) (v V, at int64, ok bool, err error) {
	key, err := s.keyBytes(k)
	if err != nil {
		return v, 0, false, err
	}
	local := s.shape.Window(s.local[:0], key, start, 0)
	if !s.shared {
		s.local = local
	}
	b, ok, err := s.r.Get(local)
	if !ok || err != nil {
		return v, 0, false, err
	}
	v, at, err = s.stamped(b)
	return v, at, err == nil, err
}

// stamped reads what the store keeps.
func (s *slots[K, V]) stamped(local []byte) (v V, at int64, err error) {
	plain, at, err := layout.ReadTimestamped(local)
	if err != nil || plain == nil {
		return v, 0, err
	}
	v, err = s.vs.Decode(plain, s.meta(false))
	return v, at, err
}

func (s *slots[K, V]) Fetch(k K, from, to time.Time) *Rows[Slot[K], V] {
	return s.span(&k, &k, true, from, to, false)
}

func (s *slots[K, V]) ReverseFetch(k K, from, to time.Time) *Rows[Slot[K], V] {
	return s.span(&k, &k, true, from, to, true)
}

func (s *slots[K, V]) FetchRange(fromKey, toKey K, from, to time.Time) *Rows[Slot[K], V] {
	return s.span(&fromKey, &toKey, false, from, to, false)
}

func (s *slots[K, V]) ReverseFetchRange(fromKey, toKey K, from, to time.Time) *Rows[Slot[K], V] {
	return s.span(&fromKey, &toKey, false, from, to, true)
}

func (s *slots[K, V]) FetchAll(from, to time.Time) *Rows[Slot[K], V] {
	return s.span(nil, nil, false, from, to, false)
}

func (s *slots[K, V]) ReverseFetchAll(from, to time.Time) *Rows[Slot[K], V] {
	return s.span(nil, nil, false, from, to, true)
}

// millis is a time in milliseconds; those beyond what milliseconds can count are the last one.
func millis(t time.Time) int64 {
	if t.Year() > maxYear {
		return math.MaxInt64
	}
	return t.UnixMilli()
}

// maxYear is the last whole year of milliseconds in 64 bits.
const maxYear = 292277024

// span is the rows of some keys in a span of time; nil is without limit.
func (w *windowReader[K, V]) span(low, high *K, one bool, from, to time.Time, reverse bool) *Rows[Slot[K], V] {
	out := &Rows[Slot[K], V]{}
	bound := func(k *K) []byte {
		if k == nil || out.err != nil {
			return nil
		}
		b, err := w.ks.Append([]byte{}, *k, w.meta(true))
		out.err = err
		return b
	}
	lowKey, highKey := bound(low), bound(high)
	least, most := millis(from), millis(to)
	out.walk = func(yield func(Slot[K], V) bool) error {
		var s store.Scan
		s.Begin(w.r, w.shape, lowKey, highKey, one, least, most, reverse)
		if !one && (w.shape.Memory || w.shape.ByTime) {
			return w.byTime(&s, reverse, yield)
		}
		for {
			local, value, ok, err := s.Next()
			if !ok || err != nil {
				return err
			}
			more, err := w.yield(local, value, yield)
			if !more || err != nil {
				return err
			}
		}
	}
	return out
}

func (w *windowReader[K, V]) yield(local, value []byte, yield func(Slot[K], V) bool) (bool, error) {
	slot, err := w.slot(local)
	if err != nil {
		return false, err
	}
	v, err := w.value(value)
	if err != nil {
		return false, err
	}
	return yield(slot, v), nil
}

func (w *windowReader[K, V]) slot(local []byte) (out Slot[K], err error) {
	if out.Key, err = w.ks.Decode(w.shape.Key(local), w.meta(true)); err != nil {
		return out, err
	}
	out.Start, out.End = time.UnixMilli(w.shape.Start(local)).UTC(), time.UnixMilli(w.shape.End(local)).UTC()
	return out, nil
}

// byTime yields what a scan finds in the order of a store in memory. The rows are those of the moment the loop begins.
func (w *windowReader[K, V]) byTime(s *store.Scan, reverse bool, yield func(Slot[K], V) bool) error {
	found, err := s.Sorted(reverse)
	if err != nil {
		return err
	}
	for _, r := range found {
		more, err := w.yield(r.Local, r.Value, yield)
		if !more || err != nil {
			return err
		}
	}
	return nil
}

// windowStore is a window store in a task's hands.
type windowStore[K, V any] struct {
	slots[K, V]
	b     store.Bytes
	value []byte
	scan  store.Scan
}

func (s *windowStore[K, V]) Put(k K, v V, start, t time.Time) error {
	return s.PutAt(k, v, start.UnixMilli(), t.UnixMilli())
}

// PutAt is Put in milliseconds.
func (s *windowStore[K, V]) PutAt(k K, v V, start, at int64) error {
	if s.nilValue && store.IsNil(v) {
		return s.DeleteAt(k, start, at)
	}
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.local = s.shape.Window(s.local[:0], key, start, 0)
	b, err := s.vs.Append(layout.AppendTimestamped(s.value[:0], nil, at), v, s.meta(false))
	if err != nil {
		return err
	}
	s.value = b
	return s.b.Set(store.Write{Key: s.local, Local: b, Plain: b[timeLen:], Time: at})
}

func (s *windowStore[K, V]) Delete(k K, start time.Time) error {
	return s.DeleteAt(k, start.UnixMilli(), s.b.Now())
}

// DeleteAt is Delete in milliseconds, as of a time.
func (s *windowStore[K, V]) DeleteAt(k K, start, at int64) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.local = s.shape.Window(s.local[:0], key, start, 0)
	return s.b.Set(store.Write{Key: s.local, Time: at})
}

// Each visits the rows of a key whose windows begin in a span, until visit returns false. Visit may change the rows it has
// seen.
func (s *windowStore[K, V]) Each(k K, from, to int64, reverse bool, visit func(start int64, v V, at int64) (bool, error)) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.scan.Begin(s.r, s.shape, key, key, true, from, to, reverse)
	for {
		local, value, ok, err := s.scan.Next()
		if !ok || err != nil {
			return err
		}
		start := s.shape.Time(local)
		v, at, err := s.stamped(value)
		if err != nil {
			return err
		}
		if more, err := visit(start, v, at); !more || err != nil {
			return err
		}
	}
}

// Closed visits the windows that begin in a span, by their start; the store must have been made for it.
func (s *windowStore[K, V]) Closed(from, to int64, visit func(k K, start int64, v V, at int64) error) error {
	return s.b.(timeline).Timeline(from, to, func(local, value []byte) error {
		k, err := s.ks.Decode(s.shape.Key(local), s.meta(true))
		if err != nil {
			return err
		}
		v, at, err := s.stamped(value)
		if err != nil {
			return err
		}
		return visit(k, s.shape.Time(local), v, at)
	})
}

// timeline is a store that can be read by time.
type timeline interface {
	Timeline(from, to int64, visit func(key, value []byte) error) error
}

// Flush tells f of windows that leave the store's cache: what they are now, and what they were. Where one is not there, ok
// is false. It returns false if the store has no cache. Only this module can call it.
func (s *windowStore[K, V]) Flush(_ opt.Seal, f func(k K, start int64, now, old V, at int64, ok, was bool) error) bool {
	c, ok := s.b.(store.Cached)
	if !ok {
		return false
	}
	return c.OnFlush(func(local, now, before []byte) error {
		k, err := s.ks.Decode(s.shape.Key(local), s.meta(true))
		if err != nil {
			return err
		}
		var v, old V
		var at int64
		if now != nil {
			if v, at, err = s.stamped(now); err != nil {
				return err
			}
		}
		if before != nil {
			if old, _, err = s.stamped(before); err != nil {
				return err
			}
		}
		return f(k, s.shape.Time(local), v, old, at, now != nil, before != nil)
	})
}

package stream

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Suppress holds changes back.
func (t KTable[K, V]) Suppress(s Suppressed, opts ...Option) KTable[K, V] {
	var set opt.Settings
	for _, o := range opts {
		o.PlainOption(opt.Seal{}, &set)
	}
	from, g := t.t, t.t.b.graph
	m := from.b.at("Suppress")
	name, buffer := set.Name, set.Name+"-store"
	if name == "" { // a named one burns no number, unlike most others
		name = g.Name("KTABLE-SUPPRESS-")
		buffer = g.StoreName("KTABLE-SUPPRESS-")
	}
	out := &tableFlow{b: from.b, ks: from.ks, vs: from.vs}
	wait := s.wait(m, from, endOf[K]() != nil)
	d := heldDecl(buffer, from.ks, from.vs, newBuffer[K, V])
	d.NoLogging, d.LogConfig = s.noLogging, s.logConfig
	from.b.keep(m, d)
	out.n = m.node(plan.Processor, name, from.n)
	out.n.Stores = []string{buffer}
	out.n.Body = suppressBody[K, V](buffer, s, wait)
	// Without old values the buffer could not say what the table was before.
	out.sendOld = from.old(true)
	out.old = func(force bool) bool { return from.old(force) }
	out.view = func() (any, []string) { return suppressedView[K, V](from, buffer) }
	return KTable[K, V]{t: out}
}

// wait is how many milliseconds of stream time a row is held back beyond the time it is ordered by. What is wrong with the
// settings it tells.
func (s Suppressed) wait(m maker, from *tableFlow, windowed bool) int64 {
	grace, closes := graceOf(from.n)
	switch {
	case from.history() > 0:
		m.faultf("", "Suppress holds rows back by the time of their last change, which a versioned table does not have: keep the table in a store without versions")
	case s.final && !(windowed && closes):
		m.faultf("", "UntilWindowCloses needs a table of windows: suppress the result of a windowed aggregation, or use UntilTimeLimit")
	case s.final && s.early:
		m.faultf("", "EmitEarlyWhenFull contradicts UntilWindowCloses, which promises one result per window: leave it out, or use UntilTimeLimit")
	case s.final && s.idle != 0:
		m.faultf("", "Idle is said at the windows, so that they and their suppression close at once: Tumbling(…).Idle(%s)", s.idle)
	case s.limit < 0:
		m.faultf("", "UntilTimeLimit(%s) is before the first change", s.limit)
	}
	checkIdle(m, s.idle)
	if s.final {
		return grace
	}
	return s.limit.Milliseconds()
}

// newBuffer makes the buffer of a task.
func newBuffer[K, V any](o *heldOpener[K, V], log store.Log) any {
	return &buffer[K, V]{
		Buffer: store.NewBuffer(), log: log, ks: o.ks, vs: o.vs, topic: o.topic, nilValue: hasNil[V](),
	}
}

// buffer holds the rows of a table back, in one task. It is the store's Keeper.
type buffer[K, V any] struct {
	*store.Buffer
	log      store.Log
	ks       serde.Serde[K]
	vs       serde.Serde[V]
	topic    string
	nilValue bool

	headers    serde.Headers // what serdes see and set
	key, space []byte
}

func (b *buffer[K, V]) meta(isKey bool) serde.Meta {
	return serde.Meta{Topic: b.topic, IsKey: isKey, Headers: &b.headers}
}

// keyBytes writes a key into the scratch space.
func (b *buffer[K, V]) keyBytes(k K) (_ []byte, err error) {
	b.key, err = b.ks.Append(b.key[:0], k, b.meta(true))
	return b.key, err
}

// put holds a change back until at; the record at work is its context.
func (b *buffer[K, V]) put(r *task.Rec, k K, c change[V], at int64) error {
	b.headers = r.Headers
	key, err := b.keyBytes(k)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	var v store.BufferValue
	if v.Old, err = b.valueBytes(c.old, c.hasOld); err == nil {
		v.New, err = b.valueBytes(c.new, c.hasNew)
	}
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	v.Context = layout.Context[serde.Header]{Time: r.Time, Offset: -1, Partition: -1, Headers: owned(b.headers)}
	if in := r.Source; in != nil {
		v.Context.Topic, v.Context.Partition, v.Context.Offset = in.Topic, in.Partition, in.Offset
	}
	b.Put(key, at, v)
	return nil
}

// valueBytes writes a value into memory of its own.
func (b *buffer[K, V]) valueBytes(v V, ok bool) ([]byte, error) {
	if !ok {
		return nil, nil
	}
	out, err := b.vs.Append(b.space[:0], v, b.meta(false))
	if err != nil {
		return nil, err
	}
	b.space = out
	return append(make([]byte, 0, len(out)), out...), nil
}

// owned copies headers: those of a record that was fetched hold its whole batch in memory.
func owned(h serde.Headers) serde.Headers {
	if len(h) == 0 {
		return nil
	}
	out := make(serde.Headers, len(h))
	for i, x := range h {
		out[i] = serde.Header{Key: x.Key}
		if x.Value != nil {
			out[i].Value = append(make([]byte, 0, len(x.Value)), x.Value...)
		}
	}
	return out
}

// value reads a value; nil is none.
func (b *buffer[K, V]) value(raw []byte) (v V, ok bool, err error) {
	if raw == nil {
		return v, false, nil
	}
	v, err = b.vs.Decode(raw, b.meta(false))
	return v, err == nil && !(b.nilValue && isNil(v)), err
}

// row reads what is held.
func (b *buffer[K, V]) row(h *store.Held) (k K, c change[V], err error) {
	b.headers = h.Value.Context.Headers
	if k, err = b.ks.Decode(h.Key, b.meta(true)); err != nil {
		return k, c, fmt.Errorf("key: %w", err)
	}
	if c.new, c.hasNew, err = b.value(h.Value.New); err == nil {
		c.old, c.hasOld, err = b.value(h.Value.Old)
	}
	if err != nil {
		return k, c, fmt.Errorf("value: %w", err)
	}
	return k, c, nil
}

// prior is the value of a row before it was held back; held says whether it is.
func (b *buffer[K, V]) prior(k K) (v V, ok, held bool, err error) {
	b.headers = nil
	key, err := b.keyBytes(k)
	if err != nil {
		return v, false, false, err
	}
	h := b.Get(key)
	if h == nil {
		return v, false, false, nil
	}
	b.headers = h.Value.Context.Headers
	v, ok, err = b.value(h.Value.Prior)
	return v, ok, true, err
}

// bufferVersion is the header of the changelog's records.
var bufferVersion = serde.Headers{{Key: layout.BufferHeader, Value: []byte{layout.BufferV3}}}

// Flush tells the changelog which rows came and went.
func (b *buffer[K, V]) Flush() error {
	b.Dirty(b.tell)
	return nil
}

// tell logs a row, or that it is gone.
func (b *buffer[K, V]) tell(key []byte, h *store.Held) {
	w := store.Write{Key: key, Time: store.NoTime}
	if h != nil {
		b.space = layout.AppendBufferValue(b.space[:0], &h.Value, h.At)
		w.Plain, w.Headers = b.space, bufferVersion
	}
	b.log.Log(w)
}

// Amend tells the changelog again what is held of a key.
func (b *buffer[K, V]) Amend(key []byte) { b.tell(key, b.Get(key)) }

// suppressor is the node in one task.
type suppressor[K, V any] struct {
	node    *plan.Node
	next    step[K, change[V]]
	b       *buffer[K, V]
	final   bool
	end     func(K) int64 // of a key's window; nil unless final
	wait    int64
	records int64
	bytes   int64
	early   bool
	time    int64 // the highest that came by
	emits   *int64
	quiet   *task.Quiet // moves time on when the input is quiet; nil: nothing does
}

func suppressBody[K, V any](name string, s Suppressed, wait int64) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		kept, _ := a.Task.Store(name)
		p := &suppressor[K, V]{
			node: n, next: guard(children[K, change[V]](a, n)), b: kept.Face().(*buffer[K, V]),
			final: s.final, wait: wait, records: bound(s.records), bytes: bound(s.bytes), early: s.early, time: -1, emits: a.Emits(n),
		}
		if s.final {
			p.end = endOf[K]()
			p.quiet = quietOf(a.Task, n)
		} else if s.idle > 0 {
			p.quiet = task.NewQuiet(s.idle)
		}
		a.Task.KeepTime(n.Name, &p.time)
		p.watch(a)
		return p.take
	})
}

func (p *suppressor[K, V]) take(r *task.Rec, k K, c change[V]) error {
	r.At = p.node.Index
	p.time = max(p.time, r.Time)
	if p.quiet != nil && !p.final { // that of windows is told by the windows
		p.time = p.quiet.See(r.Time, r.Task().Now())
	}
	at := r.Time
	if p.final {
		at = p.end(k)
	}
	if err := p.b.put(r, k, c, at); err != nil {
		return faulty(task.Processing, p.node, err)
	}
	if err := p.release(r); err != nil {
		return err
	}
	for p.over() {
		if !p.early {
			return &task.Fault{
				Stage: task.Processing, Node: p.node.Name,
				Err:  fmt.Errorf("%w: %d records, %d bytes", ErrBufferFull, p.b.Len(), p.b.Size()),
				Hint: "raise MaxRecords or MaxBytes, or let it EmitEarlyWhenFull",
			}
		}
		if err := p.emit(r, p.b.First()); err != nil {
			return err
		}
	}
	return nil
}

// release lets go what has waited long enough.
func (p *suppressor[K, V]) release(r *task.Rec) error {
	for h := p.b.First(); h != nil && h.At <= p.time-p.wait; h = p.b.First() {
		if err := p.emit(r, h); err != nil {
			return err
		}
	}
	return nil
}

// watch releases while the input is quiet.
func (p *suppressor[K, V]) watch(a *task.Assembly) {
	if p.quiet == nil {
		return
	}
	a.OnInit(p.node, func() error {
		a.Task.Schedule(p.node.Index, p.quiet.Interval(), task.WallClock, func(time.Time) error {
			if at := p.quiet.At(a.Task.Now()); at > p.time {
				p.time = at
				return p.release(a.Task.Rec())
			}
			return nil
		})
		return nil
	})
}

func (p *suppressor[K, V]) over() bool {
	return p.b.Len() > p.records || p.b.Size() > p.bytes
}

// emit lets a row go, as the record that changed it last. Who reads the table meanwhile sees what it was before.
func (p *suppressor[K, V]) emit(r *task.Rec, h *store.Held) error {
	k, c, err := p.b.row(h)
	if err != nil {
		return faulty(task.Processing, p.node, err)
	}
	if c.hasNew || !p.final {
		was := *r
		x := &h.Value.Context
		r.Time, r.Headers, r.Keyless, r.Tombstone = x.Time, x.Headers, false, false
		r.Source = nil
		if x.Topic != "" { // otherwise it was none that changed the row, but a punctuation
			r.Source = &task.Input{Topic: x.Topic, Partition: x.Partition, Offset: x.Offset, Epoch: -1, Time: x.Time, Headers: x.Headers}
		}
		err = p.next(r, k, c)
		*r = was
	}
	if err != nil {
		return err
	}
	p.b.Remove(h)
	*p.emits++
	return nil
}

// suppressedView reads the table as it is for those below: what is held back has not happened yet.
func suppressedView[K, V any](from *tableFlow, name string) (any, []string) {
	open, stores := viewOf[K, V](from)
	return func(a *task.Assembly) viewer[K, V] {
		above := open(a)
		kept, _ := a.Task.Store(name)
		b := kept.Face().(*buffer[K, V])
		return viewer[K, V]{get: func(k K) (row[V], bool, error) {
			v, ok, held, err := b.prior(k)
			if held || err != nil {
				return row[V]{v, unknownTime}, ok, err
			}
			return above.get(k)
		}}
	}, append([]string{name}, stores...)
}

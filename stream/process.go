package stream

import (
	"fmt"
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// Process runs a processor of one's own; supplier is called once per task. What follows repartitions before a keyed
// operator, because a processor may change the key.
func (s KStream[K, V]) Process[K2, V2 any, P Processor[K, V, K2, V2]](supplier func() P, opts ...Processed) KStream[K2, V2] {
	m := s.s.b.at("Process")
	n := m.process(s.s.n, "KSTREAM-PROCESSOR-", opts)
	n.Revalues = true // no Rekeys: repartitions below are never merged, as in Kafka Streams, nor moved above
	checkLife[*ProcessorContext[K2, V2]](m, n.Name, reflect.TypeFor[P]())
	n.Body = processBody[K, V, K2, V2](supplier)
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
}

// ProcessValues runs a processor that cannot change the key, so nothing is repartitioned; supplier is called once per task.
func (s KStream[K, V]) ProcessValues[V2 any, P FixedKeyProcessor[K, V, V2]](supplier func() P, opts ...Processed) KStream[K, V2] {
	m := s.s.b.at("ProcessValues")
	n := m.process(s.s.n, "KSTREAM-PROCESSVALUES-", opts)
	checkLife[*FixedKeyProcessorContext[K, V2]](m, n.Name, reflect.TypeFor[P]())
	n.Body = processValuesBody[K, V, V2](supplier)
	return valued[K, V2](s.s, n)
}

// process appends the node of a user's processor with its stores. A named one burns no number, unlike all others.
func (m maker) process(parent *plan.Node, prefix string, opts []Processed) *plan.Node {
	var set opt.Settings
	for _, o := range opts {
		o.ProcessedOption(opt.Seal{}, &set)
	}
	if set.Name == "" {
		set.Name = m.b.graph.Name(prefix)
	}
	n := m.node(plan.Processor, set.Name, parent)
	m.uses(n, &set)
	return n
}

// uses connects a node with the stores it opens.
func (m maker) uses(n *plan.Node, set *opt.Settings) {
	for _, u := range set.Uses {
		d := u.(state.Any).Declaration(opt.Seal{})
		if s, ok := m.b.graph.Store(d.Name); ok && s.Global {
			m.faultf(n.Name, "the store %q is global: every processor may open it, so it is not named in Uses", d.Name)
			continue
		}
		m.b.keep(m, d)
		n.Stores = append(n.Stores, d.Name)
	}
}

// checkLife finds an Init or Close with another signature than the library calls: it would silently never be called.
func checkLife[C any](m maker, name string, p reflect.Type) {
	if p.Kind() == reflect.Interface {
		return
	}
	if _, has := p.MethodByName("Init"); has && !p.Implements(reflect.TypeFor[interface{ Init(ctx C) error }]()) {
		m.faultf(name, "%s.Init is not Init(%s) error and would never be called", p, reflect.TypeFor[C]())
	}
	if _, has := p.MethodByName("Close"); has && !p.Implements(reflect.TypeFor[interface{ Close() error }]()) {
		m.faultf(name, "%s.Close is not Close() error and would never be called", p)
	}
}

// alive has a processor's Init and Close called.
func alive[C any](a *task.Assembly, n *plan.Node, p any, ctx C) {
	if i, ok := p.(interface{ Init(ctx C) error }); ok {
		a.OnInit(n, func() error { return i.Init(ctx) })
	}
	if c, ok := p.(interface{ Close() error }); ok {
		a.OnClose(n, c.Close)
	}
}

func processBody[K, V, K2, V2 any, P Processor[K, V, K2, V2]](supplier func() P) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		ctx := &ProcessorContext[K2, V2]{TaskContext: TaskContext{a.Task, n}, out: forwardTo[K2, V2](a, n)}
		p := supplier()
		alive(a, n, p, ctx)
		nils := hasNil[V]()
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			err := p.Process(ctx, Record[K, V]{
				Key: k, Value: v, Timestamp: instant(r.Time), Headers: r.Headers,
				Keyless: r.Keyless, Tombstone: r.Tombstone || nils && isNil(v),
			})
			if err != nil {
				return faulty(task.Processing, n, err)
			}
			return nil
		}
	})
}

func processValuesBody[K, V, V2 any, P FixedKeyProcessor[K, V, V2]](supplier func() P) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		ctx := &FixedKeyProcessorContext[K, V2]{TaskContext: TaskContext{a.Task, n}, out: forwardTo[K, V2](a, n)}
		p := supplier()
		alive(a, n, p, ctx)
		nils := hasNil[V]()
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			err := p.Process(ctx, FixedKeyRecord[K, V]{
				key: k, keyless: r.Keyless, Value: v, Timestamp: instant(r.Time), Headers: r.Headers,
				Tombstone: r.Tombstone || nils && isNil(v),
			})
			if err != nil {
				return faulty(task.Processing, n, err)
			}
			return nil
		}
	})
}

// forwarder is a processor's way to its children, each a unit of failure.
type forwarder[K, V any] struct {
	t        *task.Task
	node     *plan.Node
	next     step[K, V]
	children map[string]step[K, V]
	nilKey   bool
	nilValue bool
}

func forwardTo[K, V any](a *task.Assembly, n *plan.Node) forwarder[K, V] {
	f := forwarder[K, V]{
		t: a.Task, node: n, next: guard(children[K, V](a, n)), children: map[string]step[K, V]{},
		nilKey: hasNil[K](), nilValue: hasNil[V](),
	}
	for _, c := range n.Children {
		f.children[c.Name] = guard(child[K, V](a, c))
	}
	return f
}

func (f *forwarder[K, V]) child(name string) (step[K, V], error) {
	next, ok := f.children[name]
	if !ok {
		return nil, fmt.Errorf("stream: processor %s has no child %q: name the operator behind it by stream.Named", f.node.Name, name)
	}
	return next, nil
}

func (f *forwarder[K, V]) forward(next step[K, V], r Record[K, V]) error {
	rec := f.t.Rec()
	mark := rec.Mark()
	rec.Time, rec.Headers = r.Timestamp.UnixMilli(), r.Headers
	if r.Tombstone {
		var none V
		r.Value = none
	}
	err := f.send(next, r.Key, r.Value, r.Keyless, r.Tombstone)
	rec.Restore(mark)
	return err
}

// send is the last step: key and value as the record at work carries them.
func (f *forwarder[K, V]) send(next step[K, V], k K, v V, keyless, tombstone bool) error {
	rec := f.t.Rec()
	mark := rec.Mark()
	rec.Keyless = keyless || f.nilKey && isNil(k)
	rec.Tombstone = tombstone && !f.nilValue
	err := next(rec, k, v)
	rec.Restore(mark)
	return err
}

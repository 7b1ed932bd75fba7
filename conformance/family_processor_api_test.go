package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// Fixed-key processors, and topologies without the DSL.

type (
	fixedRecord  = stream.FixedKeyRecord[*string, *string]
	fixedContext = stream.FixedKeyProcessorContext[*string, *string]
	strStore     = state.KeyValueStore[*string, *string]
	strHandle    = state.Handle[strStore, state.ReadOnlyKeyValueStore[*string, *string]]
)

// strKeyValue declares a store of texts.
func strKeyValue(name string) strHandle {
	return state.KeyValue[*string, *string](name, state.KeySerde(S), state.ValueSerde(S))
}

// fixedOn is a fixed-key processor with a store.
type fixedOn struct {
	h     strHandle
	store strStore
	body  func(c *fixedContext, s strStore, r fixedRecord) error
}

func (p *fixedOn) Init(c *fixedContext) error {
	p.store = c.Store(p.h)
	return nil
}

func (p *fixedOn) Process(c *fixedContext, r fixedRecord) error { return p.body(c, p.store, r) }

// procOn supplies a processor with a store.
func procOn(h strHandle, body func(c *processing[*string], s strStore, r strRecord) error) func() *processor[*string] {
	return func() *processor[*string] {
		var s strStore
		return &processor[*string]{
			init: func(c *processing[*string]) error {
				s = c.Store(h)
				return nil
			},
			body: func(c *processing[*string], r strRecord) error { return body(c, s, r) },
		}
	}
}

var _ = family("processor",
	t("process-values", strToStr, func(b *stream.Builder) {
		str(b, "in").ProcessValues(stream.FixedKeyProcessorFunc(func(c *fixedContext, r fixedRecord) error {
			if r.Value == nil {
				return nil
			}
			if err := c.Forward(r.WithValue(upper(r.Value))); err != nil || length(r.Value) <= 3 {
				return err
			}
			k, _ := r.Key()
			next := r.WithValue(pair(k, r.Value))
			next.Timestamp = r.Timestamp.Add(ms(1))
			return c.Forward(next)
		})).To("out", SS...)
	}),
	t("process-values-dedupe", strToStr, func(b *stream.Builder) {
		h := strKeyValue("last")
		str(b, "in").ProcessValues(func() *fixedOn {
			return &fixedOn{h: h, body: func(c *fixedContext, s strStore, r fixedRecord) error {
				k, ok := r.Key()
				if !ok || r.Value == nil {
					return nil
				}
				last, ok, err := s.Get(k)
				if err != nil || ok && *last == *r.Value {
					return err
				}
				if err := s.Put(k, r.Value); err != nil {
					return err
				}
				return c.Forward(r)
			}}
		}, stream.Uses(h)).To("out", SS...)
	}),
	t("process-repartition", strToStr, func(b *stream.Builder) {
		h := strKeyValue("prev")
		str(b, "in").SelectKey(byFirst).Repartition(stream.KeySerde(S), stream.ValueSerde(S), stream.Named("by-letter")).
			Process(procOn(h, func(c *processing[*string], s strStore, r strRecord) error {
				prev, _, err := s.Get(r.Key)
				if err != nil {
					return err
				}
				if r.Value == nil {
					_, _, err = s.Delete(r.Key)
				} else {
					err = s.Put(r.Key, r.Value)
				}
				if err != nil {
					return err
				}
				return c.Forward(r.WithValue(pair(prev, r.Value)))
			}), stream.Uses(h)).To("out", SS...)
	}),
	bare("bare-topology", io(in("in1", STR), in("in2", STR), out("left", STR), out("right", STR)), func(t *stream.Topology) {
		route := t.AddProcessor("route", proc(nil, func(c *processing[*string], r strRecord) error {
			switch {
			case r.Key == nil:
				return c.Forward(r)
			case *r.Key < "c":
				return c.ForwardTo("to-left", r.WithValue(upper(r.Value)))
			default:
				return c.ForwardTo("to-right", r.WithValue(upper(r.Value)))
			}
		}), []strNode{strSource(t, "src1", "in1"), strSource(t, "src2", "in2")})
		t.AddSink("to-left", "left", []strNode{route}, SS...)
		t.AddSink("to-right", "right", []strNode{route}, SS...)
	}),
	bare("bare-topology-store", io(in("in1", STR), in("in2", STR), out("out", STR)), func(t *stream.Topology) {
		h := strKeyValue("shared")
		src1, src2 := strSource(t, "src1", "in1"), strSource(t, "src2", "in2")
		t.AddProcessor("write", procOn(h, func(_ *processing[*string], s strStore, r strRecord) error {
			switch {
			case r.Key == nil:
				return nil
			case r.Value == nil:
				_, _, err := s.Delete(r.Key)
				return err
			default:
				return s.Put(r.Key, r.Value)
			}
		}), []strNode{src1}, stream.Uses(h))
		read := t.AddProcessor("read", procOn(h, func(c *processing[*string], s strStore, r strRecord) error {
			var was *string
			if r.Key != nil {
				var err error
				if was, _, err = s.Get(r.Key); err != nil {
					return err
				}
			}
			return c.Forward(r.WithValue(pair(was, r.Value)))
		}), []strNode{src2}, stream.Uses(h))
		t.AddSink("sink", "out", []strNode{read}, SS...)
	}),
)

type strNode = stream.Node[*string, *string]

func strSource(t *stream.Topology, name, topic string) strNode {
	return t.AddSource(name, []stream.Topic[*string, *string]{stream.Topic[*string, *string](topic)}, stream.KeySerde(S), stream.ValueSerde(S))
}

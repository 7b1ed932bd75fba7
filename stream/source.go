package stream

import (
	"regexp"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Stream reads a topic as a stream.
func (b *Builder) Stream[K, V any](topic Topic[K, V], opts ...Consumed) KStream[K, V] {
	return streamOf[K, V](b.b.at("Stream"), []string{string(topic)}, nil, opts)
}

// Streams reads several topics as one source.
func (b *Builder) Streams[K, V any](topics []Topic[K, V], opts ...Consumed) KStream[K, V] {
	return streamOf[K, V](b.b.at("Streams"), plain(topics), nil, opts)
}

// StreamPattern reads every topic whose whole name matches. Topics that are made later are found when the client looks at
// the brokers' metadata again, within a minute. Internal topics are left out.
func (b *Builder) StreamPattern[K, V any](p *regexp.Regexp, opts ...Consumed) KStream[K, V] {
	return streamOf[K, V](b.b.at("StreamPattern"), nil, p, opts)
}

func plain[K, V any](topics []Topic[K, V]) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = string(t)
	}
	return out
}

func streamOf[K, V any](m maker, topics []string, p *regexp.Regexp, opts []Consumed) KStream[K, V] {
	var s opt.Settings
	for _, o := range opts {
		o.ConsumedOption(opt.Seal{}, &s)
	}
	n := m.source(m.b.graph.Named(s.Name, "KSTREAM-SOURCE-"), topics, types[K, V](), s.Reset)
	switch {
	case p != nil:
		n.ReadPattern(p)
	case len(topics) == 0:
		m.faultf(n.Name, "there is no topic to read")
	}
	n.Body = sourceBody(s.KeySerde, s.ValueSerde, timesOf[K, V](m, n.Name, &s))
	return KStream[K, V]{s: &flow{b: m.b, n: n, ks: s.KeySerde, vs: s.ValueSerde}}
}

// extractor finds the time of a record in its content.
type extractor[K, V any] func(r Record[K, V], prev time.Time) time.Time

// timesOf reads the option Timestamps.
func timesOf[K, V any](m maker, node string, set *opt.Settings) extractor[K, V] {
	if set.Timestamps == nil {
		return nil
	}
	f, ok := set.Timestamps.(func(Record[K, V], time.Time) time.Time)
	if !ok {
		m.faultf(node, "Timestamps is %T, which does not take %s", set.Timestamps, types[K, V]())
	}
	return f
}

// timeBy makes an extractor one of bytes. What cannot be read keeps its own time: the source will find the same fault when
// the record's turn comes, and settle it.
func timeBy[K, V any](f extractor[K, V], ks serde.Serde[K], vs serde.Serde[V]) task.Extractor {
	nils := hasNil[V]()
	return func(in *task.Input, prev int64) int64 {
		h := in.Headers
		r := Record[K, V]{Timestamp: instant(in.Time), Headers: in.Headers, Keyless: in.Key == nil, Tombstone: in.Value == nil}
		var err error
		if in.Key != nil {
			if r.Key, err = ks.Decode(in.Key, serde.Meta{Topic: in.Topic, IsKey: true, Headers: &h}); err != nil {
				return in.Time
			}
		}
		if in.Value != nil {
			if r.Value, err = vs.Decode(in.Value, serde.Meta{Topic: in.Topic, Headers: &h}); err != nil {
				return in.Time
			}
			r.Tombstone = nils && isNil(r.Value)
		}
		return f(r, before(prev)).UnixMilli()
	}
}

// rawTimes is Config.Timestamps for the engine.
func rawTimes(f func(Record[[]byte, []byte], time.Time) time.Time) task.Extractor {
	if f == nil {
		return nil
	}
	return func(in *task.Input, prev int64) int64 {
		r := Record[[]byte, []byte]{
			Key: in.Key, Value: in.Value, Timestamp: instant(in.Time), Headers: in.Headers, Keyless: in.Key == nil, Tombstone: in.Value == nil,
		}
		return f(r, before(prev)).UnixMilli()
	}
}

// before is the time so far, zero if there is none.
func before(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return instant(ms)
}

func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// source appends a source.
func (m maker) source(name string, topics []string, types string, reset *opt.Reset) *plan.Node {
	for _, t := range topics {
		m.topic(t, types)
	}
	n := m.node(plan.Source, name)
	n.Topics, n.Types, n.Reset = topics, types, reset
	return n
}

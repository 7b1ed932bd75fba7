package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

type (
	strTimed       = state.TimestampedKeyValueStore[*string, *string]
	strTimedHandle = state.Handle[strTimed, state.ReadOnlyTimestampedKeyValueStore[*string, *string]]
	keeping        = stream.ProcessorContext[struct{}, struct{}]
)

// upperKeeper keeps a global store of upper-case values.
type upperKeeper struct {
	h     strTimedHandle
	store strTimed
}

func (k *upperKeeper) Init(c *keeping) error {
	k.store = c.Store(k.h)
	return nil
}

func (k *upperKeeper) Process(_ *keeping, r strRecord) error {
	switch {
	case r.Key == nil:
		return nil
	case r.Value == nil:
		return k.store.Delete(r.Key, r.Timestamp)
	default:
		return k.store.Put(r.Key, upper(r.Value), r.Timestamp)
	}
}

var _ = family("table",
	t("global-table", io(in("global", STR), in("in", STR), out("out", STR)), func(b *stream.Builder) {
		strGlobal(b, "global", stream.As("g"))
		str(b, "in").To("out", SS...)
	}),
)

var _ = family("processor",
	t("global-store", io(in("global", STR), in("in", STR), out("out", STR)), func(b *stream.Builder) {
		h := state.TimestampedKeyValue[*string, *string]("g", state.KeySerde(S), state.ValueSerde(S), state.NoLogging())
		b.AddGlobalStore(h, stream.Topic[*string, *string]("global"), func() *upperKeeper { return &upperKeeper{h: h} }, stream.KeySerde(S), stream.ValueSerde(S))
		str(b, "in").Process(procWith(h, func(c *processing[*string], s strTimed, r strRecord) error {
			var found *string
			if r.Key != nil {
				v, ok, err := s.GetTimestamped(r.Key)
				if err != nil {
					return err
				}
				if ok {
					found = new(written(v.Value) + "@" + written(v.Time.UnixMilli()))
				}
			}
			return c.Forward(r.WithValue(pair(found, r.Value)))
		})).To("out", SS...)
	}),
)

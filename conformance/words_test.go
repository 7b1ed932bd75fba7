package conformance_test

import (
	"strconv"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
)

// The words of TOPOLOGIES.md. Where Java's null matters types are pointers.

// Streams and tables as the topologies know them.
type (
	strStream  = stream.KStream[*string, *string]
	numStream  = stream.KStream[*string, *int64]
	jsonStream = stream.KStream[*string, *object]
	strTable   = stream.KTable[*string, *string]
	numTable   = stream.KTable[*string, *int64]
	jsonTable  = stream.KTable[*string, *object]
)

// The serdes. N is that of a count, which is an int64 and never null; L is that of other whole numbers.
var (
	S = serde.Pointer(serde.String())
	L = serde.Pointer(serde.Int64())
	N = serde.Int64()
	J = serde.Serde[*object](objects{})
)

// ms is a duration.
func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// Sources.

func str(b *stream.Builder, topic string) strStream {
	return b.Stream(stream.Topic[*string, *string](topic), stream.KeySerde(S), stream.ValueSerde(S))
}

func num(b *stream.Builder, topic string) numStream {
	return b.Stream(stream.Topic[*string, *int64](topic), stream.KeySerde(S), stream.ValueSerde(L))
}

func jsons(b *stream.Builder, topic string) jsonStream {
	return b.Stream(stream.Topic[*string, *object](topic), stream.KeySerde(S), stream.ValueSerde(J))
}

func strTableOf(b *stream.Builder, topic string, opts ...stream.TableSource) strTable {
	return b.Table(stream.Topic[*string, *string](topic), append([]stream.TableSource{stream.KeySerde(S), stream.ValueSerde(S)}, opts...)...)
}

func numTableOf(b *stream.Builder, topic string, opts ...stream.TableSource) numTable {
	return b.Table(stream.Topic[*string, *int64](topic), append([]stream.TableSource{stream.KeySerde(S), stream.ValueSerde(L)}, opts...)...)
}

func jsonTableOf(b *stream.Builder, topic string, opts ...stream.TableSource) jsonTable {
	return b.Table(stream.Topic[*string, *object](topic), append([]stream.TableSource{stream.KeySerde(S), stream.ValueSerde(J)}, opts...)...)
}

// Sinks and groupings.
var (
	SS = []stream.Produced{stream.KeySerde(S), stream.ValueSerde(S)}
	SL = []stream.Produced{stream.KeySerde(S), stream.ValueSerde(L)}
	SN = []stream.Produced{stream.KeySerde(S), stream.ValueSerde(N)}
	SJ = []stream.Produced{stream.KeySerde(S), stream.ValueSerde(J)}

	GS = []stream.Grouped{stream.KeySerde(S), stream.ValueSerde(S)}
	GL = []stream.Grouped{stream.KeySerde(S), stream.ValueSerde(L)}
	GN = []stream.Grouped{stream.KeySerde(S), stream.ValueSerde(N)}
	GJ = []stream.Grouped{stream.KeySerde(S), stream.ValueSerde(J)}
)

// kv are the options of a store with this name and value serde, of whatever kind (Java's kv, win and ses); without a name,
// serdes only.
func kv[V any](name string, v serde.Serde[V], more ...stream.Materialized) []stream.Materialized {
	out := []stream.Materialized{stream.KeySerde(S), stream.ValueSerde(v)}
	if name != "" {
		out = append(out, stream.As(name))
	}
	return append(out, more...)
}

// Functions, as operators take them: the key comes first.

func shout(_, v *string) *string { return upper(v) }

func pairOf(k, v *string) *string { return pair(k, v) }

func byFirst(_, v *string) *string { return first(v) }

func lists(agg, v *string) *string { return cat(agg, v) }

func sum(a, b *int64) *int64 { return new(nz(a) + nz(b)) }

func minus(a, b *int64) *int64 { return new(nz(a) - nz(b)) }

func empty() *string { return new("") }

func append1(_, v, agg *string) *string { return cat(agg, v) }

func remove1(_, v, agg *string) *string { return drop(agg, v) }

// upper is ASCII upper case; null stays null.
func upper(s *string) *string {
	if s == nil {
		return nil
	}
	return new(strings.ToUpper(*s))
}

// length is the number of characters (all inputs are ASCII); -1 for null. Java's len.
func length(s *string) int64 {
	if s == nil {
		return -1
	}
	return int64(len(*s))
}

// first is the first character as a string; "_" for null or the empty string.
func first(s *string) *string {
	if s == nil || *s == "" {
		return new("_")
	}
	return new((*s)[:1])
}

// nz is 0 for null.
func nz(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// cat is a + "," + b; a null operand is written null.
func cat(a, b any) *string { return new(written(a) + "," + written(b)) }

// pair is "(" + a + "|" + b + ")"; a null operand is written null.
func pair(a, b any) *string { return new("(" + written(a) + "|" + written(b) + ")") }

// written is what Java's string concatenation makes of a value.
func written(v any) string {
	switch v := plain(v).(type) {
	case nil:
		return "null"
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case *object:
		return v.String()
	default:
		panic("written: no such value in any topology")
	}
}

// drop removes the first element equal to v of a comma separated list with a leading comma for each element (",a,b"); it is
// the list when there is none.
func drop(list, v *string) *string {
	l, e := written(list), ","+written(v)
	i := strings.Index(l+",", e+",")
	if i < 0 {
		return list
	}
	return new(l[:i] + l[i+len(e):])
}

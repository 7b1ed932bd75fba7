package conformance_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/serde"
)

// checkFormat compares the bytes of a file of formats: what the library writes, and what it reads back.
func checkFormat(file string, content []byte) string {
	check, ok := formats[strings.TrimSuffix(path.Base(file), ".json")]
	if !ok {
		return "nobody checks " + file
	}
	return check(content)
}

var formats = map[string]func([]byte) string{
	"change":                   facts(changeFact.check),
	"commit-metadata":          facts(metadataFact.check),
	"foreign-key-combined":     facts(combinedFact.check),
	"foreign-key-response":     facts(responseFact.check),
	"foreign-key-subscription": facts(subscriptionFact.check),
	"murmur3-hash128":          facts(hashFact.check),
	"outer-join-key":           facts(outerKeyFact.check),
	"outer-join-list":          facts(outerListFact.check),
	"outer-join-value":         facts(outerValueFact.check),
	"partition-default":        facts(partitionFact.check),
	"partition-windowed":       facts(windowedPartitionFact.check),
	"serde":                    facts(serdeFact.check),
	"session-key":              facts(sessionKeyFact.check),
	"store-format-headers":     facts(headersFact.check),
	"suppress-buffer-v3":       facts(bufferFact.check),
	"value-and-timestamp":      facts(timestampedFact.check),
	"windowed-key":             facts(windowKeyFact.check),
}

// facts checks each fact of a file that holds a list of them.
func facts[F any](check func(F) string) func([]byte) string {
	return func(content []byte) string {
		var all []F
		if err := json.Unmarshal(content, &all); err != nil {
			return err.Error()
		}
		if len(all) == 0 {
			return "it holds no fact"
		}
		for i, f := range all {
			if diff := check(f); diff != "" {
				return fmt.Sprintf("fact %d: %s", i+1, diff)
			}
		}
		return ""
	}
}

// octets are bytes written in hex; null is nil.
type octets []byte

// UnmarshalJSON reads hex.
func (o *octets) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		*o = nil
		return err
	}
	raw, err := hex.DecodeString(*text)
	*o = append(octets{}, raw...)
	return err
}

// octetHeaders are pairs of a name and hex.
type octetHeaders []serde.Header

// UnmarshalJSON reads [[name, hex], ...].
func (h *octetHeaders) UnmarshalJSON(b []byte) error {
	var pairs [][2]json.RawMessage
	if err := json.Unmarshal(b, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		var x serde.Header
		var v octets
		if err := json.Unmarshal(p[0], &x.Key); err != nil {
			return err
		}
		if err := json.Unmarshal(p[1], &v); err != nil {
			return err
		}
		x.Value = v
		*h = append(*h, x)
	}
	return nil
}

// wrote says what is wrong with bytes that were written.
func wrote(what string, got []byte, want octets) string {
	if bytes.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("%s: wrote %x, want %x", what, got, []byte(want))
}

// readBack says that bytes were not read as what they hold.
func readBack(what string, err error, same bool) string {
	if err == nil && same {
		return ""
	}
	return fmt.Sprintf("%s: was not read back (%v)", what, err)
}

// firstOf is the first difference there is.
func firstOf(diffs ...string) string {
	for _, d := range diffs {
		if d != "" {
			return d
		}
	}
	return ""
}

// equal tells null from empty.
func equal(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

type changeFact struct {
	New, Old             octets
	NewLength, OldLength int
	Bytes                octets
	Length               int // of bytes too long to be written out; Head and Tail are their ends
	Head, Tail           octets
}

func (f changeFact) check() string {
	letters := func(o octets, n int) []byte {
		if n > 0 {
			return bytes.Repeat([]byte("v"), n)
		}
		return o
	}
	now, old := letters(f.New, f.NewLength), letters(f.Old, f.OldLength)
	b, err := layout.AppendChange(nil, now, old)
	if err != nil {
		return err.Error()
	}
	if f.Bytes != nil {
		if diff := wrote("change", b, f.Bytes); diff != "" {
			return diff
		}
	} else if len(b) != f.Length || !bytes.HasPrefix(b, f.Head) || !bytes.HasSuffix(b, f.Tail) {
		return fmt.Sprintf("change: wrote %d bytes, want %d from %x to %x", len(b), f.Length, []byte(f.Head), []byte(f.Tail))
	}
	gotNew, gotOld, _, err := layout.ReadChange(b)
	return readBack("change", err, equal(gotNew, now) && equal(gotOld, old))
}

type metadataFact struct {
	PartitionTime int64
	Processors    map[string]int64
	Metadata      string
}

func (f metadataFact) check() string {
	at, markers := layout.ReadMetadata(f.Metadata)
	return firstOf(
		wrote("metadata", []byte(layout.Metadata(f.PartitionTime, f.Processors)), octets(f.Metadata)),
		readBack("metadata", nil, at == f.PartitionTime && maps.Equal(markers, f.Processors)),
	)
}

type combinedFact struct{ Foreign, Primary, Combined, Prefix octets }

func (f combinedFact) check() string {
	foreign, primary, err := layout.ReadForeignKey(f.Combined)
	return firstOf(
		wrote("combined", layout.AppendForeignKey(nil, f.Foreign, f.Primary), f.Combined),
		wrote("prefix", layout.AppendForeignPrefix(nil, f.Foreign), f.Prefix),
		readBack("combined", err, equal(foreign, f.Foreign) && equal(primary, f.Primary)),
	)
}

// hashed is the hash of a value, nil for none.
func hashed(of octets) []byte {
	if of == nil {
		return nil
	}
	h := layout.Hash128(of)
	return h[:]
}

type responseFact struct{ HashOf, ForeignValue, Bytes octets }

func (f responseFact) check() string {
	hash, value, err := layout.ReadResponse(f.Bytes)
	return firstOf(
		wrote("response", layout.AppendResponse(nil, hashed(f.HashOf), f.ForeignValue), f.Bytes),
		readBack("response", err, equal(hash, hashed(f.HashOf)) && bytes.Equal(value, f.ForeignValue)), // empty and null are the same bytes
	)
}

type subscriptionFact struct {
	HashOf           octets
	Instruction      string
	Primary          octets
	Version          byte
	PrimaryPartition int32
	Bytes            octets
}

func (f subscriptionFact) check() string {
	s := layout.Subscription{
		Version: f.Version, Hash: hashed(f.HashOf), Primary: f.Primary, Partition: f.PrimaryPartition,
		Instruction: map[string]layout.Instruction{
			"DELETE_KEY_NO_PROPAGATE":               layout.DeleteKeyNoPropagate,
			"DELETE_KEY_AND_PROPAGATE":              layout.DeleteKeyAndPropagate,
			"PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE": layout.PropagateNullIfNoForeign,
			"PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE":    layout.PropagateOnlyIfForeign,
		}[f.Instruction],
	}
	got, err := layout.ReadSubscription(f.Bytes)
	return firstOf(
		wrote(f.Instruction, layout.AppendSubscription(nil, s), f.Bytes),
		readBack(f.Instruction, err, got.Version == s.Version && got.Instruction == s.Instruction && equal(got.Hash, s.Hash) && equal(got.Primary, s.Primary) &&
			(f.Version == 0 || got.Partition == s.Partition)),
	)
}

type hashFact struct{ Data, Hash128 octets }

func (f hashFact) check() string {
	h := layout.Hash128(f.Data)
	return wrote("hash", h[:], f.Hash128)
}

type outerKeyFact struct {
	Key   octets
	TS    int64
	Left  bool
	Bytes octets
}

func (f outerKeyFact) check() string {
	key, at, left, err := layout.ReadOuterKey(f.Bytes)
	return firstOf(
		wrote("key", layout.AppendOuterKey(nil, f.Key, f.TS, f.Left), f.Bytes),
		readBack("key", err, equal(key, f.Key) && at == f.TS && left == f.Left),
	)
}

type outerValueFact struct {
	Value octets
	Left  bool
	Bytes octets
}

func (f outerValueFact) check() string {
	value, left, err := layout.ReadOuterValue(f.Bytes)
	return firstOf(
		wrote("value", layout.AppendOuterValue(nil, f.Value, f.Left), f.Bytes),
		readBack("value", err, equal(value, f.Value) && left == f.Left),
	)
}

type outerListFact struct {
	Values []octets
	Bytes  octets
}

func (f outerListFact) check() string {
	values := make([][]byte, len(f.Values))
	for i, v := range f.Values {
		values[i] = v
	}
	got, err := layout.ReadList(nil, f.Bytes)
	return firstOf(
		wrote("list", layout.AppendList(nil, values...), f.Bytes),
		readBack("list", err, slices.EqualFunc(got, values, equal)),
	)
}

type partitionFact struct {
	Key        octets
	Murmur2    int32
	Partitions map[int32]int32
}

func (f partitionFact) check() string {
	if got := layout.Murmur2(f.Key); got != f.Murmur2 {
		return fmt.Sprintf("%x: hash %d, want %d", []byte(f.Key), got, f.Murmur2)
	}
	for n, want := range f.Partitions {
		if got := layout.Partition(f.Key, n); got != want {
			return fmt.Sprintf("%x of %d: partition %d, want %d", []byte(f.Key), n, got, want)
		}
	}
	return ""
}

type windowedPartitionFact struct {
	Key        string
	Start      int64
	Serialized octets
	Partitions map[int32]int32
}

func (f windowedPartitionFact) check() string {
	for n, want := range f.Partitions {
		if got, err := layout.PartitionTimeWindow(f.Serialized, n); got != want || err != nil {
			return fmt.Sprintf("%s@%d of %d: partition %d (%v), want %d", f.Key, f.Start, n, got, err, want)
		}
	}
	return wrote("key", layout.AppendTimeWindow(nil, []byte(f.Key), f.Start), f.Serialized)
}

type serdeFact struct {
	Serde, Value string
	Bytes        octets
}

func (f serdeFact) check() string {
	check, ok := serdes[f.Serde]
	if !ok {
		return "no serde " + f.Serde
	}
	return check(f)
}

var serdes = map[string]func(serdeFact) string{
	"short":        serdeOf(serde.Int16(), func(s string) (int16, error) { n, err := strconv.ParseInt(s, 10, 16); return int16(n), err }),
	"integer":      serdeOf(serde.Int32(), func(s string) (int32, error) { n, err := strconv.ParseInt(s, 10, 32); return int32(n), err }),
	"long":         serdeOf(serde.Int64(), func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }),
	"float":        serdeOf(serde.Float32(), func(s string) (float32, error) { x, err := strconv.ParseFloat(s, 32); return float32(x), err }),
	"double":       serdeOf(serde.Float64(), func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }),
	"boolean":      serdeOf(serde.Bool(), strconv.ParseBool),
	"string":       serdeOf(serde.String(), func(s string) (string, error) { return s, nil }),
	"uuid":         serdeOf(serde.UUID(), parseUUID),
	"list(string)": listOfTexts,
	"list(long)":   listOfNumbers,
}

// serdeOf checks a serde: bytes written, and bytes read and written again.
func serdeOf[T any](s serde.Serde[T], parse func(string) (T, error)) func(serdeFact) string {
	return func(f serdeFact) string {
		v, err := parse(f.Value)
		if err != nil {
			return err.Error()
		}
		m := serde.Meta{Topic: "t", Headers: new(serde.Headers)}
		b, err := s.Append(nil, v, m)
		if err != nil {
			return err.Error()
		}
		if diff := wrote(f.Serde, b, f.Bytes); diff != "" {
			return diff
		}
		if v, err = s.Decode(f.Bytes, m); err != nil {
			return err.Error()
		}
		b, err = s.Append(nil, v, m)
		return readBack(f.Serde, err, bytes.Equal(b, f.Bytes))
	}
}

func parseUUID(s string) (u [16]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	copy(u[:], b)
	return u, err
}

func listOfTexts(f serdeFact) string {
	var values [][]byte
	for v := range strings.SplitSeq(f.Value, ",") {
		values = append(values, []byte(v))
	}
	got, err := layout.ReadList(nil, f.Bytes)
	return firstOf(wrote(f.Serde, layout.AppendList(nil, values...), f.Bytes), readBack(f.Serde, err, slices.EqualFunc(got, values, bytes.Equal)))
}

func listOfNumbers(f serdeFact) string {
	var values [][]byte
	for v := range strings.SplitSeq(f.Value, ",") {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return err.Error()
		}
		values = append(values, binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	b, err := layout.AppendFixedList(nil, 8, values...)
	if err != nil {
		return err.Error()
	}
	got, err := layout.ReadFixedList(nil, f.Bytes, 8)
	return firstOf(wrote(f.Serde, b, f.Bytes), readBack(f.Serde, err, slices.EqualFunc(got, values, bytes.Equal)))
}

type sessionKeyFact struct {
	Key                               octets
	Start, End                        int64
	Store, Serde, TimeFirst, KeyFirst octets
}

func (f sessionKeyFact) check() string {
	read := func(what string, b []byte, read func([]byte) ([]byte, int64, int64, error)) string {
		key, start, end, err := read(b)
		return readBack(what, err, equal(key, f.Key) && start == f.Start && end == f.End)
	}
	return firstOf(
		wrote("store", layout.AppendSessionKey(nil, f.Key, f.Start, f.End), f.Store),
		wrote("serde", layout.AppendSessionKey(nil, f.Key, f.Start, f.End), f.Serde),
		wrote("time first", layout.AppendTimeFirstSessionKey(nil, f.Key, f.Start, f.End), f.TimeFirst),
		wrote("key first", layout.AppendKeyFirstSessionKey(nil, f.Key, f.Start, f.End), f.KeyFirst),
		read("store", f.Store, layout.ReadSessionKey),
		read("time first", f.TimeFirst, layout.ReadTimeFirstSessionKey),
		read("key first", f.KeyFirst, layout.ReadKeyFirstSessionKey),
	)
}

type windowKeyFact struct {
	Key                               octets
	Start                             int64
	Seqnum                            int32
	Store, Serde, TimeFirst, KeyFirst octets
}

func (f windowKeyFact) check() string {
	read := func(what string, b []byte, read func([]byte) ([]byte, int64, int32, error)) string {
		key, start, seq, err := read(b)
		return readBack(what, err, equal(key, f.Key) && start == f.Start && seq == f.Seqnum)
	}
	key, start, err := layout.ReadTimeWindow(f.Serde)
	return firstOf(
		wrote("store", layout.AppendWindowKey(nil, f.Key, f.Start, f.Seqnum), f.Store),
		wrote("serde", layout.AppendTimeWindow(nil, f.Key, f.Start), f.Serde),
		wrote("time first", layout.AppendTimeFirstWindowKey(nil, f.Key, f.Start, f.Seqnum), f.TimeFirst),
		wrote("key first", layout.AppendKeyFirstWindowKey(nil, f.Key, f.Start, f.Seqnum), f.KeyFirst),
		read("store", f.Store, layout.ReadWindowKey),
		read("time first", f.TimeFirst, layout.ReadTimeFirstWindowKey),
		read("key first", f.KeyFirst, layout.ReadKeyFirstWindowKey),
		readBack("serde", err, equal(key, f.Key) && start == f.Start),
	)
}

type headersFact struct {
	Headers                                                     octetHeaders
	Bytes, Value, ValueTimestampHeaders, AggregationWithHeaders octets
	TS                                                          int64
}

func (f headersFact) check() string {
	want := []serde.Header(f.Headers)
	all, err1 := layout.ReadHeaders[serde.Header](f.Bytes)
	value, at, hs, err2 := layout.ReadHeadersValue[serde.Header](f.ValueTimestampHeaders)
	agg, of, err3 := layout.ReadHeadersAggregation[serde.Header](f.AggregationWithHeaders)
	return firstOf(
		wrote("headers", layout.AppendHeaders(nil, want), f.Bytes),
		wrote("value", layout.AppendHeadersValue(nil, f.Value, f.TS, want), f.ValueTimestampHeaders),
		wrote("aggregation", layout.AppendHeadersAggregation(nil, f.Value, want), f.AggregationWithHeaders),
		readBack("headers", err1, reflect.DeepEqual(all, want)),
		readBack("value", err2, equal(value, f.Value) && at == f.TS && reflect.DeepEqual(hs, want)),
		readBack("aggregation", err3, equal(agg, f.Value) && reflect.DeepEqual(of, want)),
	)
}

type bufferFact struct {
	Prior, Old, New octets
	Context         struct {
		TS, Offset int64
		Partition  int32
		Topic      string
		Headers    octetHeaders
	}
	Time  int64
	Bytes octets
}

func (f bufferFact) check() string {
	want := layout.BufferValue[serde.Header]{Prior: f.Prior, Old: f.Old, New: f.New, Context: layout.Context[serde.Header]{
		Time: f.Context.TS, Offset: f.Context.Offset, Topic: f.Context.Topic, Partition: f.Context.Partition, Headers: f.Context.Headers,
	}}
	got, at, err := layout.ReadBufferValue(layout.BufferV3, f.Bytes, layout.Context[serde.Header]{}, nil)
	return firstOf(
		wrote("row", layout.AppendBufferValue(nil, &want, f.Time), f.Bytes),
		readBack("row", err, reflect.DeepEqual(got, want) && at == f.Time),
	)
}

type timestampedFact struct {
	Value              octets
	TS                 int64
	Store              octets
	ChangelogValue     octets
	ChangelogTimestamp int64
}

func (f timestampedFact) check() string {
	value, at, err := layout.ReadTimestamped(f.Store)
	return firstOf(
		wrote("store", layout.AppendTimestamped(nil, f.Value, f.TS), f.Store),
		readBack("changelog", err, equal(value, f.ChangelogValue) && at == f.ChangelogTimestamp),
	)
}

package store_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// held is a row as the model has it.
type held struct {
	key             string
	at              int64
	prior, old, now []byte
}

func (h held) String() string {
	return fmt.Sprintf("%q@%d %q %q %q", h.key, h.at, h.prior, h.old, h.now)
}

// size is what a row counts for, without headers, in a topic "t".
func (h held) size() int64 {
	n := 8 + len(h.key) + len(h.prior) + len(h.old) + len(h.now) + 8 + 8 + 4 + len("t")
	if h.prior != nil && h.old != nil && bytes.Equal(h.prior, h.old) {
		n -= len(h.old)
	}
	return int64(n)
}

func value(old, now []byte) store.BufferValue {
	return store.BufferValue{Old: old, New: now, Context: layout.Context[serde.Header]{Topic: "t"}}
}

// logged is the changelog of a buffer, compacted.
type logged map[string][]byte

func (l logged) take(b *store.Buffer) {
	b.Dirty(func(key []byte, h *store.Held) {
		if h == nil {
			delete(l, string(key))
			return
		}
		l[string(key)] = layout.AppendBufferValue(nil, &h.Value, h.At)
	})
}

func (l logged) restored() (*store.Buffer, error) {
	b := store.NewBuffer()
	for k, v := range l {
		if err := b.Restore(store.Logged{Key: []byte(k), Value: v, Headers: version(3)}); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func version(v byte) serde.Headers {
	return serde.Headers{{Key: layout.BufferHeader, Value: []byte{v}}}
}

// TestABufferIsAQueueWithOneRowForEachKey compares the buffer, and one restored from its changelog, with a sorted list.
func TestABufferIsAQueueWithOneRowForEachKey(t *testing.T) {
	t.Parallel()
	octets := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return rapid.SliceOfN(rapid.ByteRange(0, 2), 0, 3).Draw(t, "bytes")
	})
	rapid.Check(t, func(t *rapid.T) {
		b, log := store.NewBuffer(), logged{}
		var want []held
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				h := held{
					key: rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 2, -1).Draw(t, "key"), at: rapid.Int64Range(0, 300).Draw(t, "at"),
					old: octets.Draw(t, "old"), now: octets.Draw(t, "new"),
				}
				b.Put([]byte(h.key), h.at, value(h.old, h.now))
				h.prior = h.old
				if i := slices.IndexFunc(want, func(x held) bool { return x.key == h.key }); i >= 0 {
					h.at, h.prior = want[i].at, want[i].prior
					want = slices.Delete(want, i, i+1)
				}
				want = append(want, h)
				slices.SortFunc(want, func(a, b held) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.key, b.key)) })
			},
			"remove the first": func(t *rapid.T) {
				if h := b.First(); h != nil {
					b.Remove(h)
					want = want[1:]
				}
			},
			"lose and restore": func(t *rapid.T) {
				log.take(b)
				var err error
				if b, err = log.restored(); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) { sameBuffer(t, b, want) },
		})
	})
}

func sameBuffer(t *rapid.T, b *store.Buffer, want []held) {
	var size int64
	for _, w := range want {
		size += w.size()
		h := b.Get([]byte(w.key))
		if h == nil {
			t.Fatalf("%s is not there", w)
		}
		if got := (held{string(h.Key), h.At, h.Value.Prior, h.Value.Old, h.Value.New}); got.String() != w.String() || (got.now == nil) != (w.now == nil) {
			t.Fatalf("got %s, want %s", got, w)
		}
	}
	if b.Len() != int64(len(want)) || b.Size() != size {
		t.Fatalf("%d rows of %d bytes, want %d of %d", b.Len(), b.Size(), len(want), size)
	}
	if h := b.First(); (h == nil) != (len(want) == 0) || h != nil && string(h.Key) != want[0].key {
		t.Fatalf("first %v, want %v", h, want)
	}
}

func TestABufferCountsHeaders(t *testing.T) {
	t.Parallel()
	b := store.NewBuffer()
	v := value(nil, []byte("v"))
	b.Put([]byte("k"), 1, v)
	plain := b.Size()
	v.Context.Headers = serde.Headers{{Key: "h𝄞", Value: []byte("12")}, {Key: "n"}}
	b.Put([]byte("k"), 1, v)
	if got := b.Size() - plain; got != 3+2+1 {
		t.Errorf("the headers count for %d", got)
	}
}

// TestChangedKeysComeInTheOrderOfAHashSet fixes the order of a few keys; the recorded vectors have more.
func TestChangedKeysComeInTheOrderOfAHashSet(t *testing.T) {
	t.Parallel()
	b := store.NewBuffer()
	for i := range 30 {
		b.Put([]byte{byte(i * 37)}, int64(i), value(nil, nil))
	}
	var got []byte
	visit := func(key []byte, _ *store.Held) { got = append(got, key[0]) }
	b.Dirty(visit)
	if !slices.IsSortedFunc(got, func(x, y byte) int { return bucketOf(x, 64) - bucketOf(y, 64) }) || len(got) != 30 {
		t.Errorf("64 buckets: %v", got)
	}
	got = nil
	b.Dirty(visit)
	if got != nil {
		t.Errorf("twice: %v", got)
	}
	for _, k := range []byte{200, 1, 33, 65} { // the set stays as wide as it was
		b.Put([]byte{k}, 1, value(nil, nil))
	}
	b.Dirty(visit)
	if want := []byte{33, 200, 1, 65}; !slices.Equal(got, want) { // in 16 buckets 200 were the last
		t.Errorf("got %v, want %v", got, want)
	}
}

// bucketOf is where Java puts a key of one byte.
func bucketOf(k byte, buckets int32) int {
	h := 31 + int32(int8(k))
	return int((h ^ int32(uint32(h)>>16)) & (buckets - 1))
}

// TestChangelogsOfOlderReleasesAreRead restores a row as each release of Kafka Streams wrote it.
func TestChangelogsOfOlderReleasesAreRead(t *testing.T) {
	t.Parallel()
	sized := func(b []byte, v string) []byte {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	context := layout.Context[serde.Header]{Time: 7, Offset: 8, Topic: "in", Partition: 9}
	change := sized(sized(nil, "old"), "new")
	at := binary.BigEndian.AppendUint64(nil, 5)
	inContext := layout.AppendContext(nil, &context)
	newest := store.BufferValue{Prior: []byte("old"), Old: []byte("old"), New: []byte("new"), Context: context}
	for name, c := range map[string]struct {
		headers serde.Headers
		value   []byte
		own     bool // the context is the changelog record's
	}{
		"0": {nil, slices.Concat(at, change), true},
		"1": {version(1), slices.Concat(at, sized(nil, string(slices.Concat(inContext, nil)))[4:], sized(nil, string(change))), false},
		"2": {version(2), slices.Concat(inContext, sized(nil, string(change)), sized(nil, "old"), at), false},
		"3": {version(3), layout.AppendBufferValue(nil, &newest, 5), false},
	} {
		b := store.NewBuffer()
		r := store.Logged{Topic: "changelog", Partition: 1, Offset: 2, Time: 3, Key: []byte("k"), Value: c.value, Headers: c.headers}
		if err := b.Restore(r); err != nil {
			t.Errorf("version %s: %v", name, err)
			continue
		}
		h := b.Get([]byte("k"))
		if h == nil || h.At != 5 || string(h.Value.Old) != "old" || string(h.Value.New) != "new" || string(h.Value.Prior) != "old" {
			t.Errorf("version %s: %+v", name, h)
			continue
		}
		if want := map[bool]int64{true: 3, false: 7}[c.own]; h.Value.Context.Time != want {
			t.Errorf("version %s: of %d", name, h.Value.Context.Time)
		}
		if err := b.Restore(store.Logged{Key: []byte("k")}); err != nil || b.Len() != 0 {
			t.Errorf("version %s: %d rows after the tombstone, %v", name, b.Len(), err)
		}
	}
}

func TestAForeignChangelogIsAnError(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]serde.Headers{
		"too short": version(3), "no such version": version(4), "a version of two bytes": {{Key: "v", Value: []byte{3, 3}}}, "no version": nil,
	} {
		b := store.NewBuffer()
		if err := b.Restore(store.Logged{Key: []byte("k"), Value: []byte("junk"), Headers: h}); !errors.Is(err, layout.ErrLayout) || b.Len() != 0 {
			t.Errorf("%s: %v, %d rows", name, err, b.Len())
		}
	}
}

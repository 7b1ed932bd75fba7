package stream_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// cacheSizes are caches that hold nothing, a few changes, or all of them.
var cacheSizes = []int64{-1, 400, 1 << 20}

// quietly is a driver that commits when it is told to.
func quietly(t testing.TB, rt *rapid.T, b *stream.Builder, cache int64) *streamtest.Driver {
	return streamtest.New(t, b, streamtest.WithPartitions(rapid.IntRange(1, 3).Draw(rt, "partitions")),
		streamtest.WithConfig(stream.Config{CommitInterval: time.Hour, CacheBytes: cache}))
}

// settle commits until the caches of all levels are empty and all that they sent on has been processed: what a crash after
// that repeats is nothing. In between, a cache that was flushed in part makes stores disagree when the rest is repeated at
// least once, as in Kafka Streams.
func settle(d *streamtest.Driver) {
	for range 4 {
		d.Commit()
	}
}

// content is what a table's store holds.
func content[V any](rt *rapid.T, s state.TimestampedKeyValueStore[string, V]) map[string]V {
	out := map[string]V{}
	all := s.All()
	maps.Insert(out, all.All())
	if err := all.Err(); err != nil {
		rt.Fatal(err)
	}
	return out
}

// asTable is what a topic holds as a table.
func asTable[V any](out *streamtest.TestOutput[string, V]) map[string]V {
	now := map[string]V{}
	for _, r := range out.ReadAll() {
		if r.Tombstone {
			delete(now, r.Key)
		} else {
			now[r.Key] = r.Value
		}
	}
	return now
}

// draw changes a row of a table in the driver and in the model; the empty value deletes.
func draw(rt *rapid.T, in *streamtest.TestInput[string, string], table map[string]string, values ...string) {
	k := rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(rt, "key")
	v := rapid.SampledFrom(append(values, "x", "y", "xx")).Draw(rt, "value")
	now := at(rapid.Int64Range(0, 100).Draw(rt, "time"))
	if v == "" {
		in.PipeRecord(stream.Record[string, string]{Key: k, Tombstone: true, Timestamp: now})
		delete(table, k)
		return
	}
	in.PipeAt(now, k, v)
	table[k] = v
}

// joins are the joins of two tables, each with what a database would say of one key.
var joins = map[string]struct {
	build func(l, r stream.KTable[string, string], opts ...stream.Materialized) stream.KTable[string, string]
	row   func(l string, lok bool, r string, rok bool) (string, bool)
}{
	"inner": {
		func(l, r stream.KTable[string, string], opts ...stream.Materialized) stream.KTable[string, string] {
			return l.Join(r, func(_, v, o string) string { return v + "+" + o }, opts...)
		},
		func(l string, lok bool, r string, rok bool) (string, bool) { return l + "+" + r, lok && rok },
	},
	"left": {
		func(l, r stream.KTable[string, string], opts ...stream.Materialized) stream.KTable[string, string] {
			return l.LeftJoin(r, func(_, v, o string, ok bool) string { return fmt.Sprint(v, "+", o, ok) }, opts...)
		},
		func(l string, lok bool, r string, rok bool) (string, bool) { return fmt.Sprint(l, "+", r, rok), lok },
	},
	"outer": {
		func(l, r stream.KTable[string, string], opts ...stream.Materialized) stream.KTable[string, string] {
			return l.OuterJoin(r, func(_, v string, vok bool, o string, ook bool) string { return fmt.Sprint(v, vok, "+", o, ook) }, opts...)
		},
		func(l string, lok bool, r string, rok bool) (string, bool) {
			return fmt.Sprint(l, lok, "+", r, rok), lok || rok
		},
	},
}

// TestTableJoinsAreRelationalJoins changes two tables at random, with commits and crashes between, with caches of any size,
// and compares the joined table with what a database would say. With caches nothing is deleted: a row that comes and goes
// within a cache is never told of, though the other table's side has read it there, as in Kafka Streams.
func TestTableJoinsAreRelationalJoins(t *testing.T) {
	t.Parallel()
	for name, join := range joins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := state.TimestampedKeyValue[string, string]("joined")
			rapid.Check(t, func(rt *rapid.T) {
				t := each{t, rt}
				b := stream.NewBuilder()
				l, r := b.Table[string, string]("left"), b.Table[string, string]("right")
				join.build(l, r, stream.Into(kept))
				join.build(l, r).ToStream().To("out") // the same without a store
				size := rapid.SampledFrom(cacheSizes).Draw(rt, "cache")
				d := quietly(t, rt, b, size)
				defer d.Close()
				var more []string
				if size < 0 {
					more = []string{""}
				}
				left, right := map[string]string{}, map[string]string{}
				inLeft, inRight := d.Input(stream.Topic[string, string]("left")), d.Input(stream.Topic[string, string]("right"))
				for range rapid.IntRange(1, 40).Draw(rt, "steps") {
					switch rapid.IntRange(0, 12).Draw(rt, "step") {
					case 0:
						d.Commit()
					case 1:
						if size > 0 {
							settle(d)
						}
						d.Crash()
					default:
						if rapid.Bool().Draw(rt, "left") {
							draw(rt, inLeft, left, more...)
						} else {
							draw(rt, inRight, right, more...)
						}
					}
				}
				settle(d)
				want := map[string]string{}
				for _, k := range []string{"a", "b", "c", ""} {
					v, vok := left[k]
					o, ook := right[k]
					if row, ok := join.row(v, vok, o, ook); ok {
						want[k] = row
					}
				}
				if got := content(rt, d.Store(kept)); !maps.Equal(got, want) {
					rt.Fatalf("the store has %v, want %v\n%s", got, want, d.Transcript())
				}
				if got := asTable(d.Output(stream.Topic[string, string]("out"))); !maps.Equal(got, want) {
					rt.Fatalf("the topic has %v, want %v\n%s", got, want, d.Transcript())
				}
			})
		})
	}
}

// TestGroupsAreWhatTheTableSays changes a table at random, restarts between, and compares the aggregates of its groups with
// those computed from the table. A row's group is its value's first letter; the one of "xx" changes neither count nor group.
func TestGroupsAreWhatTheTableSays(t *testing.T) {
	t.Parallel()
	counts, sums := state.TimestampedKeyValue[string, int64]("counts"), state.TimestampedKeyValue[string, int64]("sums")
	lengths := state.TimestampedKeyValue[string, int64]("lengths")
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		b := stream.NewBuilder()
		table := b.Table[string, string]("in")
		if rapid.Bool().Draw(rt, "filtered") {
			table = table.Filter(func(string, string) bool { return true })
		}
		gone := stream.DeleteWhen(func(n int64) bool { return n == 0 })
		table.GroupBy(func(_, v string) (string, string) { return v[:1], v }).Count(stream.Into(counts), gone)
		numbers := table.MapValues(func(_, v string) int64 { return int64(len(v)) })
		numbers.GroupBy(func(_ string, n int64) (string, int64) { return "all", n }).
			Reduce(func(a, n int64) int64 { return a + n }, func(a, n int64) int64 { return a - n }, stream.Into(sums), gone)
		numbers.GroupBy(func(k string, n int64) (string, int64) { return fmt.Sprint(n), n }).
			Aggregate(nil, func(_ string, n, a int64) int64 { return a + n }, func(_ string, n, a int64) int64 { return a - n }, stream.Into(lengths), gone)
		d := quietly(t, rt, b, rapid.SampledFrom(cacheSizes).Draw(rt, "cache"))
		defer d.Close()
		in, now := d.Input(stream.Topic[string, string]("in")), map[string]string{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 12).Draw(rt, "step") {
			case 0:
				d.Commit()
			case 1:
				settle(d)
				d.Crash()
			default:
				draw(rt, in, now, "")
			}
		}
		settle(d)
		want := [3]map[string]int64{{}, {}, {}}
		for _, v := range now {
			want[0][v[:1]]++
			want[1]["all"] += int64(len(v))
			want[2][fmt.Sprint(len(v))] += int64(len(v))
		}
		for i, h := range []state.Handle[state.TimestampedKeyValueStore[string, int64], state.ReadOnlyTimestampedKeyValueStore[string, int64]]{counts, sums, lengths} {
			if got := content(rt, d.Store(h)); !maps.Equal(got, want[i]) {
				rt.Fatalf("%s has %v, want %v\n%s", h.Name(), got, want[i], d.Transcript())
			}
		}
	})
}

// TestLookupsFindTheRowAsItIs pipes records and changes of a table at random and compares what each record met.
func TestLookupsFindTheRowAsItIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		b := stream.NewBuilder()
		table := b.Table[string, string]("table")
		if rapid.Bool().Draw(rt, "mapped") {
			table = table.Filter(func(string, string) bool { return true }).MapValues(func(_, v string) string { return v })
		}
		s := b.Stream[string, string]("in")
		s.JoinTable(table, func(_, v, o string) string { return v + "+" + o }).To("inner")
		s.LeftJoinTable(table, func(_, v, o string, ok bool) string { return fmt.Sprint(v, "+", o, ok) }).To("left")
		d := quietly(t, rt, b, rapid.SampledFrom(cacheSizes).Draw(rt, "cache"))
		defer d.Close()
		in, rows := d.Input(stream.Topic[string, string]("in")), d.Input(stream.Topic[string, string]("table"))
		inner, left := d.Output(stream.Topic[string, string]("inner")), d.Output(stream.Topic[string, string]("left"))
		now := map[string]string{}
		for i := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 8).Draw(rt, "step") {
			case 0:
				d.Commit()
			case 1:
				settle(d)
				d.Crash()
			case 2, 3, 4:
				draw(rt, rows, now, "")
			default:
				k, v := rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(rt, "key"), fmt.Sprint(i)
				made := at(rapid.Int64Range(0, 100).Draw(rt, "time"))
				in.PipeAt(made, k, v)
				o, ok := now[k]
				if got := inner.ReadAll(); len(got) == 1 != ok || ok && (got[0].Value != v+"+"+o || !got[0].Timestamp.Equal(made)) {
					rt.Fatalf("%q met %v, the table has %q %v\n%s", k, got, o, ok, d.Transcript())
				}
				if got := left.ReadAll(); len(got) != 1 || got[0].Value != fmt.Sprint(v, "+", o, ok) || !got[0].Timestamp.Equal(made) {
					rt.Fatalf("%q met %v, the table has %q %v\n%s", k, got, o, ok, d.Transcript())
				}
			}
		}
	})
}

// TestCachesChangeWhatIsSeenButNotWhatRemains runs the same records with caches of every size: the tables and the topics,
// read as tables, are the same in the end.
func TestCachesChangeWhatIsSeenButNotWhatRemains(t *testing.T) {
	t.Parallel()
	counts, lists := state.TimestampedKeyValue[string, int64]("counts"), state.TimestampedKeyValue[string, string]("lists")
	even, levels := state.TimestampedKeyValue[string, int64]("even"), state.TimestampedKeyValue[string, int64]("levels")
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		type record struct{ k, v string }
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) record {
			return record{rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"), rapid.SampledFrom([]string{"x", "yy", "zzz"}).Draw(t, "value")}
		}), 1, 60).Draw(rt, "records")
		commits := rapid.SliceOfN(rapid.IntRange(0, 9), len(in), len(in)).Draw(rt, "commits")
		sent := map[int64]int{}
		var want string
		for _, size := range cacheSizes {
			b := stream.NewBuilder()
			s := b.Stream[string, string]("in")
			n := s.GroupByKey().Count(stream.Into(counts))
			n.ToStream().To("seen")
			n.Filter(func(_ string, n int64) bool { return n%2 == 0 }, stream.Into(even))
			n.Join(s.GroupByKey().Reduce(func(a, v string) string { return v + a }, stream.Into(lists)),
				func(_ string, n int64, list string) string { return fmt.Sprint(n, list) }).ToStream().To("out")
			n.GroupBy(func(_ string, n int64) (string, int64) { return fmt.Sprint("n", n), n }).
				Count(stream.Into(levels), stream.DeleteWhen(func(n int64) bool { return n == 0 }))
			d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CommitInterval: time.Hour, CacheBytes: size}))
			defer d.Close()
			to, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, string]("out"))
			seen := d.Output(stream.Topic[string, int64]("seen"))
			for i, r := range in {
				to.Pipe(r.k, r.v)
				if commits[i] == 0 {
					d.Commit()
				}
			}
			settle(d)
			sent[size] = len(seen.ReadAll())
			got := fmt.Sprint(asTable(out), content(rt, d.Store(counts)), content(rt, d.Store(lists)), content(rt, d.Store(even)), content(rt, d.Store(levels)))
			if want == "" {
				want = got
			}
			if got != want {
				rt.Fatalf("with a cache of %d: %s\nwithout: %s\n%s", size, got, want, d.Transcript())
			}
		}
		if sent[-1] < sent[1<<20] {
			rt.Fatalf("a cache sends more than none: %v", sent)
		}
	})
}

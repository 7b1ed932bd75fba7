package conformance_test

import (
	"errors"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
)

// Operators behind each other whose meeting is not obvious: caches, old values and windows. Failures, joins and
// optimizations are in files of their own.

// keyAndCount is a key with a number behind it.
func keyAndCount(k *string, n int64) *string { return new(written(k) + written(n)) }

// pairOfCounts is pair of two counts, either of which may not be there.
func pairOfCounts[K any](_ K, x int64, xok bool, y int64, yok bool) *string {
	return pair(there(x, xok), there(y, yok))
}

func pairOrNot[K any](_ K, x, y int64, yok bool) *string { return pair(x, there(y, yok)) }

// lastOf is the last character.
func lastOf(v *string) *string { return new((*v)[len(*v)-1:]) }

// short reduces to null where there is much already.
func shortLists(x, y *string) *string {
	if len(*x) > 4 {
		return nil
	}
	return cat(x, y)
}

var twoToStr = io(in("in1", STR), in("in2", STR), out("out", STR))

var _ = family("combined",
	t("x-cached-chain", strToStr, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").Filter(func(_ *string, n int64) bool { return n%3 != 0 }, kv("kept", N)...).
			MapValues(keyAndCount, kv("texts", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("x-cached-source-chain", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Filter(func(_, v *string) bool { return length(v) == 1 }).
			GroupBy(func(k, v *string) (*string, *string) { return v, k }, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}).cached(),
	t("x-cached-left-join", twoToStr, func(b *stream.Builder) {
		one := lettersOf(b, "in1", "c1")
		one.LeftJoin(lettersOf(b, "in2", "c2").Filter(even[*string]), pairOrNot).ToStream().To("out", SS...)
	}).cached(),
	t("x-cached-foreign-key", twoToStr, func(b *stream.Builder) {
		last := letters(str(b, "in1")).GroupByKey(GS...).Reduce(func(_, y *string) *string { return y }, kv("last", S)...)
		last.LeftJoinForeign(lettersOf(b, "in2", "c2"), initial, func(_, x *string, n int64, ok bool) *string { return pair(x, there(n, ok)) },
			joined("joined", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("x-cached-suppress", strToNum, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").Suppress(held(25).MaxRecords(2).EmitEarlyWhenFull()).ToStream().To("out", SN...)
	}).cached(),
	t("x-cached-tumbling-null", strToWin(50, STR), func(b *stream.Builder) {
		tumbling(50, 40).Over(letters(str(b, "in")).GroupByKey(GS...)).Reduce(shortLists, kv("lists", S)...).ToStream().To("out", wins(50, S)...)
	}).cached(),
	t("x-cached-windowed-filter", strToWin(60, I64), func(b *stream.Builder) {
		hopping(60, 30, 30).Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...).Filter(even[winKey]).
			ToStream().To("out", wins(60, N)...)
	}).cached(),
	t("x-cached-sliding", strToWin(30, I64), func(b *stream.Builder) {
		slid(30, 40).Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...).ToStream().To("out", wins(30, N)...)
	}).cached(),
	t("x-cached-cogroup", twoToStr, func(b *stream.Builder) {
		letters(str(b, "in1")).GroupByKey(GS...).Cogroup(appended).
			Cogroup(str(b, "in2").GroupByKey(GS...), func(_, v, a *string) *string {
				if length(v) > 4 {
					return nil
				}
				return new(written(a) + written(v))
			}).Aggregate(nothing, kv("lists", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("x-cached-group-join", strToStr, func(b *stream.Builder) {
		table := strTableOf(b, "in")
		one := table.GroupBy(underFirst, GS...).Count(kv("c1", N)...)
		one.OuterJoin(table.GroupBy(func(_, v *string) (*string, *string) { return lastOf(v), v }, GS...).Count(kv("c2", N)...), pairOfCounts).
			ToStream().To("out", SS...)
	}).cached(),
	t("x-transform-then-group", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").TransformValues(stream.FixedKeyProcessorFunc(func(c *valueContext, r stream.FixedKeyRecord[*string, *string]) error {
			if r.Value == nil {
				return c.Forward(r)
			}
			k, _ := r.Key()
			return c.Forward(r.WithValue(new(*r.Value + *k)))
		})).Filter(longer(2)).GroupBy(underFirst, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("x-filtered-join", io(in("left", STR), in("right", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "left").Filter(oneLong).MapValues(shout).
			OuterJoin(strTableOf(b, "right").FilterNot(func(_, v *string) bool { return *v == "z" }), either).
			GroupBy(underSecond, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("x-joined-twice", strToStr, func(b *stream.Builder) {
		table := strTableOf(b, "in", stream.As("table"))
		table.LeftJoin(table.Filter(func(_, v *string) bool { return length(v) == 2 }), orLeft).
			LeftJoinForeign(table, func(_, v *string) (*string, bool) { return new((*v)[1:2]), true },
				func(_, x, y *string, _ bool) *string { return cat(x, y) }, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("x-group-to-table", io(in("in", I64), out("out", STR)), func(b *stream.Builder) {
		sums := numTableOf(b, "in").GroupBy(func(k *string, v *int64) (*string, *int64) { return half(k), v }, GL...).Reduce(sum, minus, kv("sums", L)...)
		twice := sums.ToStream().Map(func(k *string, v *int64) (*string, *int64) {
			if v == nil {
				return k, nil
			}
			return k, new(2 * *v)
		}).ToTable(kv("twice", L)...)
		sums.LeftJoin(twice, func(_ *string, x, y *int64, _ bool) *string { return pair(x, y) }, kv("pairs", S)...).ToStream().To("out", SS...)
	}),
	t("x-suppressed-join", io(in("left", STR), in("right", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "left").OuterJoin(strTableOf(b, "right"), either).Suppress(held(30)).
			Filter(func(_, v *string) bool { return len(*v)%2 == 1 }).ToStream().To("out", SS...)
	}),
	t("x-suppress-then-store", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Suppress(held(30)).MapValues(shout, kv("mapped", S)...).
			GroupBy(underFirst, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("x-versioned-chain", io(in("left", STR), in("right", STR), out("out", STR)), func(b *stream.Builder) {
		versionedTable(b, "left", "l").Filter(oneLong).LeftJoin(versionedTable(b, "right", "r"), orLeft).
			GroupBy(underSecond, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("x-versioned-stream-join", io(in("in", STR), in("t", STR), in("u", STR), out("out", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		one := s.JoinTable(versionedTable(b, "t", "v").MapValues(shout), both, with(S, S)...)
		one.LeftJoinTable(strTableOf(b, "u"), func(_, x, y *string, _ bool) *string { return cat(x, y) }, with(S, S)...).To("out", SS...)
	}),
	t("x-headers-chain", io(in("in", STR), in("other", STR), out("out", STR), out("joined", STR)), func(b *stream.Builder) {
		table := strTableOf(b, "in", stream.As("table")).MapValues(shout, kv("mapped", S)...)
		table.GroupBy(func(k, v *string) (*string, *string) { return first(v), k }, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).
			ToStream().To("out", SS...)
		table.OuterJoin(strTableOf(b, "other"), either, kv("joined", S)...).ToStream().To("joined", SS...)
	}).headersFormat(),
	t("x-headers-cached", strToStr, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").MapValues(keyAndCount, kv("texts", S)...).ToStream().To("out", SS...)
	}).headersFormat().cached(),
	t("x-headers-sliding", strToWin(40, STR), func(b *stream.Builder) {
		strOver(b, slid(40, 50)).Reduce(listed, kv("lists", S)...).ToStream().To("out", wins(40, S)...)
	}).headersFormat(),
	t("x-headers-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)).headersFormat(),
	t("x-headers-session-reduce", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 20, 60).Reduce(listed, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}).headersFormat(),
	t("x-session-null", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 20, 60).Aggregate(nothing, func(_, v, a *string) *string {
			if length(v) == 1 {
				return nil
			}
			return new(written(a) + written(v))
		}, func(_, x, y *string) *string {
			switch {
			case x == nil || y == nil:
				return new("none")
			case len(*x) > 6:
				return nil
			default:
				return new(*x + "+" + *y)
			}
		}, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}),
	t("x-sliding-null", strToWin(30, STR), func(b *stream.Builder) {
		strOver(b, slid(30, 60)).Aggregate(nothing, func(_, v, a *string) *string {
			if length(v) == 3 {
				return nil
			}
			return cat(a, v)
		}, kv("lists", S)...).ToStream().To("out", wins(30, S)...)
	}),
	t("x-windowed-joins", twoIn(outKeyed("o1", windowed(50), STR), outKeyed("o2", windowed(50), STR)), func(b *stream.Builder) {
		x := tumbling(50, 30).Over(str(b, "in1").GroupByKey(GS...)).Count(kv("c1", N)...)
		y := tumbling(50, 30).Over(str(b, "in2").GroupByKey(GS...)).Count(kv("c2", N)...)
		x.LeftJoin(y, pairOrNot).ToStream().To("o1", wins(50, S)...)
		x.Filter(func(_ winKey, n int64) bool { return n > 1 }).OuterJoin(y, pairOfCounts).ToStream().To("o2", wins(50, S)...)
	}),
	t("x-final-then-group", io(in("in", STR), out("keys", I64), out("starts", I64)), func(b *stream.Builder) {
		s := strOver(b, tumbling(40, 10)).Emit(stream.OnClose).Count(kv("counts", N)...).ToStream()
		s.SelectKey(plainKey[int64]).GroupByKey(GN...).Reduce(func(x, y int64) int64 { return x + y }, kv("sums", N)...).ToStream().To("keys", SN...)
		s.Map(func(w winKey, n int64) (*string, int64) { return new("w" + written(w.Window.StartMs)), n }).
			GroupByKey(GN...).Count(kv("per-start", N)...).ToStream().To("starts", SN...)
	}),
	t("x-final-suppress", io(in("in", STR), outKeyed("o1", windowed(60), STR), outKeyed("o2", windowed(60), STR)), func(b *stream.Builder) {
		w := strOver(b, hopping(60, 30, 20))
		w.Emit(stream.OnClose).Reduce(listed, kv("finals", S)...).ToStream().To("o1", wins(60, S)...)
		w.Reduce(listed, kv("all", S)...).Suppress(finals()).ToStream().To("o2", wins(60, S)...)
	}),
	t("x-suppress-windowed-limit", strToWin(60, I64), heldCounts(hopping(60, 20, 60), 60, held(40).MaxRecords(4).EmitEarlyWhenFull())),
	t("x-memory-mix", io(in("in", STR), outKeyed("o1", windowed(60), I64), outKeyed("o2", windowed(30), I64), outKeyed("o3", session(), STR), out("o4", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		g := s.GroupByKey(GS...)
		hopping(60, 30, 20).Over(g).Emit(stream.OnClose).Count(kv("hops", N)...).ToStream().To("o1", wins(60, N)...)
		slid(30, 40).Over(g).Emit(stream.OnClose).Count(kv("slides", N)...).ToStream().To("o2", wins(30, N)...)
		sessionsOf(20, 30).Over(g).Reduce(listed, kv("sess", S)...).ToStream().To("o3", sess(S)...)
		s.OuterJoin(s.MapValues(shout), within(10, 20), joinOuter, streamJoin()...).To("o4", SS...)
	}).memory(),
	t("x-cogroup-final", io(in("in1", STR), in("in2", I64), outKeyed("out", session(), STR)), func(b *stream.Builder) {
		c := str(b, "in1").GroupBy(byFirst, GS...).Cogroup(appended).
			Cogroup(num(b, "in2").GroupByKey(GL...), func(_ *string, v *int64, a *string) *string { return cat(a, v) })
		sessionsOf(20, 20).OverCogrouped(c).Aggregate(nothing, func(_, x, y *string) *string { return new(written(x) + written(y)) }, kv("lists", S)...).
			ToStream().To("out", sess(S)...)
	}),
)

// underSecond groups a pair by the character behind its bracket.
func underSecond(_, v *string) (*string, *string) { return new((*v)[1:2]), v }

func oneLong(_, v *string) bool { return length(v) == 1 }

var errSecond = errors.New("second")

var deadNumbers = io(in("left", I64), in("right", I64), out("out", I64), outKeyed("dead", RAW, RAW))

func hasOdd(n *int64) *int64 { return evenOnly(nil, n) }

var _ = family("combined",
	t("x-error-join", deadNumbers, func(b *stream.Builder) {
		numTableOf(b, "left", stream.As("l")).Join(numTableOf(b, "right", stream.As("r")), func(_ *string, x, y *int64) *int64 { return hasOdd(sum(x, y)) }, kv("joined", L)...).
			ToStream().To("out", SL...)
	}).cfg(processHandler, goOnProcessing).cfg(deadTopic, "dead"),
	t("x-error-two-branches", io(in("in", I64), out("o1", I64), out("o2", I64), out("o3", I64), outKeyed("dead", RAW, RAW)), func(b *stream.Builder) {
		s := num(b, "in").Filter(func(k *string, _ *int64) bool { return k != nil }).Repartition(stream.KeySerde(S), stream.ValueSerde(L))
		s.MapValues(plusOne).To("o1", SL...)
		s.MapValues(evenOnly).To("o2", SL...)
		s.To("o3", SL...)
	}).cfg(processHandler, goOnProcessing).cfg(deadTopic, "dead"),
	t("x-error-group", numToNum, func(b *stream.Builder) {
		numTableOf(b, "in").GroupBy(func(_ *string, v *int64) (*string, *int64) { return new("g" + written(*hasOdd(v)%4)), v }, GL...).
			Reduce(sum, minus, kv("sums", L)...).ToStream().To("out", SL...)
	}).cfg(processHandler, goOnProcessing),
	t("x-error-punctuate", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(func() *processor[*string] {
			calls := 0
			return &processor[*string]{init: func(c *processing[*string]) error {
				c.Schedule(ms(20), stream.StreamTime, func(at time.Time) error {
					calls++
					if err := c.Forward(rec(tick("tick%d", calls), new("at"), at)); err != nil {
						return err
					}
					if calls%2 == 0 {
						return errSecond
					}
					return nil
				})
				return nil
			}, body: pass}
		}).To("out", SS...)
	}).cfg(processHandler, goOnProcessing),
	t("x-error-window", io(in("in", I64), outKeyed("wins", windowed(50), I64), outKeyed("sess", session(), I64)), func(b *stream.Builder) {
		g := num(b, "in").GroupByKey(GL...)
		zero := func() *int64 { return new(int64(0)) }
		hopping(50, 25, 30).Over(g).Aggregate(zero, func(_ *string, v, a *int64) *int64 { return sum(a, hasOdd(v)) }, kv("w", L)...).
			ToStream().To("wins", wins(50, L)...)
		sessionsOf(15, 30).Over(g).Aggregate(zero, func(_ *string, v, a *int64) *int64 { return sum(a, v) },
			func(_ *string, x, y *int64) *int64 { return hasOdd(sum(x, y)) }, kv("s", L)...).ToStream().To("sess", sess(L)...)
	}).cfg(processHandler, goOnProcessing),
	t("x-error-stream-join", io(in("left", I64), in("right", I64), out("out", I64)), func(b *stream.Builder) {
		num(b, "left").LeftJoin(num(b, "right"), within(20, 20), func(_ *string, x, y *int64, _ bool) *int64 { return hasOdd(sum(x, y)) },
			stream.KeySerde(S), stream.ValueSerde(L), stream.OtherSerde(L)).To("out", SL...)
	}).cfg(processHandler, goOnProcessing),
)

var _ = family("combined",
	t("x-three-streams", io(in("s1", STR), in("s2", STR), in("s3", STR), out("out", STR)), func(b *stream.Builder) {
		one := str(b, "s1").Join(str(b, "s2"), within(20, 20), joinInner, streamJoin()...).SelectKey(sameKey)
		three := str(b, "s3").Map(func(k, v *string) (*string, *string) { return k, v })
		one.LeftJoin(three, within(30, 30), func(_, x, y *string, _ bool) *string { return cat(x, y) }, streamJoin()...).To("out", SS...)
	}),
	t("x-outer-to-table", io(in("left", STR), in("right", STR), out("out", I64), out("seen", STR)), func(b *stream.Builder) {
		l := str(b, "left")
		pairs := l.OuterJoin(str(b, "right"), within(15, 15), joinOuter, streamJoin()...).ToTable(kv("pairs", S)...)
		pairs.GroupBy(func(_, v *string) (*string, *string) { return new((*v)[:2]), v }, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
		l.LeftJoinTable(pairs, func(_, x, y *string, _ bool) *string { return cat(x, y) }, with(S, S)...).To("seen", SS...)
	}),
	t("x-global-chain", io(in("in", STR), in("g1", STR), in("g2", STR), out("out", STR)), func(b *stream.Builder) {
		g1, g2 := strGlobal(b, "g1"), strGlobal(b, "g2", stream.As("second"))
		last := str(b, "in").LeftJoinGlobal(g1, func(_, v *string) (*string, bool) { return v, v != nil }, func(_, _, m *string, _ bool) *string { return m }).
			GroupByKey(GS...).Reduce(lists, kv("seen", S)...)
		last.ToStream().JoinGlobal(g2, func(_, v *string) (*string, bool) { return new((*v)[len(*v)-2:]), true }, func(_, v, m *string) *string { return pair(v, m) }).
			To("out", SS...)
	}),
	t("x-foreign-chain", io(in("left", STR), in("right", STR), out("out", STR)), func(b *stream.Builder) {
		groups := strTableOf(b, "right").GroupBy(underFirst, GS...).Count(kv("groups", N)...)
		left := strTableOf(b, "left")
		left.LeftJoinForeign(groups, initial, func(_, x *string, n int64, ok bool) *string { return pair(x, there(n, ok)) }, joined("joined", S)...).
			Filter(func(_, v *string) bool { return !strings.Contains(*v, "|2") }).
			Join(left, func(_, x, y *string) *string { return cat(x, y) }).ToStream().To("out", SS...)
	}),
	t("x-plan-filters", io(in("in", STR), in("t", STR), out("o1", I64), out("o2", STR), out("o3", STR)), func(b *stream.Builder) {
		k := str(b, "in").SelectKey(byFirst)
		l, s := k.Filter(longer(3)), k.FilterNot(longer(3))
		l.GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("o1", SN...)
		s.MapValues(shout).GroupByKey(GS...).Reduce(lists).ToStream().To("o2", SS...)
		s.JoinTable(strTableOf(b, "t"), both, with(S, S)...).To("o3", SS...)
	}),
	t("x-plan-merge", twoIn(out("o1", I64), outKeyed("o2", windowed(50), I64)), func(b *stream.Builder) {
		one := str(b, "in1").SelectKey(byFirst).Filter(func(_, v *string) bool { return v != nil })
		m := one.Merge(str(b, "in2").Map(func(k, v *string) (*string, *string) { return v, k })).MapValues(shout)
		m.GroupByKey(GS...).Count().ToStream().To("o1", SN...)
		tumbling(50, 20).Over(m.Peek(func(_, _ *string) {}).GroupByKey(GS...)).Count().ToStream().To("o2", wins(50, N)...)
	}),
	t("x-plan-between", io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64)), func(b *stream.Builder) {
		k := str(b, "in").SelectKey(byFirst).Filter(func(_, v *string) bool { return v != nil }).FlatMapValues(func(_, v *string, emit func(*string)) {
			emit(v)
			emit(upper(v))
		})
		k.GroupByKey(GS...).Count().ToStream().To("o1", SN...)
		k.Filter(longer(1)).MapValues(func(_, v *string) *int64 { return new(length(v)) }).GroupByKey(GL...).Reduce(sum).ToStream().To("o2", SL...)
		k.GroupByKey(append([]stream.Grouped{stream.Named("named")}, GS...)...).Count().ToStream().To("o3", SN...)
	}),
	t("x-plan-cogroup", io(in("in", STR), out("o1", STR), out("o2", I64)), func(b *stream.Builder) {
		k := str(b, "in").SelectKey(byFirst)
		second := append([]stream.Grouped{stream.Named("second")}, GS...)
		k.GroupByKey(GS...).Cogroup(appended).
			Cogroup(k.Filter(oneLong).GroupByKey(second...), func(_, v, a *string) *string { return new(written(a) + written(v)) }).
			Aggregate(nothing, kv("lists", S)...).ToStream().To("o1", SS...)
		k.GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("o2", SN...)
	}),
	t("x-plan-tables", io(in("t1", STR), in("t2", STR), in("s", STR), out("o1", STR), out("o2", STR), out("o3", I64), out("o4", STR)), func(b *stream.Builder) {
		t1, t2 := strTableOf(b, "t1"), strTableOf(b, "t2").Filter(longer(1))
		t1.MapValues(shout).ToStream().To("o1", SS...)
		str(b, "s").LeftJoinTable(t2, orLeft, with(S, S)...).To("o2", SS...)
		t1.GroupBy(underFirst, GS...).Count().ToStream().To("o3", SN...)
		t1.Join(t2.MapValues(func(_, v *string) *string { return new(*v + "!") }), both).ToStream().To("o4", SS...)
	}),
	t("x-plan-self", io(in("in", STR), out("o1", STR), out("o2", STR), out("o3", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.Join(s, within(10, 10), joinInner, streamJoin()...).To("o1", SS...)
		s.LeftJoin(s, within(10, 10), joinLeft, streamJoin()...).To("o2", SS...)
		s.Join(s.MapValues(shout), within(5, 10), joinInner, streamJoin()...).To("o3", SS...)
	}),
	t("x-plan-process", io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64)), func(b *stream.Builder) {
		p := str(b, "in").Process(proc(nil, func(c *processing[*string], r strRecord) error { return c.Forward(r.WithKey(first(r.Value))) }))
		p.GroupByKey(GS...).Count().ToStream().To("o1", SN...)
		p.Repartition(stream.KeySerde(S), stream.ValueSerde(S)).GroupByKey(GS...).Count().ToStream().To("o2", SN...)
		p.ToTable(kv("", S)...).GroupBy(func(k, v *string) (*string, *string) { return v, k }, GS...).Count().ToStream().To("o3", SN...)
	}),
)

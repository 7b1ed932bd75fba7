package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
)

// meetings are results that a record of one topic or another causes, whichever comes second, by the store behind a hop that keeps them.
var meetings = map[string]func(b *stream.Builder){
	"pairs": func(b *stream.Builder) {
		b.Stream[string, string]("one").
			Join(b.Stream[string, string]("two"), stream.Within(time.Hour).Grace(time.Hour), func(_, v, o string) string { return v + "|" + o }).
			GroupBy(func(_, pair string) string { return pair }, stream.Named("pairs")).Count(stream.As("pairs"))
	},
	"rows": func(b *stream.Builder) {
		one, two := b.Stream[string, string]("one").ToTable(), b.Stream[string, string]("two").ToTable()
		rows := one.OuterJoin(two, func(_, v string, vok bool, o string, ook bool) string { return alone(v, vok) + "|" + alone(o, ook) })
		rows.ToStream().Map(renamed).GroupByKey(stream.Named("rows")).Reduce(later, stream.As("rows"))
	},
	"totals": func(b *stream.Builder) {
		b.Stream[string, string]("one").Merge(b.Stream[string, string]("two")).GroupByKey().Count().
			ToStream().Map(func(k string, n int64) (string, string) { return renamed(k, fmt.Sprint(n)) }).
			GroupByKey(stream.Named("totals")).Reduce(later, stream.As("totals"))
	},
	"foreign": func(b *stream.Builder) {
		b.Table[string, string]("left").LeftJoinForeign(b.Table[string, string]("right"), referred, func(_, v, o string, ok bool) string { return fmt.Sprintf("%s+%s %v", v, o, ok) },
			stream.Named("foreign"), stream.As("joined")).
			ToStream().Map(renamed).GroupByKey(stream.Named("referred")).Reduce(later, stream.As("foreign"))
	},
}

// answers is the topic of the answers of the join by foreign key.
const answers = "app-foreign-subscription-response-topic"

func renamed(k, v string) (string, string) { return "new-" + k, v }

func later(_, v string) string { return v }

// meetingFleet is a fleet for some of them.
func meetingFleet(t testing.TB, partitions int32, names ...string) *fleet {
	b := stream.NewBuilder()
	for _, name := range names {
		meetings[name](b)
	}
	widths := map[string]int32{}
	if !slices.Equal(names, []string{"foreign"}) {
		widths["one"], widths["two"] = partitions, partitions
	}
	if slices.Contains(names, "foreign") {
		widths["left"], widths["right"] = partitions, partitions
	}
	return newFleet(t, b, stream.Config{ApplicationID: "app", Guarantee: stream.ExactState, MaxTaskIdle: -1}, widths)
}

// texts is what a changelog of texts says.
func (w *fleet) texts(store string) map[string]string {
	return w.latest("app-" + store + "-changelog")
}

// TestAnotherOrderOfTopicsAfterACrashLosesNothing has the shortest ways to lose something: a task has sent what its reader has
// committed, dies, and takes its topics in another order.
func TestAnotherOrderOfTopicsAfterACrashLosesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records       [][3]string // topic, key, value
		before, after []string    // the topics in the order in which the task takes them
		want          map[string]string
	}{
		"pairs": {
			[][3]string{{"one", "a", "x"}, {"one", "b", "y"}, {"two", "b", "z"}, {"two", "a", "w"}},
			[]string{"one", "two", "one"}, []string{"two", "two", "one", "one"}, // x has a result only this time, and before y
			map[string]string{"x|w": "", "y|z": ""},
		},
		"rows": {
			[][3]string{{"one", "a", "x"}, {"one", "a", "y"}, {"two", "a", "z"}},
			[]string{"one", "one"}, []string{"two", "one", "one"},
			map[string]string{"new-a": "y|z"},
		},
		"totals": {
			[][3]string{{"one", "a", "x"}, {"one", "a", "y"}, {"two", "a", "z"}},
			[]string{"one", "one"}, []string{"two", "one", "one"},
			map[string]string{"new-a": "3"},
		},
		"foreign": {
			[][3]string{{"left", "l1", "a1"}, {"right", "a", "x"}},
			[]string{"left", "right"}, []string{answers, "left"}, // the answer comes to a row that is not there yet
			map[string]string{"new-l1": "a1+x true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := meetingFleet(t, 1, name)
			for i, r := range c.records {
				w.pipe(r[0], r[1], []byte(r[2]), int64(i))
			}
			for _, topic := range c.before {
				w.next(t, topic)
			}
			task := w.reader(c.before[0])
			for _, r := range w.tasks {
				if r != task {
					w.drain(t, func(x way) bool { return x.to == r })
				}
			}
			if err := w.crash(task); err != nil {
				t.Fatal(err)
			}
			for _, topic := range c.after {
				w.next(t, topic)
			}
			w.drain(t, func(way) bool { return true })
			got := w.texts(name)
			for k, want := range c.want {
				if v, ok := got[k]; !ok || want != "" && v != want {
					t.Errorf("%s of %s is %q (%v), want %q", k, name, v, ok, want)
				}
			}
		})
	}
}

// reader is the task that reads a topic.
func (w *fleet) reader(topic string) *running {
	for _, r := range w.tasks {
		if _, ok := r.read[topic]; ok {
			return r
		}
	}
	return nil
}

// next delivers the next record of a topic.
func (w *fleet) next(t *testing.T, topic string) {
	t.Helper()
	for _, x := range w.ways() {
		if x.topic == topic {
			if err := w.deliver(x); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("there is nothing to read in %s", topic)
}

// drain delivers what is there, some of it or all, and commits it.
func (w *fleet) drain(t *testing.T, of func(way) bool) {
	t.Helper()
	for {
		ways := slices.DeleteFunc(w.ways(), func(x way) bool { return !of(x) })
		if len(ways) == 0 {
			return
		}
		if err := w.deliver(ways[0]); err != nil {
			t.Fatal(err)
		}
		if err := w.commit(ways[0].to); err != nil {
			t.Fatal(err)
		}
	}
}

// met is what the changelogs of meetings are to say at last.
type met struct {
	rows, totals map[string]string
	pairs        map[string]bool
	ones, twos   map[string][]string
}

func (m *met) join(key, value string, first bool) {
	mine, others := m.ones, m.twos
	if !first {
		mine, others = m.twos, m.ones
	}
	mine[key] = append(mine[key], value)
	for _, o := range others[key] {
		if first {
			m.pairs[value+"|"+o] = true
		} else {
			m.pairs[o+"|"+value] = true
		}
	}
	m.rows["new-"+key] = lastOf(m.ones[key]) + "|" + lastOf(m.twos[key])
	m.totals["new-"+key] = fmt.Sprint(len(m.ones[key]) + len(m.twos[key]))
}

func lastOf(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return all[len(all)-1]
}

// TestWhatSeveralTopicsCauseIsNotLostBehindAHop lets tasks crash that read several topics, and process them in another order
// then. Their results must not be taken for those that were sent before.
func TestWhatSeveralTopicsCauseIsNotLostBehindAHop(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		w := meetingFleet(t, 2, "pairs", "rows", "totals", "foreign")
		defer w.close()
		m := met{rows: map[string]string{}, totals: map[string]string{}, pairs: map[string]bool{}, ones: map[string][]string{}, twos: map[string][]string{}}
		tables := newTables()
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(rt *rapid.T) {
				n++
				topic, key, value := tables.change(rt)
				w.pipe(topic, key, value, int64(n))
			},
			"meet": func(rt *rapid.T) {
				n++
				topic, key := rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "topic"), rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")
				m.join(key, fmt.Sprint(topic, n), topic == "one")
				w.pipe(topic, key, fmt.Append(nil, topic, n), int64(n))
			},
			"deliver": func(rt *rapid.T) { must(w.deliverAny(rt)) },
			"commit":  func(rt *rapid.T) { must(w.commit(rapid.SampledFrom(w.tasks).Draw(rt, "task"))) },
			"crash":   func(rt *rapid.T) { must(w.crash(rapid.SampledFrom(w.tasks).Draw(rt, "task"))) },
		})
		for ways := w.ways(); len(ways) > 0; ways = w.ways() {
			must(w.deliver(ways[0]))
		}
		if got, want := w.texts("joined"), relational(tables.left, tables.right, true); !maps.Equal(got, want) {
			rt.Fatalf("by foreign key %v, want %v", got, want)
		}
		if got := w.texts("totals"); !maps.Equal(got, m.totals) {
			rt.Fatalf("totals %v, want %v", got, m.totals)
		}
		if got := w.texts("rows"); !maps.Equal(got, m.rows) {
			rt.Fatalf("rows %v, want %v", got, m.rows)
		}
		got := w.texts("foreign")
		for k, want := range relational(tables.left, tables.right, true) {
			if got["new-"+k] != want {
				rt.Fatalf("row %s by foreign key is %q behind a hop, want %q", k, got["new-"+k], want)
			}
		}
		got = w.texts("pairs")
		for p := range m.pairs {
			if _, ok := got[p]; !ok {
				rt.Fatalf("pair %s is missing", p)
			}
		}
	})
}

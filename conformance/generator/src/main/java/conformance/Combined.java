package conformance;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;

import java.util.List;

import static conformance.Caches.letters;
import static conformance.Errors.even;
import static conformance.Errors.GO_ON_PROCESSING;
import static conformance.Fmt.*;
import static conformance.Formatted.headersFormat;
import static conformance.H.*;
import static conformance.H.S;
import static conformance.H.L;
import static conformance.InMemory.memory;
import static conformance.StreamJoins.within;
import static conformance.Topologies.*;
import static conformance.Versioned.versioned;
import static conformance.Windows.*;

/** Operators behind each other whose meeting is not obvious: caches, old values, failures, windows, optimizations. */
final class Combined {
    static final Suppressed.StrictBufferConfig FREE = Suppressed.BufferConfig.unbounded();

    static KTable<String, Long> tally(KStream<String, String> s, String store) { return letters(s).groupByKey(GS).count(kv(store, L)); }
    static KStream<String, String> letters(KStream<String, String> s) { return s.flatMapValues(v -> Caches.letters(v)); }

    static void register() {
        family("combined");
        caches();
        tables();
        failures();
        windows();
        joins();
        plans();
    }

    static void caches() {
        t("x-cached-chain", "several updates of one record through stores with caches, one behind the other",
            io(in("in", STR).values("x", "yy", "abc", "hello"), out("out", STR)),
            b -> tally(str(b, "in"), "counts").filter((k, n) -> n % 3 != 0, kv("kept", L)).mapValues((k, n) -> k + n, kv("texts", S)).toStream().to("out", SS)).cached();
        t("x-cached-source-chain", "a table with a cache, a filter without a store, a group",
            io(in("in", STR).values("x", "y", "zz", "yy"), out("out", I64)),
            b -> b.table("in", Consumed.with(S, S), kv("table", S)).filter((k, v) -> len(v) == 1).groupBy((k, v) -> rec(v, k), GS).count(kv("counts", L)).toStream().to("out", SL)).cached();
        t("x-cached-left-join", "two cached counts, left join without a store",
            io(in("in1", STR).values("x", "yy", "abc"), in("in2", STR).values("x", "yy", "abc"), out("out", STR)),
            b -> tally(str(b, "in1"), "c1").leftJoin(tally(str(b, "in2"), "c2").filter((k, n) -> n % 2 == 0), (x, y) -> pair(x, y)).toStream().to("out", SS)).cached();
        t("x-cached-foreign-key", "a cached list joined by its first letter with a cached count",
            io(in("in1", STR).values("x", "yy", "abc"), in("in2", STR).keys("x", "y", "a").values("x", "yy"), out("out", STR)),
            b -> letters(str(b, "in1")).groupByKey(GS).reduce((x, y) -> y, kv("last", S)).leftJoin(tally(str(b, "in2"), "c2"), v -> first(v), (x, y) -> pair(x, y), kv("joined", S)).toStream().to("out", SS)).cached();
        t("x-cached-suppress", "a cached count held back",
            io(in("in", STR).values("x", "yy", "abc"), out("out", I64)),
            b -> tally(str(b, "in"), "counts").suppress(Suppressed.untilTimeLimit(ms(25), Suppressed.BufferConfig.maxRecords(2).emitEarlyWhenFull())).toStream().to("out", SL)).time(12, 0.3, 60, 0.06, 150).cached();
        t("x-cached-tumbling-null", "a reduction of windows that deletes rows, several updates in one record",
            io(in("in", STR).values("x", "yy", "abc", "hello"), out("out", windowed(50), STR)),
            b -> letters(str(b, "in")).groupByKey(GS).windowedBy(tumbling(50, 40)).reduce((x, y) -> x.length() > 4 ? null : cat(x, y), win("lists", S)).toStream().to("out", windowed(50, S))).time(15, 0.35, 140, 0.04, 200).cached();
        t("x-cached-windowed-filter", "windows with a cache behind a filter with a store",
            io(in("in", STR).values("x", "yy", "abc"), out("out", windowed(60), I64)),
            b -> letters(str(b, "in")).groupByKey(GS).windowedBy(tumbling(60, 30).advanceBy(ms(30))).count(win("counts", L)).filter((w, n) -> n % 2 == 0).toStream().to("out", windowed(60, L))).time(15, 0.3, 140, 0.04, 200).cached();
        t("x-cached-sliding", "sliding windows with a cache, several updates in one record",
            io(in("in", STR).keys("a", "b").values("x", "yy"), out("out", windowed(30), I64)),
            b -> letters(str(b, "in")).groupByKey(GS).windowedBy(sliding(30, 40)).count(win("counts", L)).toStream().to("out", windowed(30, L))).time(15, 0.3, 80, 0.04, 200).cached();
        t("x-cached-cogroup", "a cogroup with a cache",
            io(in("in1", STR).values("x", "yy", "abc"), in("in2", STR), out("out", STR)),
            b -> letters(str(b, "in1")).groupByKey(GS).<String>cogroup((k, v, a) -> cat(a, v)).cogroup(str(b, "in2").groupByKey(GS), (k, v, a) -> len(v) > 4 ? null : a + v).aggregate(() -> "", kv("lists", S)).toStream().to("out", SS)).cached();
        t("x-cached-group-join", "a cached group of a table joined with the table's other group",
            io(in("in", STR).values("x", "y", "xx", "yz"), out("out", STR)),
            b -> {
                KTable<String, String> t = strTable(b, "in");
                t.groupBy((k, v) -> rec(first(v), v), GS).count(kv("c1", L)).outerJoin(t.groupBy((k, v) -> rec(v.substring(v.length() - 1), v), GS).count(kv("c2", L)), (x, y) -> pair(x, y)).toStream().to("out", SS);
            }).cached();
    }

    static void tables() {
        t("x-transform-then-group", "old values of a transformed table without a store, through a filter, into groups",
            io(in("in", STR).values("x", "y", "zz", "yy"), out("out", STR)),
            b -> strTable(b, "in").transformValues(() -> new ValueTransformerWithKey<String, String, String>() {
                @Override public void init(org.apache.kafka.streams.processor.ProcessorContext c) { }
                @Override public String transform(String k, String v) { return v == null ? null : v + k; }
                @Override public void close() { }
            }).filter((k, v) -> v.length() > 2).groupBy((k, v) -> rec(first(v), v), GS).aggregate(() -> "", (k, v, a) -> cat(a, v), (k, v, a) -> drop(a, v), kv("lists", S)).toStream().to("out", SS));
        t("x-filtered-join", "both sides of a join filtered and mapped, the result grouped",
            io(in("left", STR).values("x", "yy", "z"), in("right", STR).values("x", "yy", "z"), out("out", STR)),
            b -> strTable(b, "left").filter((k, v) -> len(v) == 1).mapValues(v -> upper(v)).outerJoin(strTable(b, "right").filterNot((k, v) -> v.equals("z")), (x, y) -> pair(x, y))
                .groupBy((k, v) -> rec(v.substring(1, 2), v), GS).aggregate(() -> "", (k, v, a) -> cat(a, v), (k, v, a) -> drop(a, v), kv("lists", S)).toStream().to("out", SS));
        t("x-joined-twice", "a table joined with itself filtered, then by a foreign key with itself",
            io(in("in", STR).keys("a", "b", "c").values("a1", "b1", "c", ""), out("out", STR)),
            b -> {
                KTable<String, String> t = b.table("in", Consumed.with(S, S), kv("table", S));
                t.leftJoin(t.filter((k, v) -> len(v) == 2), (x, y) -> pair(x, y)).leftJoin(t, v -> v.substring(1, 2), (x, y) -> cat(x, y), kv("joined", S)).toStream().to("out", SS);
            });
        t("x-group-to-table", "a group of a table, its stream re-keyed into a table, joined with the group",
            io(in("in", I64).keys("a", "b", "c", "d"), out("out", STR)),
            b -> {
                KTable<String, Long> sums = numTable(b, "in").groupBy((k, v) -> rec(k.compareTo("c") < 0 ? "low" : "high", v), GL).reduce((x, y) -> x + y, (x, y) -> x - y, kv("sums", L));
                KTable<String, Long> twice = sums.toStream().map((k, v) -> rec(k, v == null ? null : (Long) (2 * v))).toTable(kv("twice", L));
                sums.leftJoin(twice, (x, y) -> pair(x, y), kv("pairs", S)).toStream().to("out", SS);
            });
        t("x-suppressed-join", "a join of tables held back for a while, then filtered",
            io(in("left", STR).keys("a", "b"), in("right", STR).keys("a", "b"), out("out", STR)),
            b -> strTable(b, "left").outerJoin(strTable(b, "right"), (x, y) -> pair(x, y)).suppress(Suppressed.untilTimeLimit(ms(30), FREE)).filter((k, v) -> v.length() % 2 == 1).toStream().to("out", SS)).time(12, 0.3, 60, 0.06, 150).closing(500);
        t("x-suppress-then-store", "a map with a store behind suppress; old values are those before suppress",
            io(in("in", STR).values("x", "y", "zz"), out("out", I64)),
            b -> b.table("in", Consumed.with(S, S), kv("table", S)).suppress(Suppressed.untilTimeLimit(ms(30), FREE)).mapValues(v -> upper(v), kv("mapped", S)).groupBy((k, v) -> rec(first(v), v), GS).count(kv("counts", L)).toStream().to("out", SL)).time(12, 0.3, 60, 0.06, 150).closing(500);
        t("x-versioned-chain", "a versioned table filtered, joined and grouped",
            io(in("left", STR).values("x", "yy", "z"), in("right", STR).values("x", "yy", "z"), out("out", STR)),
            b -> b.table("left", Consumed.with(S, S), versioned("l")).filter((k, v) -> len(v) == 1).leftJoin(b.table("right", Consumed.with(S, S), versioned("r")), (x, y) -> pair(x, y))
                .groupBy((k, v) -> rec(v.substring(1, 2), v), GS).aggregate(() -> "", (k, v, a) -> cat(a, v), (k, v, a) -> drop(a, v), kv("lists", S)).toStream().to("out", SS)).time(10, 0.4, 120, 0.05, 150);
        t("x-versioned-stream-join", "a stream joined with a versioned count and with a plain table",
            io(in("in", STR).keys("a", "b"), in("t", STR).keys("a", "b"), out("out", STR)),
            b -> {
                KStream<String, String> s = str(b, "in");
                s.join(b.table("t", Consumed.with(S, S), versioned("v")).mapValues(v -> upper(v)), (x, y) -> pair(x, y), Joined.with(S, S, S)).leftJoin(strTable(b, "u"), (x, y) -> cat(x, y), Joined.with(S, S, S)).to("out", SS);
            }).time(10, 0.4, 120, 0.05, 150).ins.add(in("u", STR).keys("a", "b"));
        headersFormat(t("x-headers-chain", "stores with headers: a table mapped, grouped, joined with its source",
            io(in("in", STR).values("x", "y", "zz"), out("out", STR), out("joined", STR)),
            b -> {
                KTable<String, String> t = b.table("in", Consumed.with(S, S), kv("table", S)).mapValues(v -> upper(v), kv("mapped", S));
                t.groupBy((k, v) -> rec(first(v), k), GS).aggregate(() -> "", (k, v, a) -> cat(a, v), (k, v, a) -> drop(a, v), kv("lists", S)).toStream().to("out", SS);
                t.outerJoin(strTable(b, "other"), (x, y) -> pair(x, y), kv("joined", S)).toStream().to("joined", SS);
            }).time(10, 0.3, 40, 0.04, 100)).ins.add(in("other", STR));
        headersFormat(t("x-headers-cached", "stores with headers and caches: several updates of one record",
            io(in("in", STR).values("x", "yy", "abc"), out("out", STR)),
            b -> tally(str(b, "in"), "counts").mapValues((k, n) -> k + n, kv("texts", S)).toStream().to("out", SS)).cached());
        headersFormat(t("x-headers-sliding", "stores with headers: sliding windows",
            io(in("in", STR).keys("a", "b"), out("out", windowed(40), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 50)).reduce((x, y) -> cat(x, y), win("lists", S)).toStream().to("out", windowed(40, S))).time(15, 0.35, 120, 0.04, 200));
        headersFormat(t("x-headers-final", "stores with headers: emit on window close",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(12, 0.3, 80, 0.08, 60).steps(24, 32).closing(70));
        headersFormat(t("x-headers-session-reduce", "stores with headers: sessions that merge",
            io(in("in", STR).keys("a", "b"), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(20, 60)).reduce((x, y) -> cat(x, y), ses("lists", S)).toStream().to("out", session(S))).time(15, 0.35, 100, 0.04, 200));
    }

    static void failures() {
        t("x-error-join", "a joiner of tables that throws for odd sums; the stores of the sources keep what they have",
            io(in("left", I64).keys("a", "b"), in("right", I64).keys("a", "b"), out("out", I64), out("dead", RAW, RAW)),
            b -> b.table("left", Consumed.with(S, L), kv("l", L)).join(b.table("right", Consumed.with(S, L), kv("r", L)), (x, y) -> even(x + y), kv("joined", L)).toStream().to("out", SL)).cfg("processing.exception.handler", GO_ON_PROCESSING).cfg("errors.dead.letter.queue.topic.name", "dead");
        t("x-error-two-branches", "a failing branch between two that work, behind a repartition",
            io(in("in", I64), out("o1", I64), out("o2", I64), out("o3", I64), out("dead", RAW, RAW)),
            b -> {
                KStream<String, Long> s = num(b, "in").filter((k, v) -> k != null).repartition(Repartitioned.with(S, L));
                s.mapValues(v -> nz(v) + 1).to("o1", SL);
                s.mapValues(v -> even(v)).to("o2", SL);
                s.to("o3", SL);
            }).cfg("processing.exception.handler", GO_ON_PROCESSING).cfg("errors.dead.letter.queue.topic.name", "dead").headers(0.5);
        t("x-error-group", "a grouper of a table that throws for odd numbers",
            io(in("in", I64), out("out", I64)),
            b -> numTable(b, "in").groupBy((k, v) -> rec("g" + even(v) % 4, v), GL).reduce((x, y) -> x + y, (x, y) -> x - y, kv("sums", L)).toStream().to("out", SL)).cfg("processing.exception.handler", GO_ON_PROCESSING);
        t("x-error-punctuate", "a punctuation that throws at each second call; what it forwarded before stays",
            io(in("in", STR), out("out", STR)),
            b -> str(b, "in").process(() -> new org.apache.kafka.streams.processor.api.Processor<String, String, String, String>() {
                private org.apache.kafka.streams.processor.api.ProcessorContext<String, String> ctx;
                private int calls;
                @Override public void init(org.apache.kafka.streams.processor.api.ProcessorContext<String, String> c) {
                    ctx = c;
                    c.schedule(ms(20), PunctuationType.STREAM_TIME, at -> {
                        c.forward(new Record<>("tick" + ++calls, "at", at));
                        if (calls % 2 == 0) throw new IllegalStateException("second");
                    });
                }
                @Override public void process(Record<String, String> r) { ctx.forward(r); }
            }).to("out", SS)).time(15, 0.1, 30, 0.05, 100).cfg("processing.exception.handler", GO_ON_PROCESSING);
        t("x-error-window", "an aggregator of windows that throws, and one of sessions whose merger throws",
            io(in("in", I64).keys("a", "b"), out("wins", windowed(50), I64), out("sess", session(), I64)),
            b -> {
                KGroupedStream<String, Long> g = num(b, "in").groupByKey(GL);
                g.windowedBy(tumbling(50, 30).advanceBy(ms(25))).aggregate(() -> 0L, (k, v, a) -> a + even(v), win("w", L)).toStream().to("wins", windowed(50, L));
                g.windowedBy(sessions(15, 30)).aggregate(() -> 0L, (k, v, a) -> a + nz(v), (k, x, y) -> even(x + y), ses("s", L)).toStream().to("sess", session(L));
            }).time(10, 0.3, 60, 0.04, 150).cfg("processing.exception.handler", GO_ON_PROCESSING);
        t("x-error-stream-join", "a joiner of streams that throws for some pairs",
            io(in("left", I64).keys("a", "b"), in("right", I64).keys("a", "b"), out("out", I64)),
            b -> num(b, "left").leftJoin(num(b, "right"), (x, y) -> even(x + nz(y)), within(20, 20), StreamJoined.with(S, L, L)).to("out", SL)).time(8, 0.3, 60, 0.05, 150).closing(500).cfg("processing.exception.handler", GO_ON_PROCESSING);
    }

    static void windows() {
        t("x-session-null", "sessions whose aggregator and merger answer null",
            io(in("in", STR).keys("a", "b"), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(20, 60)).aggregate(() -> "", (k, v, a) -> len(v) == 1 ? null : a + v, (k, x, y) -> x == null || y == null ? "none" : x.length() > 6 ? null : x + "+" + y, ses("lists", S)).toStream().to("out", session(S))).time(12, 0.35, 100, 0.04, 200);
        t("x-sliding-null", "sliding windows whose aggregator answers null",
            io(in("in", STR).keys("a", "b"), out("out", windowed(30), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(30, 60)).aggregate(() -> "", (k, v, a) -> len(v) == 3 ? null : a + "," + v, win("lists", S)).toStream().to("out", windowed(30, S))).time(12, 0.35, 100, 0.04, 200);
        t("x-windowed-joins", "windowed tables of two streams, left and outer join, with and without a store",
            io(in("in1", STR).keys("a", "b"), in("in2", STR).keys("a", "b"), out("o1", windowed(50), STR), out("o2", windowed(50), STR)),
            b -> {
                KTable<Windowed<String>, Long> x = str(b, "in1").groupByKey(GS).windowedBy(tumbling(50, 30)).count(win("c1", L)), y = str(b, "in2").groupByKey(GS).windowedBy(tumbling(50, 30)).count(win("c2", L));
                x.leftJoin(y, (n, m) -> pair(n, m)).toStream().to("o1", windowed(50, S));
                x.filter((w, n) -> n > 1).outerJoin(y, (n, m) -> pair(n, m)).toStream().to("o2", windowed(50, S));
            }).time(12, 0.3, 80, 0.05, 150);
        t("x-final-then-group", "finals by their plain key, counted per key and per start",
            io(in("in", STR), out("keys", I64), out("starts", I64)),
            b -> {
                KStream<Windowed<String>, Long> s = str(b, "in").groupByKey(GS).windowedBy(tumbling(40, 10)).emitStrategy(FINAL).count(win("counts", L)).toStream();
                s.selectKey((w, n) -> w.key()).groupByKey(GL).reduce((x, y) -> x + y, kv("sums", L)).toStream().to("keys", SL);
                s.map((w, n) -> rec("w" + w.window().start(), n)).groupByKey(GL).count(kv("per-start", L)).toStream().to("starts", SL);
            }).time(12, 0.3, 60, 0.08, 50).steps(24, 30).closing(70);
        t("x-final-suppress", "emit on window close and suppress of the same windows",
            io(in("in", STR), out("o1", windowed(60), STR), out("o2", windowed(60), STR)),
            b -> {
                KGroupedStream<String, String> g = str(b, "in").groupByKey(GS);
                TimeWindows w = tumbling(60, 20).advanceBy(ms(30));
                g.windowedBy(w).emitStrategy(FINAL).reduce((x, y) -> cat(x, y), win("finals", S)).toStream().to("o1", windowed(60, S));
                g.windowedBy(w).reduce((x, y) -> cat(x, y), win("all", S)).suppress(Suppressed.untilWindowCloses(FREE)).toStream().to("o2", windowed(60, S));
            }).time(12, 0.3, 80, 0.08, 60).steps(20, 26).closing(100);
        t("x-suppress-windowed-limit", "windows held back for a time, few at once",
            io(in("in", STR), out("out", windowed(60), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(60, 60).advanceBy(ms(20))).count(win("counts", L)).suppress(Suppressed.untilTimeLimit(ms(40), Suppressed.BufferConfig.maxRecords(4).emitEarlyWhenFull())).toStream().to("out", windowed(60, L))).time(12, 0.3, 80, 0.06, 150);
        memory(t("x-memory-mix", "stores in memory: hopping finals, sliding, sessions and a join of one stream",
            io(in("in", STR).keys("b", "a", "ab"), out("o1", windowed(60), I64), out("o2", windowed(30), I64), out("o3", session(), STR), out("o4", STR)),
            b -> {
                KStream<String, String> s = str(b, "in");
                KGroupedStream<String, String> g = s.groupByKey(GS);
                g.windowedBy(tumbling(60, 20).advanceBy(ms(30))).emitStrategy(FINAL).count(win("hops", L)).toStream().to("o1", windowed(60, L));
                g.windowedBy(sliding(30, 40)).emitStrategy(FINAL).count(win("slides", L)).toStream().to("o2", windowed(30, L));
                g.windowedBy(sessions(20, 30)).reduce((x, y) -> cat(x, y), ses("sess", S)).toStream().to("o3", session(S));
                s.outerJoin(s.mapValues(v -> upper(v)), (x, y) -> pair(x, y), within(10, 20), StreamJoined.with(S, S, S)).to("o4", SS);
            }).time(10, 0.3, 60, 0.08, 60).steps(20, 26).closing(100));
        t("x-cogroup-final", "a cogroup of a stream with a new key over sessions, emitted on close",
            io(in("in1", STR), in("in2", I64), out("out", session(), STR)),
            b -> str(b, "in1").groupBy((k, v) -> first(v), GS).<String>cogroup((k, v, a) -> cat(a, v)).cogroup(num(b, "in2").groupByKey(GL), (k, v, a) -> cat(a, "" + v)).windowedBy(sessions(20, 20)).aggregate(() -> "", (k, x, y) -> x + y, ses("lists", S)).toStream().to("out", session(S))).time(10, 0.3, 60, 0.06, 150);
    }

    static void joins() {
        t("x-three-streams", "a left join of a join, with new keys between",
            io(in("s1", STR).keys("a", "b"), in("s2", STR).keys("a", "b"), in("s3", STR).keys("a", "b"), out("out", STR)),
            b -> str(b, "s1").join(str(b, "s2"), (x, y) -> pair(x, y), within(20, 20), StreamJoined.with(S, S, S)).selectKey((k, v) -> k).leftJoin(str(b, "s3").map((k, v) -> rec(k, v)), (x, y) -> cat(x, y), within(30, 30), StreamJoined.with(S, S, S)).to("out", SS)).time(6, 0.25, 40, 0.05, 120).closing(500);
        t("x-outer-to-table", "an outer join of streams made a table, grouped, and joined with one of the streams",
            io(in("left", STR).keys("a", "b"), in("right", STR).keys("a", "b"), out("out", I64), out("seen", STR)),
            b -> {
                KStream<String, String> l = str(b, "left");
                KTable<String, String> t = l.outerJoin(str(b, "right"), (x, y) -> pair(x, y), within(15, 15), StreamJoined.with(S, S, S)).toTable(kv("pairs", S));
                t.groupBy((k, v) -> rec(v.substring(0, 2), v), GS).count(kv("counts", L)).toStream().to("out", SL);
                l.leftJoin(t, (x, y) -> cat(x, y), Joined.with(S, S, S)).to("seen", SS);
            }).time(8, 0.3, 50, 0.06, 120).closing(500);
        t("x-global-chain", "a stream looked up in a global table, grouped, then in another",
            io(in("in", STR).values("k1", "k2", "k3"), in("g1", STR).keys("k1", "k2").values("m1", "m2"), in("g2", STR).keys("m1", "m2"), out("out", STR)),
            b -> {
                GlobalKTable<String, String> g1 = b.globalTable("g1", Consumed.with(S, S)), g2 = b.globalTable("g2", Consumed.with(S, S), kv("second", S));
                KTable<String, String> last = str(b, "in").leftJoin(g1, (k, v) -> v, (v, m) -> m).groupByKey(GS).reduce((x, y) -> cat(x, y), kv("seen", S));
                last.toStream().join(g2, (k, v) -> v.substring(v.length() - 2), (v, m) -> pair(v, m)).to("out", SS);
            });
        t("x-foreign-chain", "a foreign-key join whose right side is a group, and whose result is filtered and joined",
            io(in("left", STR).keys("l1", "l2", "l3").values("a1", "b1", "c1"), in("right", STR).values("a", "b", "ab"), out("out", STR)),
            b -> {
                KTable<String, Long> groups = strTable(b, "right").groupBy((k, v) -> rec(first(v), v), GS).count(kv("groups", L));
                KTable<String, String> left = strTable(b, "left");
                left.leftJoin(groups, v -> first(v), (x, y) -> pair(x, y), kv("joined", S)).filter((k, v) -> !v.contains("|2")).join(left, (x, y) -> cat(x, y)).toStream().to("out", SS);
            });
    }

    static void plans() {
        t("x-plan-filters", "one new key, two filters; each side aggregated, one joined",
            io(in("in", STR), in("t", STR), out("o1", I64), out("o2", STR), out("o3", STR)),
            b -> {
                KStream<String, String> k = str(b, "in").selectKey((x, v) -> first(v));
                KStream<String, String> l = k.filter((x, v) -> len(v) > 3), s = k.filterNot((x, v) -> len(v) > 3);
                l.groupByKey(GS).count(kv("counts", L)).toStream().to("o1", SL);
                s.mapValues(v -> upper(v)).groupByKey(GS).reduce((x, y) -> cat(x, y)).toStream().to("o2", SS);
                s.join(strTable(b, "t"), (x, y) -> pair(x, y), Joined.with(S, S, S)).to("o3", SS);
            });
        t("x-plan-merge", "two streams with new keys merged, aggregated twice, once windowed",
            io(in("in1", STR), in("in2", STR), out("o1", I64), out("o2", windowed(50), I64)),
            b -> {
                KStream<String, String> m = str(b, "in1").selectKey((k, v) -> first(v)).filter((k, v) -> v != null).merge(str(b, "in2").map((k, v) -> rec(v, k))).mapValues(v -> upper(v));
                m.groupByKey(GS).count().toStream().to("o1", SL);
                m.peek((k, v) -> { }).groupByKey(GS).windowedBy(tumbling(50, 20)).count().toStream().to("o2", windowed(50, L));
            });
        t("x-plan-between", "operators that keep the key between a new key and two aggregations, and a named one",
            io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64)),
            b -> {
                KStream<String, String> k = str(b, "in").selectKey((x, v) -> first(v)).filter((x, v) -> v != null).flatMapValues(v -> List.of(v, upper(v)));
                k.groupByKey(GS).count().toStream().to("o1", SL);
                k.filter((x, v) -> len(v) > 1).mapValues(v -> len(v)).groupByKey(GL).reduce((x, y) -> x + y).toStream().to("o2", SL);
                k.groupByKey(Grouped.with("named", S, S)).count().toStream().to("o3", SL);
            });
        t("x-plan-cogroup", "a cogroup of one stream with a new key and one of its branches",
            io(in("in", STR), out("o1", STR), out("o2", I64)),
            b -> {
                KStream<String, String> k = str(b, "in").selectKey((x, v) -> first(v));
                k.groupByKey(GS).<String>cogroup((x, v, a) -> cat(a, v)).cogroup(k.filter((x, v) -> len(v) == 1).groupByKey(Grouped.with("second", S, S)), (x, v, a) -> a + v).aggregate(() -> "", kv("lists", S)).toStream().to("o1", SS);
                k.groupByKey(GS).count(kv("counts", L)).toStream().to("o2", SL);
            });
        t("x-plan-tables", "tables of which some need a store and some do not",
            io(in("t1", STR), in("t2", STR), in("s", STR), out("o1", STR), out("o2", STR), out("o3", I64), out("o4", STR)),
            b -> {
                KTable<String, String> t1 = strTable(b, "t1"), t2 = strTable(b, "t2").filter((k, v) -> len(v) > 1);
                t1.mapValues(v -> upper(v)).toStream().to("o1", SS);
                str(b, "s").leftJoin(t2, (x, y) -> pair(x, y), Joined.with(S, S, S)).to("o2", SS);
                t1.groupBy((k, v) -> rec(first(v), v), GS).count().toStream().to("o3", SL);
                t1.join(t2.mapValues(v -> v + "!"), (x, y) -> pair(x, y)).toStream().to("o4", SS);
            });
        t("x-plan-self", "a stream joined with itself twice, and with itself mapped",
            io(in("in", STR).keys("a", "b"), out("o1", STR), out("o2", STR), out("o3", STR)),
            b -> {
                KStream<String, String> s = str(b, "in");
                s.join(s, (x, y) -> pair(x, y), within(10, 10), StreamJoined.with(S, S, S)).to("o1", SS);
                s.leftJoin(s, (x, y) -> pair(x, y), within(10, 10), StreamJoined.with(S, S, S)).to("o2", SS);
                s.join(s.mapValues(v -> upper(v)), (x, y) -> pair(x, y), within(5, 10), StreamJoined.with(S, S, S)).to("o3", SS);
            }).time(8, 0.25, 40, 0.04, 100).steps(12, 16);
        t("x-plan-process", "processors between a new key and aggregations; a repartition by hand counts as one",
            io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64)),
            b -> {
                KStream<String, String> p = str(b, "in").process(Processors.<String, String>proc(c -> { }, (c, r) -> c.forward(r.withKey(first(r.value())))));
                p.groupByKey(GS).count().toStream().to("o1", SL);
                p.repartition(Repartitioned.with(S, S)).groupByKey(GS).count().toStream().to("o2", SL);
                p.toTable(Materialized.with(S, S)).groupBy((k, v) -> rec(v, k), GS).count().toStream().to("o3", SL);
            });
    }
}

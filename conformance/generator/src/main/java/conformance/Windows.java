package conformance;

import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.*;

import static conformance.Fmt.*;
import static conformance.H.*;
import static conformance.H.S;
import static conformance.H.L;
import static conformance.Topologies.*;

final class Windows {
    static final EmitStrategy FINAL = EmitStrategy.onWindowClose();

    static TimeWindows tumbling(long size) { return TimeWindows.ofSizeWithNoGrace(ms(size)); }
    static TimeWindows tumbling(long size, long grace) { return TimeWindows.ofSizeAndGrace(ms(size), ms(grace)); }
    static SlidingWindows sliding(long diff, long grace) { return SlidingWindows.ofTimeDifferenceAndGrace(ms(diff), ms(grace)); }
    static SessionWindows sessions(long gap, long grace) { return SessionWindows.ofInactivityGapAndGrace(ms(gap), ms(grace)); }

    static void register() {
        family("window-time");
        t("tumbling-count", "tumbling windows without grace: a record of a closed window is dropped; a null key is dropped, a null value is counted (unlike count without windows)",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50)).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.3, 80, 0.04, 200);
        t("tumbling-count-grace", "tumbling windows with grace",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.35, 140, 0.04, 200);
        t("tumbling-count-plain", "tumbling windows, all names generated, key made text",
            io(in("in", STR), out("out", I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50)).count().toStream((w, v) -> flat(w)).to("out", SL)).time(15, 0.3, 80, 0.04, 200);
        t("tumbling-count-in-memory", "tumbling windows in memory",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).count(Materialized.<String, Long>as(Stores.inMemoryWindowStore("counts", ms(90), ms(50), false)).withKeySerde(S).withValueSerde(L)).toStream().to("out", windowed(50, L))).time(15, 0.35, 140, 0.04, 200);
        t("tumbling-count-retention", "a store that keeps longer than size and grace",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).count(win("counts", L).withRetention(ms(500))).toStream().to("out", windowed(50, L))).time(25, 0.35, 140, 0.1, 300);
        t("tumbling-count-cached", "tumbling windows with a cache; the driver commits after each record",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.35, 140, 0.04, 200).cached();
        t("tumbling-reduce", "tumbling windows, reduce",
            io(in("in", STR), out("out", windowed(50), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).reduce((x, y) -> cat(x, y), win("lists", S)).toStream().to("out", windowed(50, S))).time(15, 0.35, 140, 0.04, 200);
        t("tumbling-reduce-null", "a reducer that answers null deletes the window",
            io(in("in", I64), out("out", windowed(50), I64)),
            b -> num(b, "in").groupByKey(GL).windowedBy(tumbling(50, 40)).reduce((x, y) -> x + nz(y) > 25 ? null : (Long) (x + nz(y)), win("sums", L)).toStream().to("out", windowed(50, L))).time(8, 0.35, 60, 0.04, 200);
        t("tumbling-aggregate", "tumbling windows, aggregate",
            io(in("in", STR), out("out", windowed(50), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 40)).aggregate(() -> "^", (k, v, a) -> cat(a, v), win("lists", S)).toStream().to("out", windowed(50, S))).time(15, 0.35, 140, 0.04, 200);
        t("tumbling-group-by", "groupBy, repartition, tumbling windows",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupBy((k, v) -> first(v), GS).windowedBy(tumbling(50, 40)).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.35, 140, 0.04, 200);
        t("tumbling-long", "windows of an hour with a grace of ten minutes and times of days: segments of a store come and go",
            io(in("in", STR), out("out", windowed(3_600_000), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(3_600_000, 600_000)).count(win("counts", L)).toStream().to("out", windowed(3_600_000, L))).time(900_000, 0.35, 7_000_000, 0.06, 40_000_000);
        t("tumbling-two-sizes", "one grouped stream in two window sizes",
            io(in("in", STR), out("small", windowed(20), I64), out("large", windowed(100), I64)),
            b -> {
                KGroupedStream<String, String> g = str(b, "in").groupByKey(GS);
                g.windowedBy(tumbling(20, 30)).count(win("small-counts", L)).toStream().to("small", windowed(20, L));
                g.windowedBy(tumbling(100)).count(win("large-counts", L)).toStream().to("large", windowed(100, L));
            }).time(15, 0.35, 140, 0.04, 200).steps(15, 19);
        t("hopping-count", "hopping windows: one record is in several windows, earliest first",
            io(in("in", STR), out("out", windowed(60), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(60, 30).advanceBy(ms(20))).count(win("counts", L)).toStream().to("out", windowed(60, L))).time(15, 0.3, 140, 0.04, 200).steps(15, 19);
        t("hopping-count-uneven", "hopping windows whose size is no multiple of the advance",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 10).advanceBy(ms(30))).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.3, 100, 0.04, 200).steps(15, 19);
        t("hopping-reduce", "hopping windows, reduce",
            io(in("in", I64), out("out", windowed(60), I64)),
            b -> num(b, "in").groupByKey(GL).windowedBy(tumbling(60, 30).advanceBy(ms(20))).reduce((x, y) -> x + nz(y), win("sums", L)).toStream().to("out", windowed(60, L))).time(15, 0.3, 140, 0.04, 200).steps(15, 19);
        t("hopping-aggregate", "hopping windows, aggregate to {n, sum}",
            io(in("in", I64), out("out", windowed(60), JSON)),
            b -> num(b, "in").groupByKey(GL).windowedBy(tumbling(60).advanceBy(ms(30))).aggregate(() -> (com.fasterxml.jackson.databind.JsonNode) obj().put("n", 0L).put("sum", 0L), (k, v, a) -> obj().put("n", whole(a, "n") + 1).put("sum", whole(a, "sum") + nz(v)), win("averages", Fmt.J)).toStream().to("out", windowed(60, Fmt.J))).time(15, 0.3, 80, 0.04, 200).steps(15, 19);
        t("hopping-count-cached", "hopping windows with a cache: order of emission is the order of the cache's flush",
            io(in("in", STR), out("out", windowed(60), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(60, 30).advanceBy(ms(20))).count(win("counts", L)).toStream().to("out", windowed(60, L))).time(15, 0.3, 140, 0.04, 200).steps(15, 19).cached();
        t("unlimited-count", "unlimited windows from 100: earlier records are in no window",
            io(in("in", STR), out("out", I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(UnlimitedWindows.of().startOn(java.time.Instant.ofEpochMilli(100))).count(win("counts", L)).toStream((w, v) -> w.key() + "@" + w.window().start()).to("out", SL)).time(15, 0.3, 80, 0.04, 200);

        family("window-final");
        t("tumbling-final", "emit on window close: results come once, ordered by window start then key bytes, when stream time reaches end + grace",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(12, 0.3, 80, 0.08, 60).closing(70);
        t("tumbling-final-no-grace", "emit on window close without grace",
            io(in("in", STR), out("out", windowed(50), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50)).emitStrategy(FINAL).reduce((x, y) -> cat(x, y), win("lists", S)).toStream().to("out", windowed(50, S))).time(12, 0.3, 80, 0.08, 60).closing(70);
        t("tumbling-final-plain", "emit on window close with generated names",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupBy((k, v) -> first(v), GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count().toStream().to("out", windowed(50, L))).time(12, 0.3, 80, 0.08, 60).closing(70);
        t("tumbling-final-interval", "emit on window close at most once each 1000 ms of wall-clock time (the default of the runtime, which the driver sets to 0)",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count(win("counts", L).withRetention(ms(5000))).toStream().to("out", windowed(50, L)))
            .cfg("__emit.interval.ms.kstreams.windowed.aggregation__", "1000").time(20, 0.3, 80, 0.1, 100).advance(0.4, 2500).steps(30, 40).closing(70);
        t("tumbling-final-jump", "emit on window close where stream time jumps: results whose window start is more than the retention (size + grace by default) before the start of the newest window in the store have expired and are never emitted",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count(win("counts", L)).toStream().to("out", windowed(50, L))).time(15, 0.3, 100, 0.15, 250).steps(24, 32).closing(70).apart();
        t("tumbling-final-retention", "the same with a retention of 5000: nothing is lost",
            io(in("in", STR), out("out", windowed(50), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(50, 20)).emitStrategy(FINAL).count(win("counts", L).withRetention(ms(5000))).toStream().to("out", windowed(50, L))).time(15, 0.3, 100, 0.15, 250).steps(24, 32).closing(500);
        t("hopping-final", "hopping windows, emit on window close",
            io(in("in", STR), out("out", windowed(60), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(60, 10).advanceBy(ms(20))).emitStrategy(FINAL).count(win("counts", L)).toStream().to("out", windowed(60, L))).time(12, 0.3, 80, 0.08, 60).closing(70);
        t("hopping-final-aggregate-null", "emit on window close of an aggregator that answers null for more than three values",
            io(in("in", STR), out("out", windowed(60), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(tumbling(60, 10).advanceBy(ms(30))).emitStrategy(FINAL).aggregate(() -> "", (k, v, a) -> a.length() > 8 ? null : cat(a, v), win("lists", S)).toStream().to("out", windowed(60, S))).time(8, 0.3, 60, 0.08, 50).closing(70);
        t("sliding-final", "sliding windows, emit on window close",
            io(in("in", STR), out("out", windowed(40), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 20)).emitStrategy(FINAL).count(win("counts", L)).toStream().to("out", windowed(40, L))).time(10, 0.3, 70, 0.08, 50).closing(70);
        t("session-final", "session windows, emit on window close",
            io(in("in", STR), out("out", session(), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 20)).emitStrategy(FINAL).count(ses("counts", L)).toStream().to("out", session(L))).time(10, 0.3, 70, 0.08, 50).closing(70);
        t("session-final-aggregate", "session windows with aggregate and merger, emit on window close",
            io(in("in", STR), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 0)).emitStrategy(FINAL).aggregate(() -> "", (k, v, a) -> cat(a, v), (k, x, y) -> pair(x, y), ses("lists", S)).toStream().to("out", session(S))).time(10, 0.3, 50, 0.08, 50).closing(70);

        family("window-sliding");
        t("sliding-count", "sliding windows: a window for each distinct set of records no further apart than the difference, both ends inclusive",
            io(in("in", STR).keys("a", "b"), out("out", windowed(40), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 50)).count(win("counts", L)).toStream().to("out", windowed(40, L))).time(15, 0.35, 120, 0.04, 200).steps(15, 19);
        t("sliding-count-one-key", "sliding windows, a single key, times close to zero",
            io(in("in", STR).keys("a").nulls(0, 0), out("out", windowed(10), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(10, 100)).count(win("counts", L)).toStream().to("out", windowed(10, L))).time(3, 0.5, 25, 0.02, 50).steps(15, 19);
        t("sliding-reduce", "sliding windows, reduce",
            io(in("in", I64).keys("a", "b"), out("out", windowed(40), I64)),
            b -> num(b, "in").groupByKey(GL).windowedBy(sliding(40, 50)).reduce((x, y) -> x + nz(y), win("sums", L)).toStream().to("out", windowed(40, L))).time(15, 0.35, 120, 0.04, 200).steps(15, 19);
        t("sliding-aggregate", "sliding windows, aggregate: the list shows the order in which records came in",
            io(in("in", STR).keys("a", "b").values("x", "y", "z"), out("out", windowed(40), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 50)).aggregate(() -> "", (k, v, a) -> cat(a, v), win("lists", S)).toStream().to("out", windowed(40, S))).time(15, 0.35, 120, 0.04, 200).steps(15, 19);
        t("sliding-no-grace", "sliding windows without grace",
            io(in("in", STR).keys("a", "b"), out("out", windowed(40), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(ms(40))).count().toStream().to("out", windowed(40, L))).time(15, 0.35, 80, 0.04, 200).steps(15, 19);
        t("sliding-in-memory", "sliding windows in memory (the aggregate searches backwards for such a store)",
            io(in("in", STR).keys("a", "b").values("x", "y", "z"), out("out", windowed(40), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 50)).aggregate(() -> "", (k, v, a) -> cat(a, v), Materialized.<String, String>as(Stores.inMemoryWindowStore("lists", ms(130), ms(40), false)).withKeySerde(S).withValueSerde(S)).toStream().to("out", windowed(40, S))).time(15, 0.35, 120, 0.04, 200).steps(15, 19);
        t("sliding-cached", "sliding windows with a cache",
            io(in("in", STR).keys("a", "b"), out("out", windowed(40), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sliding(40, 50)).count(win("counts", L)).toStream().to("out", windowed(40, L))).time(15, 0.35, 120, 0.04, 200).steps(15, 19).cached();

        family("window-session");
        t("session-count", "session windows: a record that joins sessions removes each (tombstone) and emits the merged one",
            io(in("in", STR), out("out", session(), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 50)).count(ses("counts", L)).toStream().to("out", session(L))).time(15, 0.35, 150, 0.04, 200);
        t("session-count-no-grace", "session windows without grace: late records of closed sessions are dropped",
            io(in("in", STR), out("out", session(), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(30))).count(ses("counts", L)).toStream().to("out", session(L))).time(15, 0.35, 100, 0.04, 200);
        t("session-count-plain", "session windows, generated names, key as text",
            io(in("in", STR), out("out", I64)),
            b -> str(b, "in").groupBy((k, v) -> first(v), GS).windowedBy(sessions(30, 50)).count().toStream((w, v) -> flat(w)).to("out", SL)).time(15, 0.35, 100, 0.04, 200);
        t("session-reduce", "session windows, reduce",
            io(in("in", STR), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 50)).reduce((x, y) -> cat(x, y), ses("lists", S)).toStream().to("out", session(S))).time(15, 0.35, 150, 0.04, 200);
        t("session-aggregate", "session windows, aggregate and merger: the value shows the order of merges",
            io(in("in", STR).values("x", "y", "z"), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 50)).aggregate(() -> "^", (k, v, a) -> cat(a, v), (k, x, y) -> pair(x, y), ses("lists", S)).toStream().to("out", session(S))).time(12, 0.35, 100, 0.04, 200);
        t("session-in-memory", "session windows in memory",
            io(in("in", STR), out("out", session(), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 50)).count(Materialized.<String, Long>as(Stores.inMemorySessionStore("counts", ms(80))).withKeySerde(S).withValueSerde(L)).toStream().to("out", session(L))).time(15, 0.35, 150, 0.04, 200);
        t("session-cached", "session windows with a cache",
            io(in("in", STR), out("out", session(), I64)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(30, 50)).count(ses("counts", L)).toStream().to("out", session(L))).time(15, 0.35, 150, 0.04, 200).cached();
        t("session-one-key", "session windows, a single key, many merges",
            io(in("in", STR).keys("a").nulls(0, 0.05), out("out", session(), STR)),
            b -> str(b, "in").groupByKey(GS).windowedBy(sessions(12, 300)).reduce((x, y) -> cat(x, y), ses("lists", S)).toStream().to("out", session(S))).time(12, 0.5, 150, 0.02, 100).steps(15, 19);
    }
}

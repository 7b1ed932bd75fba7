package conformance;

import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;

/** One topology of the set: how it is built, what goes in, how what comes out is read. */
final class Spec {
    /** An input topic and the distribution of its records. */
    static final class In {
        final String topic;
        final Fmt key;
        final Fmt value;
        double nullKey = 0.06;
        double nullValue = 0.10;
        /** Chance of a value that cannot be read as the format says: the one byte 78. */
        double bad = 0;
        int weight = 10;
        String[] keys = {"a", "b", "c", "d"};
        String[] values = {"x", "yy", "zzz", "hello", "Kafka", "w v", "", "long value"};
        Function<Rnd, Object> gen;

        In(String topic, Fmt key, Fmt value) {
            this.topic = topic;
            this.key = key;
            this.value = value;
        }

        In nulls(double key, double value) { nullKey = key; nullValue = value; return this; }
        In bad(double p) { bad = p; return this; }
        In weight(int w) { weight = w; return this; }
        In keys(String... k) { keys = k; return this; }
        In values(String... v) { values = v; return this; }
        In gen(Function<Rnd, Object> g) { gen = g; return this; }
    }

    /** An output topic. A name ending in * is a prefix. */
    record Out(String topic, Fmt key, Fmt value) { }

    String family;
    String name;
    String what;
    final List<In> ins = new ArrayList<>();
    final List<Out> outs = new ArrayList<>();
    BiFunction<Properties, Spec, Topology> build;
    final Map<String, String> config = new LinkedHashMap<>();

    // Time of the input: each record moves the clock by 0..step; with probability late it is stamped up to lateMax
    // earlier than the clock; with probability jump the clock first moves up to jumpMax.
    long step = 10;
    double late = 0.15;
    long lateMax = 30;
    double jump = 0.04;
    long jumpMax = 200;
    double advance = 0.0;
    long advanceMax = 0;
    int minSteps = 18;
    int maxSteps = 22;
    /** A last record of the first topic this far ahead of everything, to close windows; 0 for none. */
    long closing = 0;
    double headers = 0.0;
    /** What Kafka Streams does here is not to be asked of anybody: kept in a folder of its own, which no runner looks at. */
    boolean apart = false;

    Spec time(long step, double late, long lateMax, double jump, long jumpMax) {
        this.step = step;
        this.late = late;
        this.lateMax = lateMax;
        this.jump = jump;
        this.jumpMax = jumpMax;
        return this;
    }

    Spec advance(double p, long max) { advance = p; advanceMax = max; return this; }
    Spec closing(long ms) { closing = ms; return this; }
    Spec steps(int min, int max) { minSteps = min; maxSteps = max; return this; }
    Spec headers(double p) { headers = p; return this; }
    Spec apart() { apart = true; return this; }
    Path in(Path out) { return apart ? out.resolve("not-counted") : out; }
    Spec cfg(String k, String v) { config.put(k, v); return this; }
    Spec cached() { return cfg("statestore.cache.max.bytes", "10485760"); }
    Spec optimize(String how) { return cfg("topology.optimization", how); }

    Topology topology(Properties p) { return build.apply(p, this); }

    static BiFunction<Properties, Spec, Topology> dsl(Consumer<StreamsBuilder> body) {
        return (p, s) -> {
            StreamsBuilder b = new StreamsBuilder(new org.apache.kafka.streams.TopologyConfig(new org.apache.kafka.streams.StreamsConfig(p)));
            body.accept(b);
            return b.build(p);
        };
    }
}

package conformance;

import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.TreeMap;

/**
 * Writes the set: {@code Gen OUT FIRST_SEED LAST_SEED [what] [only]}, what being a list out of vectors, descriptions,
 * docs, formats (all when left out), only a prefix of topology names.
 */
public final class Gen {
    private static final String[] OPTIMIZATIONS = {
        StreamsConfig.OPTIMIZE, StreamsConfig.MERGE_REPARTITION_TOPICS,
        StreamsConfig.REUSE_KTABLE_SOURCE_TOPICS, StreamsConfig.SINGLE_STORE_SELF_JOIN};

    public static void main(String[] args) throws Exception {
        Path out = Path.of(args.length > 0 ? args[0] : "..");
        long from = args.length > 1 ? Long.parseLong(args[1]) : 1;
        long to = args.length > 2 ? Long.parseLong(args[2]) : 6;
        String what = args.length > 3 ? args[3] : "vectors,descriptions,docs,formats";
        String only = args.length > 4 ? args[4] : "";
        if (what.contains("descriptions")) descriptions(out, only);
        if (what.contains("docs")) Docs.write(out);
        if (what.contains("formats")) Formats.write(out.resolve("formats"));
        if (what.contains("vectors")) vectors(out, from, to, only);
    }

    private static void vectors(Path out, long from, long to, String only) throws Exception {
        List<String> odd = new ArrayList<>();
        int files = 0;
        long bytes = 0;
        TreeMap<String, Integer> families = new TreeMap<>();
        for (Spec s : Topologies.ALL) {
            if (!s.name.startsWith(only)) continue;
            Path dir = Files.createDirectories(s.in(out).resolve("vectors").resolve(s.name));
            int records = 0;
            for (long seed = from; seed <= to; seed++) {
                Recorder r = new Recorder(s, seed, seed % 10 == 1);
                try {
                    String text = r.record();
                    Files.writeString(dir.resolve(seed + ".json"), text);
                    bytes += text.length();
                    files++;
                    records += r.outRecords;
                    if (r.error != null) odd.add(s.name + "/" + seed + " threw " + r.error);
                } catch (Exception e) {
                    odd.add(s.name + "/" + seed + " NOT RECORDED " + e);
                    if (odd.size() < 5) e.printStackTrace();
                }
            }
            families.merge(s.family, 1, Integer::sum);
            if (records < 8 * (to - from + 1)) odd.add(s.name + " emits little: " + records);
        }
        System.out.println(families);
        System.out.println(files + " vectors, " + bytes / 1024 + " KiB");
        odd.forEach(System.out::println);
    }

    private static void descriptions(Path out, String only) throws Exception {
        for (Spec s : Topologies.ALL) {
            if (!s.name.startsWith(only)) continue;
            Path dir = Files.createDirectories(s.in(out).resolve("descriptions"));
            Path topics = Files.createDirectories(s.in(out).resolve("internal-topics"));
            try {
                String plain = describe(s, s.config.getOrDefault(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.NO_OPTIMIZATION));
                Files.writeString(dir.resolve(s.name + ".txt"), plain);
                Files.writeString(topics.resolve(s.name + ".json"), InternalTopics.of(s));
                if (s.config.containsKey(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG)) continue;
                for (String o : OPTIMIZATIONS) {
                    String d = describe(s, o);
                    if (!d.equals(plain)) Files.writeString(dir.resolve(s.name + "." + o + ".txt"), d);
                }
            } catch (Exception e) {
                System.out.println(s.name + " NOT DESCRIBED " + e);
                e.printStackTrace();
            }
        }
    }

    private static String describe(Spec s, String optimization) {
        Properties p = Recorder.properties(s, Path.of("state"));
        p.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, optimization);
        Topology t = s.topology(p);
        return t.describe().toString();
    }
}

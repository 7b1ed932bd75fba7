package conformance;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** Writes TOPOLOGIES.md out of the registrations and their source. */
final class Docs {
    static void write(Path out) throws Exception {
        Path src = Path.of(System.getProperty("source", "src/main/java/conformance"));
        List<Path> files;
        try (var s = Files.list(src)) { files = s.filter(p -> p.toString().endsWith(".java")).sorted(Comparator.naturalOrder()).toList(); }
        List<String> sources = new ArrayList<>();
        for (Path p : files) sources.add(Files.readString(p));

        StringBuilder sb = new StringBuilder();
        sb.append("# Topologies\n\nGenerated from `generator/src`; ").append(Topologies.ALL.size()).append(" topologies.\n\n")
            .append("Each entry gives what is exercised, the input records, and the Java source of the registration. In the source, `io(...)` names the topics: ")
            .append("`in(topic, value format)` and `out(topic, [key format,] value format)`, keys being strings unless a format is given; the function after it builds the topology. ")
            .append("Calls after the builder (`time`, `advance`, `closing`, `steps`, `headers`) shape the input only; `cfg`, `cached` (`statestore.cache.max.bytes` 10485760) and `optimize` (`topology.optimization`) set the configuration that every vector repeats under `config`; what is `apart` is recorded into `not-counted/`. ")
            .append("Unless said otherwise: `application.id` conf, no cache, default serdes String, optimization none.\n\n")
            .append("Formats: `STR` UTF-8 string, `I64` 8-byte big-endian signed integer, `JSON` compact JSON with the fields in the order in which the source puts them, ")
            .append("`windowed(n)` TimeWindowedSerde of strings with window size n, `session()` SessionWindowedSerde of strings.\n\n")
            .append("## Words used in the source\n\n```java\n").append(section(sources, files, "H.java", "    static final Serde<String> S", "    // Registration.")).append("```\n\n")
            .append("Shorthands of windows and joins:\n\n```java\n")
            .append(section(sources, files, "Windows.java", "    static final EmitStrategy", "    static void register"))
            .append(section(sources, files, "StreamJoins.java", "    static JoinWindows within", "    static void register"))
            .append(section(sources, files, "TableJoins.java", "    static Object[] two", "    static void register"))
            .append(section(sources, files, "ForeignKeys.java", "    /** Left keys", "    static void register"))
            .append(section(sources, files, "Versioned.java", "    /** A versioned store", "    static void register"))
            .append(section(sources, files, "Formatted.java", "    static Spec headersFormat", "    static void register"))
            .append("```\n\nProcessors:\n\n```java\n")
            .append(section(sources, files, "Processors.java", "    /** A processor out of", "    static void register"))
            .append("```\n\nA null written by string concatenation is the text `null`. `cat` and `pair` do so too.\n");

        java.util.Map<String, Integer> counts = new java.util.LinkedHashMap<>();
        for (Spec s : Topologies.ALL) counts.merge(s.family, 1, Integer::sum);
        sb.append("\n## Families\n\n| family | topologies |\n|---|---|\n");
        counts.forEach((f, n) -> sb.append("| ").append(f).append(" | ").append(n).append(" |\n"));

        String family = "";
        for (Spec s : Topologies.ALL) {
            if (!s.family.equals(family)) {
                family = s.family;
                sb.append("\n## ").append(family).append("\n");
            }
            sb.append("\n### ").append(s.name).append("\n\n").append(Character.toUpperCase(s.what.charAt(0))).append(s.what.substring(1)).append(".\n\n");
            for (Spec.In in : s.ins) {
                sb.append("- in `").append(in.topic).append("`: keys ").append(String.join(" ", in.keys)).append(", values ").append(in.value.name)
                    .append(String.format(Locale.ROOT, ", null key %.0f %%, null value %.0f %%%n", in.nullKey * 100, in.nullValue * 100));
            }
            for (Spec.Out o : s.outs) sb.append("- out `").append(o.topic()).append("`: key ").append(o.key().name).append(", value ").append(o.value().name).append("\n");
            sb.append(String.format(Locale.ROOT, "- time: steps of 0 to %d ms, %.0f %% late by up to %d ms, %.0f %% jumps of up to %d ms", s.step, s.late * 100, s.lateMax, s.jump * 100, s.jumpMax));
            if (s.advance > 0) sb.append(String.format(Locale.ROOT, "; %.0f %% of the steps advance the wall clock by up to %d ms", s.advance * 100, s.advanceMax));
            if (s.closing > 0) sb.append("; a last record ").append(s.closing).append(" ms ahead");
            sb.append("\n");
            if (!s.config.isEmpty()) sb.append("- config: ").append(s.config).append("\n");
            sb.append("\n```java\n").append(registration(sources, s.name)).append("\n```\n");
        }
        Files.writeString(out.resolve("TOPOLOGIES.md"), sb.toString());
    }

    private static String section(List<String> sources, List<Path> files, String file, String from, String to) {
        for (int i = 0; i < files.size(); i++) {
            if (!files.get(i).getFileName().toString().equals(file)) continue;
            String s = sources.get(i);
            int a = s.indexOf(from), b = s.indexOf(to, a);
            if (a < 0 || b < 0) throw new IllegalStateException(file + " has no " + from);
            return dedent(s.substring(a, b));
        }
        throw new IllegalStateException(file);
    }

    private static String registration(List<String> sources, String name) {
        for (String s : sources) {
            for (String head : new String[] {"t(\"" + name + "\",", "add(\"" + name + "\","}) {
                int a = s.indexOf(head);
                if (a < 0) continue;
                a = s.lastIndexOf('\n', a) + 1;
                int depth = 0;
                boolean text = false;
                for (int i = a; i < s.length(); i++) {
                    char c = s.charAt(i);
                    if (text) {
                        if (c == '\\') i++;
                        else if (c == '"') text = false;
                    } else if (c == '\'') {
                        i = s.charAt(i + 1) == '\\' ? i + 3 : i + 2;
                    } else if (c == '"') text = true;
                    else if (c == '(' || c == '{') depth++;
                    else if (c == ')' || c == '}') depth--;
                    else if (c == ';' && depth == 0) return dedent(s.substring(a, i + 1));
                }
            }
        }
        throw new IllegalStateException("no source for " + name);
    }

    private static String dedent(String s) {
        int n = 0;
        while (n < s.length() && s.charAt(n) == ' ') n++;
        StringBuilder sb = new StringBuilder();
        for (String l : s.split("\n", -1)) {
            int i = 0;
            while (i < n && i < l.length() && l.charAt(i) == ' ') i++;
            sb.append(l.substring(i)).append("\n");
        }
        return sb.substring(0, sb.length() - 1);
    }
}

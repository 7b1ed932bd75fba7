package conformance_test

import (
	"strings"
	"testing"

	"github.com/millrun/millrun/conformance/set"
	"github.com/millrun/millrun/stream"
)

// The runner has to fail where the library is wrong, so it is given sets that are not true.

// shouted is a topology of no set.
var shouted = t("shouted", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
	strTableOf(b, "in").MapValues(shout, kv("upper", S)...).ToStream().To("out", SS...)
})

const shoutedVector = `{"topology":"shouted","seed":1,"config":{"application.id":"conf","statestore.cache.max.bytes":"0"},"wallClockMs":1000,"steps":[
{"op":"pipe","topic":"in","key":"a","value":"x","ts":6,"headers":[["h","v"]],"out":[{"topic":"out","key":"a","value":"X","ts":6,"headers":[["h","v"]]}],"internal":[["conf-upper-changelog","61","58",6]]},
{"op":"advance","ms":5},
{"op":"pipe","topic":"in","key":"b","value":null,"ts":7,"out":[{"topic":"out","key":"b","value":null,"ts":7}],"internal":[["conf-upper-changelog","62",null,7]]}],
"stores":{"upper":{"type":"timestamped-kv","rows":[{"key":"a","value":"X","ts":6}]}}}`

func TestTheFirstDifferenceIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, from, to, want string }{
		{"as it is", "", "", ""},
		{"another value", `"value":"X","ts":6,"headers"`, `"value":"Y","ts":6,"headers"`, `step 1, in "a"="x" @6 [h="v"]: out 1: got out "a"="X" @6 [h="v"], want out "a"="Y" @6 [h="v"]`},
		{"another time", `"b","value":null,"ts":7}]`, `"b","value":null,"ts":8}]`, `step 3, in "b"=null @7: out 1: got out "b"=null @7, want out "b"=null @8`},
		{"another header", `"ts":6,"headers":[["h","v"]]}]`, `"ts":6,"headers":[["h",null]]}]`, `want out "a"="X" @6 [h=null]`},
		{"nothing for null", `"out":[{"topic":"out","key":"b","value":null,"ts":7}],`, ``, `got out "b"=null @7, want nothing`},
		{"too little", `"op":"advance","ms":5}`, `"op":"advance","ms":5,"out":[{"topic":"out","key":"a","value":"X","ts":6}]}`, `step 2, advance 5 ms: out 1: got nothing`},
		{"other bytes", `"61","58",6]`, `"61","59",6]`, `internal 1: got conf-upper-changelog "61"="58" @6, want conf-upper-changelog "61"="59" @6`},
		{"an empty key", `"62",null,7]`, `"",null,7]`, `want conf-upper-changelog ""=null @7`},
		{"another row", `"rows":[{"key":"a","value":"X","ts":6}]`, `"rows":[{"key":"a","value":"X","ts":7}]`, `store upper, row 1: got "a"="X" @6, want "a"="X" @7`},
		{"no row", `"rows":[{"key":"a","value":"X","ts":6}]`, `"rows":[]`, `store upper, row 1: got "a"="X" @6, want nothing`},
		{"another store", `"stores":{"upper"`, `"stores":{"lower"`, `no store lower`},
		{"another type", `"type":"timestamped-kv"`, `"type":"session"`, `which has no Fetch, want a session`},
		{"an error", `"op":"advance","ms":5}`, `"op":"pipe","topic":"in","key":"a","value":"x","ts":1,"error":"KafkaException"}`, `nothing failed, want KafkaException`},
		{"a setting", `"application.id":"conf",`, `"application.id":"conf","no.such":"1",`, `setting no.such=1: the library has no such setting`},
		{"a topic", `"op":"pipe","topic":"in","key":"b"`, `"op":"pipe","topic":"nowhere","key":"b"`, `the topology has no topic nowhere`},
		{"a time that fails", `"value":"x","ts":6`, `"value":"x","ts":-6`, `step 1, in "a"="x" @-6 [h="v"]: it stopped`},
	} {
		if !strings.Contains(shoutedVector, c.from) {
			t.Fatalf("%s: the vector has no %s", c.name, c.from)
		}
		v, err := set.Parse([]byte(strings.Replace(shoutedVector, c.from, c.to, 1)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := try(t, func(p *probe) string { return shouted.replay(p, v) })
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDescriptionsAreCompared(t *testing.T) {
	t.Parallel()
	top, err := shouted.built(shouted.settings())
	if err != nil {
		t.Fatal(err)
	}
	if diff := shouted.describe(top.Describe(), ""); diff != "" {
		t.Error(diff)
	}
	if diff := shouted.describe(strings.Replace(top.Describe(), "(topic: out)", "(topic: in)", 1), ""); !strings.Contains(diff, `(topic: out)", want "    Sink`) {
		t.Errorf("got %q", diff)
	}
	const needs = `[{"subtopology":0,"sources":["in"],"sinks":["out"],"repartition":{},"changelog":
		{"conf-upper-changelog":{"enforcePartitions":false,"config":{"cleanup.policy":"compact","message.timestamp.type":"CreateTime"}}}}]`
	if diff := shouted.needs([]byte(needs)); diff != "" {
		t.Error(diff)
	}
	for from, to := range map[string]string{`"compact"`: `"delete"`, `["out"]`: `[]`, `"conf-upper`: `"conf-lower`, `}]`: `},{"subtopology":1}]`, `"subtopology":0`: `"subtopology":1`} {
		if diff := shouted.needs([]byte(strings.Replace(needs, from, to, 1))); diff == "" {
			t.Errorf("%s instead of %s is not seen", to, from)
		}
	}
}

func TestFormatsAreCompared(t *testing.T) {
	t.Parallel()
	for file, content := range map[string]string{
		"formats/nothing-known.json":   `[]`,
		"formats/murmur3-hash128.json": `[{"data":"61","hash128":"3361634e7e0f5188e9c7dda24eae326c"}]`,
		"formats/serde.json":           `[{"serde":"long","value":"1","bytes":"0000000000000002"}]`,
		"formats/outer-join-list.json": `[]`,
		"formats/change.json":          `{`,
	} {
		if checkFormat(file, []byte(content)) == "" {
			t.Errorf("%s holds what is not true, and passed", file)
		}
	}
}

func TestNothingIsSkipped(t *testing.T) {
	t.Parallel()
	s := set.Set{
		"vectors/nobody-registers-this/1.json": []byte(shoutedVector), "descriptions/nobody-registers-this.all.txt": nil,
		"internal-topics/nobody-registers-this.json": nil, "formats/nobody-knows-this.json": nil, "descriptions/filter.txt": []byte("nothing of the kind"),
	}
	items := itemsOf(s)
	run(t, s, items)
	text, total, failed := report(items)
	if total != "0 passed, 5 failed" || failed != 5 {
		t.Errorf("got %s, %d", total, failed)
	}
	for _, want := range []string{
		"FAILED vectors/nobody-registers-this/1.json: no topology nobody-registers-this is registered\n", "(not registered)             0 passed     3 failed\n",
		"FAILED descriptions/filter.txt: line 1: got \"Topologies:\", want \"nothing of the kind\"\n", "stateless ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestAnItemThatPanicsFailsAlone(t *testing.T) {
	t.Parallel()
	closed := false
	diff := try(t, func(p *probe) string {
		p.Cleanup(func() { closed = true })
		panic("broken")
	})
	if !strings.HasPrefix(diff, "panic: broken") || !closed {
		t.Errorf("got %q, cleaned up: %v", diff, closed)
	}
	if diff := try(t, func(p *probe) string { p.Fatalf("no %s", "store"); return "not reached" }); diff != "no store" {
		t.Errorf("got %q", diff)
	}
	if diff := try(t, func(p *probe) string { p.Cleanup(func() { p.Error("late") }); return "" }); diff != "late" {
		t.Errorf("got %q", diff)
	}
}

func TestARestrictionNamesFamilyAndPath(t *testing.T) {
	t.Parallel()
	s := set.Set{"vectors/filter/1.json": nil, "vectors/count/1.json": nil, "descriptions/count.txt": nil}
	items, err := restricted(itemsOf(s), "^aggregate vectors/")
	if err != nil || len(items) != 1 || items[0].file != "vectors/count/1.json" {
		t.Errorf("%v, %v", items, err)
	}
	if _, err := restricted(nil, "("); err == nil {
		t.Error("( is no expression")
	}
}

func TestThePackedSetIsWhole(t *testing.T) {
	t.Parallel()
	s, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	for folder, atLeast := range map[string]int{set.Vectors: 1932, set.Descriptions: 350, set.InternalTopics: 322, set.Formats: 17} {
		if n := len(s.Files(folder)); n < atLeast {
			t.Errorf("%d files in %s, want %d: was a part packed?", n, folder, atLeast)
		}
	}
}

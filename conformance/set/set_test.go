package set_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/conformance/set"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder writes a small set, and things that belong to none.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var small = map[string]string{
	"vectors/b/2.json": "b2", "vectors/b/1.json": "b1", "vectors/a/1.json": "", "descriptions/a.txt": "Topologies",
	"formats/serde.json": "[]", "README.md": "no part of it", "not-counted/vectors/c/1.json": "nor is this",
}

func TestAFolderIsReadAndPacked(t *testing.T) {
	t.Parallel()
	s, err := set.Load(folder(t, small))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Files(set.Vectors), []string{"vectors/a/1.json", "vectors/b/1.json", "vectors/b/2.json"}; !slices.Equal(got, want) {
		t.Errorf("vectors %v, want %v", got, want)
	}
	if len(s) != 5 {
		t.Errorf("%v: a set has its own folders only", slices.Sorted(maps.Keys(s)))
	}
	var once, twice bytes.Buffer
	if err := errors.Join(s.Pack(&once), maps.Clone(s).Pack(&twice)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), twice.Bytes()) {
		t.Error("the same set gives other bytes")
	}
	back, err := set.Unpack(&once)
	if err != nil || !maps.EqualFunc(back, s, bytes.Equal) {
		t.Errorf("%d files came back of %d (%v)", len(back), len(s), err)
	}
}

func TestASetWithoutVectorsIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := set.Load(folder(t, map[string]string{"descriptions/a.txt": "Topologies"})); !errors.Is(err, set.ErrEmpty) {
		t.Errorf("got %v", err)
	}
	if _, err := set.Load(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, set.ErrEmpty) {
		t.Errorf("got %v", err)
	}
	if _, err := set.Unpack(bytes.NewReader([]byte("no archive"))); err == nil {
		t.Error("no archive was read")
	}
}

func TestFilesNameTheirTopology(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][2]string{
		"vectors/count/1.json":                            {"count", ""},
		"descriptions/count.txt":                          {"count", ""},
		"descriptions/count.merge.repartition.topics.txt": {"count", "merge.repartition.topics"},
		"internal-topics/count.json":                      {"count", ""},
		"formats/serde.json":                              {"", ""},
	} {
		if name, how := set.Topology(file); name != want[0] || how != want[1] {
			t.Errorf("%s: %q %q, want %q", file, name, how, want)
		}
	}
}

func TestVectorsAreParsed(t *testing.T) {
	t.Parallel()
	v, err := set.Parse([]byte(`{"topology":"count","seed":11,"config":{"application.id":"conf"},"wallClockMs":1000,"steps":[
		{"op":"pipe","topic":"in","key":null,"value":"x","ts":6,"headers":[["h",null],["h","v"]],
		 "internal":[["t","64",null,null],["t",null,"00",6,[["h","76"]]]]}],"stores":{"s":{"type":"kv","rows":[{"key":"a","value":1}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := v.Steps[0]
	if !v.Details() || s.Headers[0].Value != nil || *s.Headers[1].Value != "v" {
		t.Errorf("headers %v", s.Headers)
	}
	one, two := s.Internal[0], s.Internal[1]
	if one.TS != nil || one.Value != nil || *one.Key != "64" || *two.TS != 6 || two.Key != nil || two.Headers[0].Name != "h" {
		t.Errorf("internal %v %v", one, two)
	}
	for _, bad := range []string{`{`, `{"steps":[{"headers":[["h"]]}]}`, `{"steps":[{"internal":[["t",1,null,null]]}]}`, `{"steps":[{"internal":[["t",null,null,1,[],1]]}]}`} {
		if _, err := set.Parse([]byte(bad)); err == nil {
			t.Errorf("%s is no vector", bad)
		}
	}
}

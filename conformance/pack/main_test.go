package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/conformance/set"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFolderIsPacked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "vectors", "count"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vectors", "count", "1.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "set.tar.gz")
	if err := run([]string{dir, file}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := set.Unpack(f); err != nil || string(s["vectors/count/1.json"]) != "{}" {
		t.Errorf("%v (%v)", s, err)
	}
	for _, args := range [][]string{nil, {dir, file, file}, {t.TempDir(), file}} {
		if run(args) == nil {
			t.Errorf("%v was packed", args)
		}
	}
}

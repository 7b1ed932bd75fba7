package demo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrun/millrun/internal/config"
	"github.com/millrun/millrun/processors/images"
)

func TestBombIsSmallAndClaimsItsSize(t *testing.T) {
	t.Parallel()
	b, err := bomb()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 60_000 {
		t.Errorf("the bomb has %d bytes; it is meant to look harmless", len(b))
	}
	_, err = images.Header(bytes.NewReader(b), images.Limits{})
	if _, refused := errors.AsType[*images.Error](err); !refused {
		t.Errorf("its header is read as %v, want a refusal", err)
	}
}

func TestNeedlesAreFoundWhereTheyAre(t *testing.T) {
	t.Parallel()
	n := newNeedles()
	n.add([]byte("0123456789abcdefghij"), "needle")
	n.add([]byte("short"), "too short to be sought")
	if n.count() != 1 {
		t.Fatalf("%d needles, want 1", n.count())
	}
	if what := n.in([]byte("hay 0123456789abcdefghij hay")); what != "needle" {
		t.Errorf("found %q", what)
	}
	if what := n.in([]byte("hay 0123456789abcdefgh!! hay")); what != "" {
		t.Errorf("found %q where only its beginning is", what)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("..0123456789abcdefghij.."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.searchDir(dir); err == nil || !strings.Contains(err.Error(), "file holds the needle") {
		t.Errorf("the search says %v", err)
	}
}

func TestOnlyADemosFolderIsEmptied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := emptyDir(dir); !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("somebody's folder: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Fatal("somebody's file is gone")
	}
	own := filepath.Join(dir, "demo")
	for range 2 {
		if err := emptyDir(own); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(own, "left over"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReportCountsAndPrints(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := newReport(&out)
	r.check("one", func() (string, error) { return "detail", nil })
	r.check("two", func() (string, error) { return "", errors.New("broken") })
	if got := r.last(); got != "demo: 1 checks passed, 1 failed" {
		t.Errorf("last line is %q", got)
	}
	if !strings.Contains(out.String(), "ok   one (detail)") || !strings.Contains(out.String(), "FAIL two (broken)") {
		t.Errorf("printed:\n%s", &out)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Contains(b, []byte(`"name": "two"`)) {
		t.Errorf("report file: %s %v", b, err)
	}
}

func TestDrawnPhotosDecode(t *testing.T) {
	t.Parallel()
	photos, err := drawnPhotos()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range photos {
		if !p.decodes || telling(p.bytes) == nil {
			t.Errorf("%s: decodes %t, has a telling piece %t", p.name, p.decodes, telling(p.bytes) != nil)
		}
	}
}

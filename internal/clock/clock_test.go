package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestManualOnlyGoesForward(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	m := NewManual(start)
	m.Advance(time.Hour)
	m.Advance(-2 * time.Hour)
	if got := m.Now(); !got.Equal(start.Add(time.Hour)) {
		t.Fatalf("clock stands at %s, want one hour after %s", got, start)
	}
}

func TestFileIsSeenByOthersAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock.json")
	a, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Offset() != 0 {
		t.Fatalf("a new clock is %s ahead", a.Offset())
	}
	if _, err := a.Advance(time.Hour); err != nil {
		t.Fatal(err)
	}
	b, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Offset() != time.Hour {
		t.Fatalf("a second reader is %s ahead, want 1h", b.Offset())
	}
	if got, err := b.Advance(30 * time.Minute); err != nil || got != 90*time.Minute {
		t.Fatalf("advance by a second process: %s, %v; want 1h30m", got, err)
	}
}

func TestFileRefusesToGoBack(t *testing.T) {
	t.Parallel()
	f, err := OpenFile(filepath.Join(t.TempDir(), "clock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Advance(-time.Second); err == nil {
		t.Fatal("a negative step was accepted")
	}
}

func TestFileThatIsNoClockIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock.json")
	if err := os.WriteFile(path, []byte("soon"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path); err == nil {
		t.Fatal("a file without an offset was accepted")
	}
}

package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestManyAskersFillOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var filled atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := Prepared(t.Context(), dir, "tool-1", func(_ context.Context, dir string) error {
				filled.Add(1)
				return os.WriteFile(filepath.Join(dir, "tool"), []byte("x"), 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(got, "tool")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if filled.Load() != 1 {
		t.Fatalf("filled %d times, want once", filled.Load())
	}
}

func TestInterruptedFillingIsNotTrusted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	boom := errors.New("connection lost")
	_, err := Prepared(t.Context(), dir, "tool-1", func(_ context.Context, dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatalf("error %v, want the cause", err)
	}
	got, err := Prepared(t.Context(), dir, "tool-1", func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(got, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a file of the interrupted filling is still there: %v", err)
	}
}

// Not parallel: it sets the environment of the process.
func TestEnvironmentOverridesTheFolder(t *testing.T) {
	want := t.TempDir()
	t.Setenv(Env, want)
	if got, err := Dir(); err != nil || got != want {
		t.Fatalf("Dir() = %q, %v; want %q", got, err, want)
	}
}

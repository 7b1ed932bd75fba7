package stream_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state/pebble"
)

// journal counts what was restored, and keeps the log.
type journal struct {
	records atomic.Int64
	mu      sync.Mutex
	text    bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) says(what string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), what)
}

// onDisk is an exactly-once word count with its store in dir.
func onDisk(dir string, j *journal) stream.Config {
	c := once("disk")
	c.Stores, c.StateDir = pebble.Engine(pebble.CacheBytes(1<<20)), dir
	c.Log = slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.OnRestore = func(e stream.RestoreEvent) {
		if e.Done {
			j.records.Add(e.Restored)
		}
	}
	return c
}

// counted runs the word count until it has counted n times what it was given, and stops it.
func counted(c *cluster, dir string, n int64, lines []pair, want map[string]int64) *journal {
	c.t.Helper()
	j := &journal{}
	_, stop := c.app(wordCount(), onDisk(dir, j))
	c.produce("lines", lines...)
	sum := map[string]int64{}
	for k := range want {
		sum[k] = n * want[k]
	}
	c.ledger("word-counts", sum)
	stop()
	return j
}

func TestAStoreOnDiskOutlivesARestart(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(3, "lines", "word-counts")
	lines, want := letters(500)
	dir := t.TempDir()
	counted(c, dir, 1, lines, want)
	if j := counted(c, dir, 2, lines, want); j.records.Load() != 0 {
		t.Errorf("%d records were restored although everything was on disk", j.records.Load())
	}
	if j := counted(c, t.TempDir(), 3, lines, want); j.records.Load() == 0 { // another machine
		t.Error("nothing was restored into an empty directory")
	}
	j := counted(c, dir, 4, lines, want)
	if n, all := j.records.Load(), int64(4*len(lines)); n == 0 || n >= all {
		t.Errorf("%d records were restored, want those since the directory was left and not all %d", n, all)
	}
}

// damage writes over the files of a store.
func damage(t *testing.T, dir string, name func(string) bool) {
	t.Helper()
	done := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !name(e.Name()) {
			return err
		}
		done++
		return os.WriteFile(path, bytes.Repeat([]byte("damaged "), 100), 0o600)
	})
	if err != nil || done == 0 {
		t.Fatalf("%d files damaged: %v", done, err)
	}
}

func TestADamagedStoreIsRestored(t *testing.T) {
	t.Parallel()
	for what, name := range map[string]func(string) bool{
		"the list of its files": func(n string) bool { return strings.HasPrefix(n, "MANIFEST") },
		"its rows":              func(n string) bool { return strings.HasSuffix(n, ".sst") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(2, "lines", "word-counts")
			lines, want := letters(300)
			dir := t.TempDir()
			counted(c, dir, 1, lines, want)
			counted(c, dir, 2, lines, want) // opening it has written files of rows
			damage(t, dir, name)
			if j := counted(c, dir, 3, lines, want); j.records.Load() == 0 {
				t.Errorf("nothing was restored; log: %s", j.text.String())
			}
		})
	}
}

func TestAStoreAheadOfItsChangelogIsRebuilt(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	lines, want := letters(300)
	dir := t.TempDir()
	counted(c, dir, 1, lines, want)
	const changelog = "disk-counts-changelog"
	if _, err := c.admin.DeleteTopic(c.ctx(), changelog); err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	_, stop := c.app(wordCount(), onDisk(dir, j))
	c.produce("lines", lines...)
	c.latest("word-counts", int64Of, want) // counted from nothing, as the changelog says
	stop()
	if !j.says("was made anew") {
		t.Errorf("the log does not say so: %s", j.text.String())
	}
}

func TestAStoreBehindTheBeginningOfItsChangelogIsRebuilt(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	lines, want := letters(300)
	dir := t.TempDir()
	counted(c, dir, 1, lines, want)
	counted(c, t.TempDir(), 2, lines, want)
	const changelog = "disk-counts-changelog"
	ends, err := c.admin.ListEndOffsets(c.ctx(), changelog)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(changelog, 0)
	cut := kadm.Offsets{}
	cut.AddOffset(changelog, 0, end.Offset, -1)
	if _, err := c.admin.DeleteRecords(c.ctx(), cut); err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	_, stop := c.app(wordCount(), onDisk(dir, j))
	c.produce("lines", lines...)
	c.latest("word-counts", int64Of, want)
	stop()
	if !j.says("topic disk-counts-changelog begins at") {
		t.Errorf("the log does not say so: %s", j.text.String())
	}
}

// TestAnAbortedTransactionCostsNoLocalState lets transactions fail after much was counted: what is restored then is nothing,
// since nothing came after the last commit.
func TestAnAbortedTransactionCostsNoLocalState(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	lines, want := letters(500)
	j := &journal{}
	c.app(wordCount(), onDisk(t.TempDir(), j))
	c.produce("lines", lines...)
	c.ledger("word-counts", want)
	aborted := 0
	for range 3 {
		f := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidProducerEpoch, Count: 1})
		c.produce("lines", lines...)
		if err := f.Wait(c.ctx(), 1); err != nil {
			t.Fatal(err)
		}
		aborted++
	}
	for k := range want {
		want[k] *= int64(1 + aborted)
	}
	c.ledger("word-counts", want)
	if n := j.records.Load(); n != 0 {
		t.Errorf("%d records were restored after an abort", n)
	}
}

func TestOneDirectoryServesOneInstance(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	dir := t.TempDir()
	c.app(wordCount(), onDisk(dir, &journal{}))
	err := c.ended(wordCount(), onDisk(dir, &journal{}))
	if err == nil || !strings.Contains(err.Error(), "is held by this process") || !strings.Contains(err.Error(), "Config.StateDir of its own") {
		t.Errorf("got %v", err)
	}
}

// TestThreadsHandTasksOnDiskToEachOther lets tasks move between threads, which share a directory.
func TestThreadsHandTasksOnDiskToEachOther(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts")
	lines, want := letters(300)
	j := &journal{}
	a, _ := c.app(wordCount(), onDisk(t.TempDir(), j))
	c.produce("lines", lines...)
	c.ledger("word-counts", want)
	if _, err := a.AddThread(); err != nil {
		t.Fatal(err)
	}
	c.produce("lines", lines...)
	c.ledger("word-counts", twice(want))
	if _, err := a.RemoveThread(c.ctx()); err != nil {
		t.Fatal(err)
	}
	c.produce("lines", lines...)
	c.produce("lines", lines...)
	c.ledger("word-counts", twice(want))
	if n := j.records.Load(); n != 0 {
		t.Errorf("%d records were restored although no task left the directory", n)
	}
}

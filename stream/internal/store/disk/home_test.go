package disk

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/models"
	"github.com/millrun/millrun/stream/internal/store"
)

// TestMain tries a tenth as often as other models do: each run opens databases.
func TestMain(m *testing.M) {
	models.Checks()
	if os.Getenv("MODEL_CHECKS") == "" {
		if err := flag.Set("rapid.checks", "100"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func key() *rapid.Generator[[]byte] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'r', 255}), 0, 3), func(b []byte) []byte { return append([]byte{}, b...) })
}

func value() *rapid.Generator[[]byte] {
	return rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 3), func(b []byte) []byte { return append([]byte{}, b...) })
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func ok(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func all(t failer, r store.Reader, reverse bool) [][2]string {
	t.Helper()
	var out [][2]string
	k, v, found, err := r.Seek(nil, reverse, false)
	for ; found; k, v, found, err = r.Seek(k, reverse, true) {
		out = append(out, [2]string{string(k), string(v)})
	}
	ok(t, err)
	return out
}

// same compares all that can be read, with the neighbours of one key apart.
func same(t failer, got, want store.Reader, at []byte) {
	t.Helper()
	for _, reverse := range []bool{false, true} {
		g, w := all(t, got, reverse), all(t, want, reverse)
		if len(g) != len(w) {
			t.Fatalf("reverse %v: rows %q, want %q", reverse, g, w)
		}
		for i := range g {
			if g[i] != w[i] {
				t.Fatalf("reverse %v: rows %q, want %q", reverse, g, w)
			}
		}
		for _, past := range []bool{false, true} {
			gk, gv, gok, err := got.Seek(at, reverse, past)
			ok(t, err)
			wk, wv, wok, _ := want.Seek(at, reverse, past)
			if gok != wok || !bytes.Equal(gk, wk) || !bytes.Equal(gv, wv) {
				t.Fatalf("seek %q reverse %v past %v: %q %q %v, want %q %q %v", at, reverse, past, gk, gv, gok, wk, wv, wok)
			}
		}
	}
	gv, gok, err := got.Get(at)
	ok(t, err)
	wv, wok, _ := want.Get(at)
	if gok != wok || !bytes.Equal(gv, wv) || gok && gv == nil {
		t.Fatalf("get %q: %q %v, want %q %v", at, gv, gok, wv, wok)
	}
	g, err := got.Len()
	ok(t, err)
	if w, _ := want.Len(); g != w {
		t.Fatalf("%d rows, want %d", g, w)
	}
}

func cloned(t failer, r store.Reader) *store.Tree {
	c := store.NewTree()
	for _, row := range all(t, r, false) {
		c.Set([]byte(row[0]), []byte(row[1]))
	}
	return c
}

// opened is a home with its first map.
type opened struct {
	*Home
	store.Map
}

func open(dir string, fs vfs.FS) (*opened, error) {
	h, err := On(1<<20, fs).open(dir, nil)
	if err != nil {
		return nil, err
	}
	return &opened{h, h.Map(store.Rows)}, nil
}

func (o *opened) at(position int64) error { return o.Commit(store.Mark{Position: position}) }

// TestStoreIsATreeThatCommits compares the store with a tree after every step, over commits, reverts and reopening.
func TestStoreIsATreeThatCommits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		s, err := open("tasks/store", fs)
		ok(t, err)
		defer func() { ok(t, s.Close()) }()
		now, lasting, mark := store.NewTree(), store.NewTree(), store.Mark{Position: store.NoPosition}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := key().Draw(t, "key"), value().Draw(t, "value")
				now.Set(k, v)
				s.Put(k, v)
			},
			"remove": func(t *rapid.T) {
				k := key().Draw(t, "key")
				now.Set(k, nil)
				s.Put(k, nil)
			},
			"remove before": func(t *rapid.T) {
				k := key().Draw(t, "key")
				now.RemoveBefore(k)
				s.RemoveBefore(k)
			},
			"commit": func(t *rapid.T) {
				mark = store.Mark{Position: rapid.Int64Range(0, 1<<40).Draw(t, "position"), Note: value().Draw(t, "note")}
				mark.Topic[3] = rapid.Byte().Draw(t, "topic")
				ok(t, s.Commit(mark))
				lasting = cloned(t, now)
			},
			"revert": func(t *rapid.T) {
				s.Revert()
				now = cloned(t, lasting)
			},
			"reopen": func(t *rapid.T) {
				ok(t, s.Close())
				s, err = open("tasks/store", fs)
				ok(t, err)
				now = cloned(t, lasting)
			},
			"": func(t *rapid.T) {
				probe := key().Draw(t, "probe")
				same(t, s.Shared(), now, probe)
				same(t, s, now, probe)
				if got := s.Mark(); got.Position != mark.Position || got.Topic != mark.Topic || !bytes.Equal(got.Note, mark.Note) {
					t.Fatalf("mark %v, want %v", got, mark)
				}
			},
		})
	})
}

// TestACrashLeavesOneCommit stops at any step with any part of what was not synced on disk.
func TestACrashLeavesOneCommit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		s, err := open("tasks/store", fs)
		ok(t, err)
		defer func() { ok(t, s.Close()) }()
		now := store.NewTree()
		commits := map[int64]*store.Tree{store.NoPosition: store.NewTree()}
		least, last := store.NoPosition, store.NoPosition
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1:
				last++
				ok(t, s.at(last))
				commits[last] = cloned(t, now)
			case 2:
				k := key().Draw(t, "key")
				now.Set(k, nil)
				s.Put(k, nil)
			case 3:
				ok(t, s.db.Flush()) // as it happens when much is written
				least = last
			default:
				k, v := key().Draw(t, "key"), bytes.Repeat(value().Draw(t, "value"), 1+rapid.IntRange(0, 20_000).Draw(t, "times"))
				now.Set(k, v)
				s.Put(k, v)
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(t, "percent"), RNG: rand.New(rand.NewPCG(seed, 1))})
		again, err := open("tasks/store", left)
		ok(t, err)
		defer func() { ok(t, again.Close()) }()
		want, known := commits[again.Mark().Position]
		if !known || again.Mark().Position < least {
			t.Fatalf("position %d after a crash, flushed %d, last %d", again.Mark().Position, least, last)
		}
		same(t, again, want, key().Draw(t, "probe"))
	})
}

func TestAClosedStoreHasItsLastCommitAfterACrash(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s, err := open("store", fs)
	ok(t, err)
	s.Put([]byte("a"), []byte("1"))
	ok(t, s.at(7))
	s.Put([]byte("b"), []byte("2"))
	ok(t, s.Close())
	ok(t, s.Close())
	if _, _, err := s.Get([]byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("get of a closed store: %v", err)
	}
	if err := s.at(8); !errors.Is(err, ErrClosed) {
		t.Errorf("commit of a closed store: %v", err)
	}
	again, err := open("store", fs.CrashClone(vfs.CrashCloneCfg{}))
	ok(t, err)
	defer func() { ok(t, again.Close()) }()
	want := store.NewTree()
	want.Set([]byte("a"), []byte("1"))
	same(t, again, want, []byte("a"))
	if again.Mark().Position != 7 {
		t.Errorf("position %d, want 7", again.Mark().Position)
	}
}

func TestOtherFormatsAreRefused(t *testing.T) {
	t.Parallel()
	for i, row := range [][2]string{{"h", "\x02later"}, {"h", "\x01short"}, {"h", ""}, {"foreign", "row"}} {
		fs := vfs.NewMem()
		db, err := pebble.Open("store", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{pebble.DefaultLogger}})
		ok(t, err)
		ok(t, db.Set([]byte(row[0]), []byte(row[1]), pebble.Sync))
		ok(t, db.Close())
		_, err = open("store", fs)
		var format *FormatError
		if !errors.Is(err, store.ErrDamaged) || !errors.As(err, &format) || format.Dir != "store" || format.Version != []int{2, 1, 0, 0}[i] {
			t.Errorf("%q: %v", row, err)
		}
	}
}

// TestOthersReadWhileOneWrites is for the race detector, and against torn reads: a row is there before, in and after each
// commit.
func TestOthersReadWhileOneWrites(t *testing.T) {
	t.Parallel()
	s, err := open(t.TempDir(), vfs.Default)
	ok(t, err)
	s.Put([]byte("row"), []byte("0"))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, found, err := s.Shared().Get([]byte("row")); err != nil || !found {
					t.Errorf("the row: found %v, %v", found, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		s.Put([]byte("row"), []byte(strconv.Itoa(i)))
		ok(t, s.at(int64(i)))
	}
	close(stop)
	readers.Wait()
	ok(t, s.Close())
}

// TestBothMapsAreCommittedTogether writes to both, with keys that one could take for the other's.
func TestBothMapsAreCommittedTogether(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	h, err := On(1<<20, fs).open("store", nil)
	ok(t, err)
	h.Map(store.Rows).Put([]byte("s"), []byte("row"))
	h.Map(store.Second).Put([]byte("s"), []byte{})
	ok(t, h.Commit(store.Mark{Position: 1}))
	h.Map(store.Second).RemoveBefore([]byte("t"))
	if got := all(t, h.Map(store.Second), false); len(got) != 0 {
		t.Errorf("rows before the cut: %q", got)
	}
	ok(t, h.Commit(store.Mark{Position: 2}))
	ok(t, h.Close())
	h, err = On(1<<20, fs).open("store", nil)
	ok(t, err)
	defer func() { ok(t, h.Close()) }()
	if got := all(t, h.Map(store.Rows), false); len(got) != 1 || got[0] != [2]string{"s", "row"} {
		t.Errorf("rows %q", got)
	}
	if got := all(t, h.Map(store.Second), false); len(got) != 0 {
		t.Errorf("rows that were removed: %q", got)
	}
}

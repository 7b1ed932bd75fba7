package disk

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/millrun/millrun/stream/internal/store"
)

// TestAFullDiskIsAnErrorAndCostsNoCommit fills the disk while a store is at work, frees it and opens the store again.
func TestAFullDiskIsAnErrorAndCostsNoCommit(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.HasSuffix(op.Path, ".sst") && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync) {
			return syscall.ENOSPC
		}
		return nil
	}))
	s, err := On(1<<20, fs).open("store", nil)
	ok(t, err)
	rows := s.Map(store.Rows)
	rows.Put([]byte("a"), []byte("1"))
	ok(t, s.Commit(store.Mark{Position: 1}))
	full.Store(true)
	for n := int64(2); n < 20; n++ {
		rows.Put([]byte("b"), make([]byte, 1<<20)) // until a file of rows has to be written
		if err = errors.Join(err, s.Commit(store.Mark{Position: n})); err != nil {
			break
		}
	}
	err = errors.Join(err, s.Close())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full; free some space") {
		t.Errorf("got %v", err)
	}
	full.Store(false)
	again, err := On(1<<20, mem).open("store", nil)
	ok(t, err)
	defer func() { ok(t, again.Close()) }()
	v, found, err := again.Map(store.Rows).Get([]byte("a"))
	ok(t, err)
	if m := again.Mark(); m.Position != store.NoPosition && (m.Position < 1 || !found || string(v) != "1") {
		t.Errorf("position %d has %q %v", m.Position, v, found)
	}
}

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrun/millrun/stream/internal/store"
)

// Backend opens homes that share a cache. Safe for concurrent use.
type Backend struct {
	cacheBytes int64
	fs         vfs.FS

	mu    sync.Mutex
	cache *pebble.Cache // nil while no home is open
	homes int           // that are open
}

var _ store.Backend = (*Backend)(nil)

// rowsPart is the part of the cache that single rows get; blocks of files get the rest.
const rowsPart = 3

// New returns a Backend whose homes together keep as many bytes of what is in their files in memory.
func New(cacheBytes int64) *Backend { return &Backend{cacheBytes: cacheBytes, fs: vfs.Default} }

// InMemory is the same with directories in memory.
func (b *Backend) InMemory() store.Backend { return On(b.cacheBytes, vfs.NewMem()) }

// On is New on a file system of the caller's choice.
func On(cacheBytes int64, fs vfs.FS) *Backend { return &Backend{cacheBytes: cacheBytes, fs: fs} }

// Open opens the home in dir, or makes it; see store.Backend.
func (b *Backend) Open(dir string, shape *store.Shape) (store.Home, error) {
	h, err := b.open(dir, shape)
	if err != nil {
		return nil, err // not h: a nil *Home is no nil store.Home
	}
	return h, nil
}

// Remove deletes the home in dir.
func (b *Backend) Remove(dir string) error {
	if err := b.fs.RemoveAll(dir); err != nil {
		return failed("remove", dir, err)
	}
	return nil
}

// hold gives a home its part in the cache.
func (b *Backend) hold() *pebble.Cache {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.homes++; b.cache == nil {
		b.cache = pebble.NewCache(b.cacheBytes - b.cacheBytes/rowsPart)
	}
	return b.cache
}

// share is how many bytes of single rows a home may keep in memory as things are.
func (b *Backend) share() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cacheBytes / rowsPart / int64(b.homes)
}

// release takes it back; the last one ends the cache.
func (b *Backend) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.homes--; b.homes == 0 {
		b.cache.Unref()
		b.cache = nil
	}
}

// quiet leaves out what Pebble tells of its daily work, and lets what it takes for fatal be an error of whoever called it: the
// process belongs to the application. What Pebble does by itself, in the background, has no caller; there it still ends the
// process.
type quiet struct{ pebble.Logger }

// fatal is what Pebble said last.
type fatal struct{ msg string }

// Infof drops the message.
func (quiet) Infof(string, ...any) {}

// Fatalf never returns.
func (quiet) Fatalf(format string, args ...any) { panic(fatal{fmt.Sprintf(format, args...)}) }

// attempt makes an error of what Pebble panics with. It then holds locks for ever, so the database is left as it is, which on
// disk is as after a crash.
func (h *Home) attempt(err *error) {
	r := recover()
	if r == nil {
		return
	}
	cause, ok := r.(error)
	if !ok {
		cause = fmt.Errorf("%v", r)
		if f, ok := r.(fatal); ok {
			cause = errors.New(f.msg)
		}
	}
	h.db, h.broken = nil, true
	*err = errors.Join(*err, h.failed("write", cause))
}

// trouble is what went wrong in the background.
type trouble struct {
	once  sync.Once
	there chan struct{} // closed once something has
	err   error         // read after there
}

func newTrouble() *trouble { return &trouble{there: make(chan struct{})} }

// note keeps the first error.
func (t *trouble) note(err error) {
	t.once.Do(func() {
		t.err = err
		close(t.there)
	})
}

// get is the error, or nil as long as all is well.
func (t *trouble) get() error {
	select {
	case <-t.there:
		return t.err
	default:
		return nil
	}
}

// damaged marks an error of opening that another try would not cure: what is on disk does not fit together. Errors of the
// system itself, and a directory that somebody else holds, are not of that kind.
func damaged(err error) error {
	_, system := errors.AsType[syscall.Errno](err)
	if system && !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "lock held by current process") {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrDamaged, err)
}

// failed says what could not be done, with what helps against it.
func failed(what, dir string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = ": the disk is full; free some space and start again, nothing is lost"
	case errors.Is(err, fs.ErrPermission):
		hint = ": let Config.StateDir be a directory that this user may write to"
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return fmt.Errorf("disk: %s %s: %w%s", what, dir, err, hint)
}

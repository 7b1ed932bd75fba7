//go:build synctests

package sim

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/failpoint"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/store/disk"
	"github.com/millrun/millrun/stream/internal/unheard"
)

// machine is where instances run one after the other: a disk that loses what was not synced when one is killed.
type machine struct {
	dir string // of the real file system: locks and names
	fs  *vfs.MemFS
	in  *instance // that ran last
}

// Backend keeps stores on the machine's disk.
func (m *machine) Backend(opt.Seal) store.Backend { return disk.On(1<<20, m.fs) }

// instance is one application with a network of its own that can be cut or stalled.
type instance struct {
	w      *world
	on     *machine
	app    *stream.App
	ctx    context.Context
	cancel context.CancelFunc
	done   chan error
	told   bool // how it ended was looked at
	hands  int  // threads

	mu      sync.Mutex // guards what follows; never held while anything is waited for
	dead    bool
	away    bool // nothing gets through until it is back
	stalled chan struct{}
	conns   []net.Conn
}

// errCut is what a machine without a network answers.
var errCut = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (i *instance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if i.unreachable() {
		return nil, errCut
	}
	c, err := i.w.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead || i.away {
		_ = c.Close()
		return nil, errCut
	}
	i.conns = append(i.conns, c)
	return &wire{unheard.New(c, i.w.loses), i}, nil
}

// latency is how long a request is on its way. Without any, a client that asks again at once for as long as it does not know better
// would keep virtual time from going on: it does so with an epoch of a leader that is not the latest, until its metadata are new.
const latency = 100 * time.Microsecond

// wire is a connection that stands still while its instance is stalled.
type wire struct {
	net.Conn
	i *instance
}

// Write waits until the instance goes on.
func (c *wire) Write(b []byte) (int, error) {
	c.i.wait()
	<-time.After(latency)
	return c.Conn.Write(b)
}

// Read waits until the instance goes on.
func (c *wire) Read(b []byte) (int, error) {
	c.i.wait()
	return c.Conn.Read(b)
}

func (i *instance) wait() {
	i.mu.Lock()
	stalled := i.stalled
	i.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// stall lets the instance's connections stand still for a while, as if the process had been stopped.
func (i *instance) stall(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stalled != nil {
		return
	}
	stalled := make(chan struct{})
	i.stalled = stalled
	time.AfterFunc(d, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.stalled = nil
		close(stalled)
	})
}

// leave lets nothing through for a while: the network is down.
func (i *instance) leave(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = true
	i.hangUp()
	time.AfterFunc(d, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.away = false
	})
}

// cut lets nothing more of the instance reach a broker: for them and its fellows it was killed. What its disk had not synced
// is gone, but for a part.
func (i *instance) cut(r *rand.Rand) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead {
		return
	}
	i.dead = true
	i.hangUp()
	i.on.fs = i.on.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: rand.New(rand.NewPCG(r.Uint64(), 1))})
}

func (i *instance) hangUp() {
	for _, c := range i.conns {
		_ = c.Close()
	}
	i.conns = nil
}

func (i *instance) gone() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead
}

func (i *instance) unreachable() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead || i.away
}

// over says whether the instance has ended, however.
func (i *instance) over() bool {
	select {
	case err := <-i.done:
		i.done <- err
		return true
	default:
		return false
	}
}

// free finds a machine without an instance, or a new one.
func (w *world) free(fresh bool) *machine {
	for _, m := range w.machines {
		if !fresh && (m.in == nil || m.in.over()) {
			return m
		}
	}
	m := &machine{dir: filepath.Join(w.root, strconv.Itoa(len(w.machines))), fs: vfs.NewCrashableMem()}
	w.machines = append(w.machines, m)
	return m
}

// begin starts an instance on a machine; it crashes when it passes failpoint crash for the nth time.
func (w *world) begin(on *machine, crash string, nth int) {
	i := &instance{w: w, on: on, done: make(chan error, 1), hands: 1 + w.r.IntN(2)}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	lot := rand.New(rand.NewPCG(w.r.Uint64(), 2)) // of the instance's own goroutines
	var mu sync.Mutex
	at := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		if name != crash || w.healed.Load() {
			return
		}
		if nth--; nth == 0 {
			w.notef("", "crash at failpoint %s", name)
			i.cut(lot)
			i.cancel()
		}
	}
	c := w.config
	c.Threads, c.ClientOptions, c.StateDir = i.hands, []kgo.Opt{kgo.Dialer(i.dial)}, on.dir
	c.CommitInterval = time.Duration(50+w.r.IntN(1000)) * time.Millisecond
	c.Log = slog.New(slog.DiscardHandler)
	if *logs {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("instance", len(w.all))
	}
	if w.disk {
		c.Stores = on
	}
	app, err := stream.NewApp(topology(w.slow), c)
	if err != nil {
		w.Fatal(err)
	}
	i.app, on.in = app, i
	go func() { i.done <- app.Run(failpoint.With(i.ctx, failpoint.New(at, w.bug))) }()
	w.all = append(w.all, i)
}

// live are the instances that work.
func (w *world) live() (live []*instance) {
	for _, i := range w.all {
		switch {
		case !i.over():
			if !i.gone() {
				live = append(live, i)
			}
		case !i.gone() && !i.told:
			i.told = true
			if err := <-i.done; err != nil && !w.deserved(err) {
				w.failed = errors.Join(w.failed, err)
			}
			i.done <- nil
		}
	}
	return live
}

// deserved says whether an instance may end with an error: its network was down when it began, or a broker refused a record for
// good, which is answered by failing. Others go on from the last commit.
func (w *world) deserved(err error) bool {
	return strings.Contains(err.Error(), "no broker of") || errors.Is(err, kerr.InvalidRecord)
}

// some are the instances that work, of which there is one at least.
func (w *world) some() []*instance {
	if live := w.live(); len(live) > 0 {
		return live
	}
	w.notef("", "restart")
	w.begin(w.free(false), "", 0)
	return w.live()
}

// clear removes what the machines left on the real file system.
func (w *world) clear() { _ = os.RemoveAll(w.root) }

package blobd

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"
)

// Server is the Blob service of one account. It is an http.Handler and can also listen by itself. Safe for
// concurrent use. It owns its folder from Open to Close, one goroutine that looks at the clock, and one per Serve.
type Server struct {
	cfg   Config
	key   []byte
	disk  *disk
	store *store
	lock  *os.File

	operations map[endpoint]*operation

	service atomic.Pointer[serviceRecord]
	setting sync.Mutex // orders changes of service

	http    *http.Server
	stop    context.CancelFunc
	running sync.WaitGroup
	closed  atomic.Bool
	serving sync.RWMutex // held for reading by each request, for writing by Close
}

// Open reads the folder, puts right what a killed process left, makes the configured containers and begins to watch
// the clock. Close the Server after use.
func Open(cfg Config) (*Server, error) {
	cfg, key, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := openDisk(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := d.lock()
	if err != nil {
		return nil, errors.Join(err, d.root.Close())
	}
	s := &Server{cfg: cfg, key: key, disk: d, lock: lock, operations: operationTable()}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, unlock(lock), d.root.Close())
	}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(func() { s.watch(ctx) })
	return s, nil
}

func (s *Server) load() error {
	store, err := openStore(s.disk)
	if err != nil {
		return err
	}
	s.store = store
	rec := &serviceRecord{SoftDeleteDays: int(s.cfg.SoftDelete / day)}
	if err := s.disk.read(serviceFile, rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.service.Store(rec)
	for _, cc := range s.cfg.Containers {
		if err := s.ensureContainer(cc); err != nil {
			return err
		}
	}
	return nil
}

// ensureContainer makes a configured container or checks that the one there promises the same.
func (s *Server) ensureContainer(cc ContainerConfig) error {
	c := s.store.container(cc.Name)
	if c == nil {
		return s.CreateContainer(cc)
	}
	rec := c.rec.Load()
	if rec.Immutable != cc.ImmutableWithVersioning || rec.DefaultDays != cc.DefaultDays ||
		rec.DefaultLocked != cc.DefaultLocked {
		return fmt.Errorf("blobd: container %s exists with immutability %t, default %d days, locked %t, "+
			"which cannot be changed; use another name or folder",
			cc.Name, rec.Immutable, rec.DefaultDays, rec.DefaultLocked)
	}
	return nil
}

// CreateContainer makes a container as Azure's control plane does, which is the only way to one with version-level
// immutability. An existing name is an error.
func (s *Server) CreateContainer(cc ContainerConfig) error {
	if err := cc.validate(); err != nil {
		return err
	}
	return s.createContainer(&containerRecord{
		Name: cc.Name, Immutable: cc.ImmutableWithVersioning,
		DefaultDays: cc.DefaultDays, DefaultLocked: cc.DefaultLocked,
	})
}

// createContainer completes rec and puts the container on disk.
func (s *Server) createContainer(rec *containerRecord) error {
	now := s.now()
	rec.Created, rec.Modified, rec.ETag = now, now, s.store.stamp(now)
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.containers[rec.Name] != nil {
		return conflict(codeContainerExists, "The specified container already exists.")
	}
	dir := containerPath(rec.Name)
	if err := s.disk.makeDir(path.Join(dir, "b")); err != nil {
		return err
	}
	if err := s.disk.syncDir(containersDir); err != nil {
		return err
	}
	if err := s.disk.replace(path.Join(dir, containerFile), rec); err != nil {
		return err
	}
	c := &container{blobs: map[string]*blob{}}
	c.rec.Store(rec)
	s.store.containers[rec.Name] = c
	return nil
}

func (s *Server) now() time.Time { return s.cfg.Clock.Now().UTC() }

// versioned says whether what is overwritten in the container stays as a version.
func (s *Server) versioned(c *container) bool { return s.cfg.Versioning || c.rec.Load().Immutable }

// softDelete is the retention of deleted blobs, or 0 when soft delete is off.
func (s *Server) softDelete() time.Duration {
	return time.Duration(s.service.Load().SoftDeleteDays) * day
}

// Listen opens a TCP address (port 0 picks a free one) and serves it until Close. It returns the address in use.
func (s *Server) Listen(addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("blobd: %w", err)
	}
	s.running.Go(func() {
		if err := s.Serve(l); err != nil {
			s.cfg.Log.Error("blob server stopped", "err", err)
		}
	})
	return l.Addr().String(), nil
}

// Serve answers on l until Close, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("blobd: %w", err)
	}
	return nil
}

// ServeTLS is Serve over TLS with the certificates of config.
func (s *Server) ServeTLS(l net.Listener, config *tls.Config) error {
	return s.Serve(tls.NewListener(l, config))
}

// Close ends the connections and the watch of the clock, waits for the requests that are being served, and gives the
// folder back. A request that still sends or receives is cut off; what was acknowledged is on disk already.
func (s *Server) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	err := s.http.Close()
	s.running.Wait()
	s.serving.Lock() // and never unlocked: nobody is served any more
	if err := errors.Join(err, unlock(s.lock), s.disk.root.Close()); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	return nil
}

// ConnectionString is what azblob needs to reach a Server listening at addr. It holds the account's key.
func (s *Server) ConnectionString(addr string) string {
	return ConnectionString(addr, s.cfg.Account, base64.StdEncoding.EncodeToString(s.key))
}

// ConnectionString is the connection string for a Server of that account and key at addr (host:port).
func ConnectionString(addr, account, key string) string {
	return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=http://%s/%s;",
		account, key, addr, account)
}

// Stats counts what a Server holds.
type Stats struct {
	Containers  int
	Blobs       int   // names with a current version
	Versions    int   // previous versions, soft-deleted ones included
	Snapshots   int   // soft-deleted ones included
	Uncommitted int   // blocks
	Bytes       int64 // of the segments on disk
}

// Stats counts what the Server holds now.
func (s *Server) Stats() Stats {
	var out Stats
	s.store.each(func(_ *container, b *blob) {
		b.mu.Lock()
		defer b.mu.Unlock()
		st := b.state.Load()
		if st.Current != nil {
			out.Blobs++
		}
		out.Versions += len(st.Previous)
		out.Snapshots += len(st.Snapshots)
		out.Uncommitted += len(b.pending)
		for _, p := range b.pending {
			out.Bytes += p.Size
		}
		seen := map[string]bool{}
		st.all(func(v *version) bool {
			for _, g := range v.Segments {
				if !seen[g.File] {
					seen[g.File] = true
					out.Bytes += g.Size
				}
			}
			return true
		})
	})
	s.store.mu.RLock()
	out.Containers = len(s.store.containers)
	s.store.mu.RUnlock()
	return out
}

// each calls f for every blob there is at the moment of the call.
func (s *store) each(f func(*container, *blob)) {
	s.mu.RLock()
	containers := make([]*container, 0, len(s.containers))
	for _, c := range s.containers {
		containers = append(containers, c)
	}
	s.mu.RUnlock()
	for _, c := range containers {
		c.mu.RLock()
		blobs := make([]*blob, 0, len(c.names))
		for _, name := range c.names {
			blobs = append(blobs, c.blobs[name])
		}
		c.mu.RUnlock()
		for _, b := range blobs {
			f(c, b)
		}
	}
}

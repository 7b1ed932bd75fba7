package kafkad

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/millrun/millrun/internal/loopback"
)

// door is the broker's listener. It has an inside, through which our own client comes at any time, and an outside, which
// is opened when the broker is in order: nobody may see deleted records in the moment between kfake's start and their
// deletion. Safe for concurrent use.
type door struct {
	outside net.Listener
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	err     error
	waits   sync.WaitGroup // the goroutine that admits from outside
}

// listen takes the port; connections from outside wait until open.
func listen(port int) (*door, error) {
	l, err := net.Listen("tcp", loopback.Addr(port))
	if err != nil {
		return nil, fmt.Errorf("kafkad: %w", err)
	}
	return &door{outside: l, conns: make(chan net.Conn), closed: make(chan struct{})}, nil
}

// open lets connections from outside in.
func (d *door) open() {
	d.waits.Go(func() {
		for {
			conn, err := d.outside.Accept()
			if err != nil {
				return // closed: nothing else ends a listener
			}
			if !d.admit(conn) {
				_ = conn.Close() // the door is shut; nobody is left to tell
				return
			}
		}
	})
}

func (d *door) admit(conn net.Conn) bool {
	select {
	case d.conns <- conn:
		return true
	case <-d.closed:
		return false
	}
}

// dial is a connection from inside, with the signature of a client's dialer.
func (d *door) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case d.conns <- theirs:
		return ours, nil
	case <-d.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept is the broker's side.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Addr is the address outside.
func (d *door) Addr() net.Addr { return d.outside.Addr() }

// Close shuts both sides; a second Close does nothing.
func (d *door) Close() error {
	d.once.Do(func() {
		close(d.closed)
		if err := d.outside.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			d.err = fmt.Errorf("kafkad: %w", err)
		}
		d.waits.Wait()
	})
	return d.err
}

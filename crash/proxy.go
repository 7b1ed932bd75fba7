package crash

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// proxy passes TCP connections on to a broker, and can cut them or hold their bytes back. Safe for concurrent use.
type proxy struct {
	listener net.Listener
	ctx      context.Context // ends with close
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex
	target string
	open   map[net.Conn]struct{}
	flows  chan struct{} // closed while bytes pass
}

// newProxy listens on loopback. Whom it passes to is said by aim.
func newProxy() (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("crash: proxy: %w", err)
	}
	p := &proxy{listener: l, open: map[net.Conn]struct{}{}, flows: make(chan struct{})}
	close(p.flows)
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) aim(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// accept serves each connection by two goroutines, which end with it.
func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed: nothing else ends a listener on loopback
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.forget(client)
	p.mu.Lock()
	target := p.target
	p.open[client] = struct{}{}
	p.mu.Unlock()
	d := net.Dialer{Timeout: time.Second}
	broker, err := d.DialContext(p.ctx, "tcp", target)
	if err != nil {
		return // as the broker itself would refuse
	}
	defer p.forget(broker)
	p.mu.Lock()
	p.open[broker] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(client, broker) })
	p.pass(broker, client)
	both.Wait()
}

func (p *proxy) forget(c net.Conn) {
	_ = c.Close() // perhaps again
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// pass copies one direction until either side is gone, and then closes both.
func (p *proxy) pass(to, from net.Conn) {
	defer p.forget(to)
	defer p.forget(from)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.flowing() {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// flowing waits until bytes may pass; false: the proxy is closed.
func (p *proxy) flowing() bool {
	p.mu.Lock()
	flows := p.flows
	p.mu.Unlock()
	select {
	case <-flows:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// cut closes all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

// stall holds all bytes back until resume, which cuts what was held: a network that comes back does not bring old bytes.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = make(chan struct{})
}

func (p *proxy) resume() {
	p.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.flows)
}

// close ends everything and waits for it.
func (p *proxy) close() error {
	err := p.listener.Close()
	p.stop()
	p.cut()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

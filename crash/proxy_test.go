package crash

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

func through(t *testing.T, p *proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func says(conn net.Conn, word string) error {
	if _, err := conn.Write([]byte(word)); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, len(word)))
	return err
}

func TestAProxyPassesCutsAndStalls(t *testing.T) {
	t.Parallel()
	p, err := newProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close() })
	p.aim(echo(t))
	first := through(t, p)
	if err := says(first, "hello"); err != nil {
		t.Fatal(err)
	}
	p.cut()
	if err := says(first, "hello"); err == nil {
		t.Error("a connection that was cut goes on")
	}
	second := through(t, p)
	if err := says(second, "hello"); err != nil {
		t.Fatal(err)
	}
	p.stall()
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := says(second, "hello"); err == nil {
		t.Error("bytes pass while the network stands still")
	}
	p.resume()
	if err := says(through(t, p), "hello"); err != nil {
		t.Errorf("after the network has come back: %v", err)
	}
}

// Package unheard has connections on which a broker does what it is asked and its answer gets lost: what tests of guarantees let
// clients dial with.
package unheard

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// head is the part of a request in which its kind and its correlation id stand (Kafka protocol guide, request header): four
// bytes of size, two of kind, two of version, four of correlation id. An answer has the id behind its size.
const head, answerHead = 12, 8

// most is the size of an answer beyond which something else than an answer was read.
const most = 1 << 28

// Conn loses answers. Writes and Reads may be concurrent with each other, as those of any net.Conn; each Write has to bring a
// whole request, as franz-go's do.
type Conn struct {
	net.Conn
	loses func(kmsg.Key) bool

	mu   sync.Mutex // guards lost
	lost map[uint32]bool

	frame []byte // what is left of the answer that is being read
}

// New wraps a connection to a broker. It asks of each request whether its answer gets lost. When such an answer arrives, the
// connection is closed, and its reader is told that it was reset: the request is done then, and nobody knows.
func New(c net.Conn, loses func(kmsg.Key) bool) *Conn {
	return &Conn{Conn: c, loses: loses, lost: map[uint32]bool{}}
}

// Write sends a request.
func (c *Conn) Write(request []byte) (int, error) {
	if len(request) < head {
		return 0, fmt.Errorf("unheard: a request of %d bytes: each Write has to bring a whole one", len(request))
	}
	if c.loses(kmsg.Key(binary.BigEndian.Uint16(request[4:]))) {
		c.mu.Lock()
		c.lost[binary.BigEndian.Uint32(request[8:])] = true
		c.mu.Unlock()
	}
	return c.Conn.Write(request)
}

// Read brings answers up to the first that gets lost.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.frame) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.frame)
	c.frame = c.frame[n:]
	return n, nil
}

// next waits for an answer.
func (c *Conn) next() error {
	var h [answerHead]byte
	if _, err := io.ReadFull(c.Conn, h[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(h[:])
	if size < answerHead-4 || size > most {
		return fmt.Errorf("unheard: an answer of %d bytes", size)
	}
	frame := append(make([]byte, 0, size+4), h[:]...)[:size+4]
	if _, err := io.ReadFull(c.Conn, frame[answerHead:]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost[binary.BigEndian.Uint32(h[4:])] {
		_ = c.Close()
		return &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: syscall.ECONNRESET}
	}
	c.frame = frame
	return nil
}

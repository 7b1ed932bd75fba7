// Package loopback finds ports for programs that are told where to listen.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are tried from first on, this many. They are below those that Linux gives to connections
// (net.ipv4.ip_local_port_range), which would be taken before a program that starts slowly listens, or while one restarts.
const first, many = 20_000, 12_000

// FreePorts are n different TCP ports of 127.0.0.1 that were free a moment ago. Somebody else may take one before its program
// listens: rarely, but who can try again should.
func FreePorts(n int) (ports []int, err error) {
	const patience = 100
	for tries := 0; len(ports) < n; tries++ {
		l, lerr := net.Listen("tcp", Addr(first+rand.IntN(many))) //nolint:gosec // any will do
		if lerr != nil {
			if tries > patience {
				return nil, fmt.Errorf("loopback: free port: %w", lerr)
			}
			continue
		}
		defer func() { err = errors.Join(err, l.Close()) }() // held until all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Addr is host and port, as net.Dial takes them.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

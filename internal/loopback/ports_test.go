package loopback

import (
	"net"
	"slices"
	"testing"
)

func TestFreePortsDifferAndCanBeListenedOn(t *testing.T) {
	t.Parallel()
	ports, err := FreePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if n := len(slices.Compact(slices.Clone(ports))); n != 20 {
		t.Errorf("%d different ports: %v", n, ports)
	}
	for _, p := range ports {
		if p < first || p >= first+many {
			t.Errorf("port %d may be given to a connection", p)
		}
		if l, err := net.Listen("tcp", Addr(p)); err == nil {
			_ = l.Close()
			return
		}
	}
	t.Error("none can be listened on")
}

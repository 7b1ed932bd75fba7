package run

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// contact notes when a broker last answered a client. Even an idle member of a group is answered every few seconds, since it
// sends heartbeats. Safe for concurrent use; a hook of the client. A time is kept as it was read: of one in plain numbers nobody
// could tell how long ago it was once the clock is set.
type contact struct{ last atomic.Pointer[time.Time] }

var _ kgo.HookBrokerRead = (*contact)(nil)

// OnBrokerRead is called by the client after each answer.
func (c *contact) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		c.touch()
	}
}

// touch counts as an answer.
func (c *contact) touch() {
	now := time.Now()
	c.last.Store(&now)
}

// check fails once no broker has answered for limit; touch comes first. A negative limit never fails.
func (c *contact) check(limit time.Duration) error {
	if limit < 0 {
		return nil
	}
	if silent := time.Since(*c.last.Load()); silent > limit {
		return fmt.Errorf("stream: no broker has answered for %s: check Brokers and the network; Config.BrokerTimeout (%s) says how long to wait",
			silent.Round(time.Second), limit)
	}
	return nil
}

package run

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// contact notes when a broker last answered a client. Even an idle member of a group is answered every few seconds, since it
// sends heartbeats. Safe for concurrent use; a hook of the client.
type contact struct{ last atomic.Int64 }

var _ kgo.HookBrokerRead = (*contact)(nil)

// OnBrokerRead is called by the client after each answer.
func (c *contact) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		c.touch()
	}
}

// touch counts as an answer.
func (c *contact) touch() { c.last.Store(time.Now().UnixNano()) }

// check fails once no broker has answered for limit. A negative limit never fails.
func (c *contact) check(limit time.Duration) error {
	if limit < 0 {
		return nil
	}
	if silent := time.Since(time.Unix(0, c.last.Load())); silent > limit {
		return fmt.Errorf("stream: no broker has answered for %s: check Brokers and the network; Config.BrokerTimeout (%s) says how long to wait",
			silent.Round(time.Second), limit)
	}
	return nil
}

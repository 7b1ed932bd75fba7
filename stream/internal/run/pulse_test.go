package run

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAMemberThatHearsNothingIsInDoubt(t *testing.T) {
	t.Parallel()
	const limit = time.Minute
	heard := func(p *pulse, key kmsg.Key, e kgo.BrokerE2E) { p.OnBrokerE2E(kgo.BrokerMetadata{}, int16(key), e) }
	joins := func(p *pulse) { p.OnBrokerWrite(kgo.BrokerMetadata{}, int16(kmsg.JoinGroup), 0, 0, 0, nil) }
	for name, c := range map[string]struct {
		before func(p *pulse)
		looks  []time.Duration // from now on, each but the last only to look
		alive  bool
	}{
		"before anything":                    {func(*pulse) {}, []time.Duration{0}, false},
		"after a heartbeat":                  {func(p *pulse) { heard(p, kmsg.Heartbeat, kgo.BrokerE2E{}) }, []time.Duration{0, 30 * time.Second}, true},
		"after a heartbeat that failed":      {func(p *pulse) { heard(p, kmsg.Heartbeat, kgo.BrokerE2E{ReadErr: errors.New("cut")}) }, []time.Duration{0}, false},
		"after a heartbeat's answer was old": {func(p *pulse) { heard(p, kmsg.Heartbeat, kgo.BrokerE2E{ReadWait: 2 * limit}) }, []time.Duration{0}, false},
		"long after a heartbeat":             {func(p *pulse) { heard(p, kmsg.Heartbeat, kgo.BrokerE2E{}) }, []time.Duration{0, 40 * time.Second, 70 * time.Second}, false},
		"other answers do not count":         {func(p *pulse) { heard(p, kmsg.Fetch, kgo.BrokerE2E{}) }, []time.Duration{0}, false},
		"in a long rebalance":                {joins, []time.Duration{0, 50 * time.Second, 100 * time.Second}, true},
		"stood still in a rebalance":         {joins, []time.Duration{0, 100 * time.Second}, false},
		"behind a rebalance": {func(p *pulse) {
			joins(p)
			heard(p, kmsg.JoinGroup, kgo.BrokerE2E{})
		}, []time.Duration{0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPulse()
			c.before(p)
			now, alive := time.Now(), false
			for _, d := range c.looks {
				alive = p.alive(now.Add(d), limit)
			}
			if alive != c.alive {
				t.Errorf("alive: %v, want %v", alive, c.alive)
			}
		})
	}
}

// A coordinator may answer before the clock has moved, as all do in virtual time.
func TestAMemberThatIsAnsweredAtOnceIsAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPulse()
		p.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.SyncGroup), kgo.BrokerE2E{})
		if !p.alive(time.Now(), time.Minute) {
			t.Error("it is taken for dead")
		}
	})
}

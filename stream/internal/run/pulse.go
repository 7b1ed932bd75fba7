package run

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pulse says whether a member of a classic group may still be one, as far as it can know by itself: its coordinator has
// answered something that was asked for not long ago, or makes it wait for the others in a rebalance. Nothing fences the producer of a
// member that has stood still for longer than its session and been given up, unless it works exactly once (decision
// 0172). A hook of the client, which may call it at any time; alive belongs to the thread.
type pulse struct {
	began   time.Time     // what all times count from, since clocks may jump; a moment before the first of them
	asked   atomic.Int64  // when the last question was put that has an answer, in nanoseconds; 0: none was
	joining atomic.Int64  // since when a question waits that is answered once all have joined; 0: none does
	looked  time.Duration // when alive was last called; 0: never
	doubt   time.Duration // when the process was last found to have stood still
}

func newPulse() *pulse { return &pulse{began: time.Now().Add(-1)} }

var (
	_ kgo.HookBrokerWrite = (*pulse)(nil)
	_ kgo.HookBrokerE2E   = (*pulse)(nil)
)

// OnBrokerWrite is called by the client after each question.
func (p *pulse) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == int16(kmsg.JoinGroup) && err == nil {
		p.joining.Store(int64(time.Since(p.began)))
	}
}

// OnBrokerE2E is called by the client after each answer.
func (p *pulse) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.JoinGroup:
		p.joining.Store(0)
	case kmsg.SyncGroup, kmsg.Heartbeat:
		if e.WriteErr == nil && e.ReadErr == nil {
			p.asked.Store(int64(time.Since(p.began) - e.DurationE2E()))
		}
	}
}

// alive is to be called all the time. It says no where the coordinator may have given the member up, which it does after more
// than limit without a question.
func (p *pulse) alive(at time.Time, limit time.Duration) bool {
	now := at.Sub(p.began)
	if p.looked != 0 && now-p.looked > limit {
		p.doubt = now
	}
	p.looked = now
	asked, joining := time.Duration(p.asked.Load()), time.Duration(p.joining.Load())
	return asked > p.doubt && now-asked <= limit || joining > p.doubt
}

//go:build synctests

package sim

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// session is the longest a real coordinator keeps a member it does not hear of.
const session = 45 * time.Second

// roll is when each member of the group was last heard of. The embedded coordinator keeps some members for ever whose clients
// have lost an answer; a real one lets them go after their session, and so does the simulation.
type roll struct {
	mu    sync.Mutex
	heard map[string]time.Time
}

// watch lets the roll be kept.
func (w *world) watch() {
	w.roll = &roll{heard: map[string]time.Time{}}
	w.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetCommit, kmsg.TxnOffsetCommit}, Count: -1, Observe: true, When: w.roll.note,
	})
}

// note is called by the cluster's goroutine.
func (r *roll) note(req kmsg.Request) bool {
	var member string
	switch q := req.(type) {
	case *kmsg.HeartbeatRequest:
		member = q.MemberID
	case *kmsg.JoinGroupRequest:
		member = q.MemberID
	case *kmsg.SyncGroupRequest:
		member = q.MemberID
	case *kmsg.OffsetCommitRequest:
		member = q.MemberID
	case *kmsg.TxnOffsetCommitRequest:
		member = q.MemberID
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[member] = time.Now()
	return true
}

// silent are members that have not been heard of for a session.
func (r *roll) silent(of []kfake.GroupMember) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range of {
		if _, known := r.heard[m.MemberID]; !known {
			r.heard[m.MemberID] = time.Now()
		}
		if time.Since(r.heard[m.MemberID]) > session {
			out = append(out, m.MemberID)
		}
	}
	return out
}

// expire lets members go that a real coordinator would have let go.
func (w *world) expire() {
	info := w.fake.GroupInfo("sim")
	if info == nil {
		return
	}
	gone := w.roll.silent(info.Members)
	if len(gone) == 0 {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "sim"
	for _, id := range gone {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		req.Members = append(req.Members, m)
	}
	if _, err := req.RequestWith(context.Background(), w.client); err == nil {
		w.notef("", "%d silent members are let go", len(gone))
	}
}

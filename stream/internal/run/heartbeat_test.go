package run

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// script is a coordinator that answers as told, and notes when it was asked.
type script struct {
	begun   time.Time
	mu      sync.Mutex // guards what follows, and what answers reads
	at      []time.Duration
	epochs  []int32
	forgot  int
	answers func(n int, req *kmsg.StreamsGroupHeartbeatRequest, resp *kmsg.StreamsGroupHeartbeatResponse) error
}

func (s *script) ask(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	r := req.(*kmsg.StreamsGroupHeartbeatRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Since(s.begun))
	s.epochs = append(s.epochs, r.MemberEpoch)
	resp := kmsg.NewPtrStreamsGroupHeartbeatResponse()
	resp.MemberEpoch, resp.HeartbeatIntervalMillis = max(r.MemberEpoch, 1), 1000
	if r.MemberEpoch == 0 {
		resp.ActiveTasks = taskLists(nil)
	}
	return resp, s.answers(len(s.at), r, resp)
}

func (s *script) forget() { s.forgot++ }

// last is the epoch that was said last.
func (s *script) last() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epochs[len(s.epochs)-1:]
}

// now changes what is answered.
func (s *script) now(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// beating starts heartbeats to a script.
func beating(t *testing.T, answers func(int, *kmsg.StreamsGroupHeartbeatRequest, *kmsg.StreamsGroupHeartbeatResponse) error) (*script, *heartbeat) {
	t.Helper()
	s := &script{begun: time.Now(), answers: answers}
	topology := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	h := newHeartbeat(s, newPlace("app", "m", "process", 1, &topology), slog.New(slog.DiscardHandler))
	h.start(t.Context())
	return s, h
}

func fine(int, *kmsg.StreamsGroupHeartbeatRequest, *kmsg.StreamsGroupHeartbeatResponse) error {
	return nil
}

// The sleeps of these tests are in the virtual time of a synctest bubble.

func TestHeartbeatsKeepTheGroupsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := beating(t, fine)
		time.Sleep(2500 * time.Millisecond)         // in virtual time
		h.change(func(p *place) { p.own(share{}) }) // is told at once
		time.Sleep(1500 * time.Millisecond)         // in virtual time
		h.end()
		equal(t, s.at, []time.Duration{0, time.Second, 2 * time.Second, 2500 * time.Millisecond, 3500 * time.Millisecond, 4 * time.Second})
		equal(t, s.epochs, []int32{0, 1, 1, 1, 1, -1})
	})
}

func TestFailedHeartbeatsAreSentAgainWithPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := beating(t, func(n int, _ *kmsg.StreamsGroupHeartbeatRequest, resp *kmsg.StreamsGroupHeartbeatResponse) error {
			switch n {
			case 1, 3:
				resp.ErrorCode = kerr.NotCoordinator.Code
			case 2, 4:
				return errors.New("the network is cut")
			}
			return nil
		})
		time.Sleep(2 * time.Second) // in virtual time
		h.end()
		equal(t, s.at[:5], []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond})
		equal(t, s.epochs[:5], []int32{0, 0, 0, 0, 0})
		equal(t, []int{s.forgot}, []int{2})
	})
}

func TestAThreadThatStallsIsTakenOutOfTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := beating(t, fine)
		time.Sleep(pollInterval - time.Second) // in virtual time
		h.alive()
		time.Sleep(pollInterval) // in virtual time
		synctest.Wait()
		equal(t, s.last(), []int32{1})
		time.Sleep(10*time.Second + 500*time.Millisecond) // between two heartbeats
		var now place
		h.look(func(p *place) { now = *p })
		equal(t, s.last(), []int32{-1})
		if now.phase != expelled || now.identity().member != "" {
			t.Errorf("it is %+v", now)
		}
		h.alive() // the thread has come back
		h.change((*place).again)
		synctest.Wait()
		equal(t, s.last(), []int32{0})
		h.end()
	})
}

func TestACommitWaitsForTheEpochThatHasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		epoch := int32(1)
		var refusal *kerr.Error
		s, h := beating(t, func(_ int, _ *kmsg.StreamsGroupHeartbeatRequest, resp *kmsg.StreamsGroupHeartbeatResponse) error {
			if resp.MemberEpoch = epoch; refusal != nil {
				resp.ErrorCode = refusal.Code
			}
			return nil
		})
		time.Sleep(100 * time.Millisecond) // in virtual time
		old := identity{"m", 1}
		if h.renewed(t.Context(), old) {
			t.Error("the epoch is the same, and it says that it is renewed")
		}
		s.now(func() { epoch = 2 })
		if !h.renewed(t.Context(), old) {
			t.Error("the new epoch was not waited for")
		}
		s.now(func() { refusal = kerr.FencedMemberEpoch })
		if h.renewed(t.Context(), identity{"m", 2}) {
			t.Error("an expelled member is renewed")
		}
		h.end()
	})
}

func TestARefusedHeartbeatIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := beating(t, func(int, *kmsg.StreamsGroupHeartbeatRequest, *kmsg.StreamsGroupHeartbeatResponse) error {
			return kerr.GroupAuthorizationFailed
		})
		time.Sleep(time.Minute) // in virtual time
		h.end()
		equal(t, s.at, []time.Duration{0})
		if !errors.Is(h.place.fatal, kerr.GroupAuthorizationFailed) {
			t.Errorf("got %v", h.place.fatal)
		}
	})
}

func equal[T comparable](t *testing.T, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

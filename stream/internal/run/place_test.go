package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/task"
)

// dialogue follows a place step by step: what it says, what the group answers, what it knows then.
type dialogue struct {
	t   *testing.T
	p   *place
	now time.Time
	q   question
}

func newDialogue(t *testing.T) *dialogue {
	t.Helper()
	topology := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	return &dialogue{t: t, p: newPlace("app", "m", "process", 3, &topology), now: time.Unix(1000, 0)}
}

// says checks the next heartbeat. Lists are written like "0_0 0_1", "-" for unchanged.
func (d *dialogue) says(epoch int32, active string) *kmsg.StreamsGroupHeartbeatRequest {
	d.t.Helper()
	var req *kmsg.StreamsGroupHeartbeatRequest
	req, d.q = d.p.ask(d.now)
	if req == nil {
		d.t.Fatal("it says nothing")
	}
	if req.MemberEpoch != epoch || listed(req.ActiveTasks) != active {
		d.t.Fatalf("it says %s at epoch %d, want %s at %d", listed(req.ActiveTasks), req.MemberEpoch, active, epoch)
	}
	return req
}

// hears answers it: "-" is no assignment.
func (d *dialogue) hears(epoch int32, active string, status ...int8) {
	d.t.Helper()
	resp := kmsg.NewPtrStreamsGroupHeartbeatResponse()
	resp.MemberEpoch, resp.HeartbeatIntervalMillis = epoch, 1000
	if active != "-" {
		resp.ActiveTasks, resp.StandbyTasks, resp.WarmupTasks = taskLists(parsed(active)), taskLists(nil), taskLists(nil)
	}
	for _, s := range status {
		resp.Status = append(resp.Status, kmsg.StreamsGroupHeartbeatResponseStatus{StatusCode: s, StatusDetail: fmt.Sprint("status ", s)})
	}
	if err := d.p.answered(d.q, resp, d.now); err != nil {
		d.t.Fatal(err)
	}
}

// refuses answers with an error, and returns what follows.
func (d *dialogue) refuses(e *kerr.Error) error {
	resp := kmsg.NewPtrStreamsGroupHeartbeatResponse()
	resp.ErrorCode = e.Code
	return d.p.answered(d.q, resp, d.now)
}

// works carries the assignment out.
func (d *dialogue) works() { d.p.own(share{active: d.p.target.active}) }

func listed(lists []kmsg.TaskIDs) string {
	if lists == nil {
		return "-"
	}
	var out []string
	for _, id := range readTasks(lists, 100) {
		out = append(out, id.String())
	}
	return strings.Join(out, " ")
}

func parsed(s string) (out []task.ID) {
	for f := range strings.FieldsSeq(s) {
		var id task.ID
		if _, err := fmt.Sscanf(f, "%d_%d", &id.Sub, &id.Partition); err != nil {
			panic(err)
		}
		out = append(out, id)
	}
	return out
}

func TestAMemberJoinsTakesGivesUpAndLeaves(t *testing.T) {
	t.Parallel()
	d := newDialogue(t)
	join := d.says(0, "")
	if join.Topology == nil || join.RebalanceTimeoutMillis != 300_000 || *join.ProcessID != "process" || join.StandbyTasks == nil || join.WarmupTasks == nil {
		t.Errorf("it joins with %+v", join)
	}
	d.hears(2, "", assignmentDelayed)
	if d.p.ready(d.now) || d.p.identity() != (identity{"m", 2}) {
		t.Error("it is ready before tasks are dealt out")
	}
	if next := d.says(2, "-"); next.Topology != nil || next.RebalanceTimeoutMillis != -1 || next.ProcessID != nil {
		t.Errorf("it repeats %+v", next)
	}
	d.hears(3, "0_0 0_1 1_0")
	if !d.p.ready(d.now) || d.p.news != 2 || d.p.due() {
		t.Error("the assignment is not there")
	}
	d.works()
	if !d.p.due() {
		t.Error("it keeps what it has done to itself")
	}
	d.says(3, "0_0 0_1 1_0")
	d.hears(3, "0_0 0_1 1_0") // the group repeats what it said: no news
	if d.p.news != 2 || d.p.due() {
		t.Error("a repetition is news")
	}
	d.says(3, "-")
	d.hears(3, "0_0 1_0") // another member has come; the epoch stays until the task is given up
	if gone := minus(d.p.owned.active, d.p.target.active); !slices.Equal(gone, parsed("0_1")) {
		t.Errorf("it gives up %v", gone)
	}
	d.says(3, "-") // the thread has not come to its turn yet
	d.hears(3, "-")
	d.works()
	d.says(3, "0_0 1_0")
	d.hears(4, "-")
	if d.p.identity() != (identity{"m", 4}) || d.p.due() {
		t.Error("it is not there with the new epoch")
	}
	if bye := d.p.farewell(); bye.MemberEpoch != -1 || bye.MemberID != "m" {
		t.Errorf("it leaves with %+v", bye)
	}
}

func TestAnExpelledMemberIsNobodyUntilItHasGivenUpItsTasks(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{kerr.FencedMemberEpoch, kerr.UnknownMemberID} {
		d := newDialogue(t)
		d.says(0, "")
		d.hears(1, "0_0")
		d.works()
		d.says(1, "0_0")
		late := d.q
		if err := d.refuses(e); err != nil || d.p.fatal != nil {
			t.Fatal(err, d.p.fatal)
		}
		if d.p.identity().member != "" || d.p.ready(d.now) {
			t.Errorf("after %v it is still somebody", e)
		}
		if req, _ := d.p.ask(d.now); req != nil {
			t.Errorf("it says %+v before its tasks are given up", req)
		}
		d.p.again()
		d.says(0, "")
		d.q, late = late, d.q
		d.hears(1, "0_0") // an answer from before
		if d.p.phase != seeking || d.p.news != 0 {
			t.Error("it believes an answer to what it said in an earlier life")
		}
		d.q = late
		d.hears(5, "0_1")
		if !slices.Equal(minus(d.p.target.active, d.p.owned.active), parsed("0_1")) || d.p.identity().epoch != 5 {
			t.Error("it has no new place")
		}
	}
}

func TestAMemberThatHearsNothingStopsBeforeOthersMayBeAtWork(t *testing.T) {
	t.Parallel()
	d := newDialogue(t)
	d.says(0, "")
	d.hears(1, "0_0")
	d.says(1, "-")
	d.now = d.now.Add(2 * time.Second)
	d.hears(1, "-") // answers count from when they were asked for
	d.now = d.now.Add(time.Second)
	if !d.p.ready(d.now) {
		t.Error("it stops too soon")
	}
	d.now = d.now.Add(time.Millisecond)
	if d.p.ready(d.now) || d.p.identity().member == "" {
		t.Error("it goes on, or has given itself up")
	}
	d.says(1, "-")
	d.hears(1, "-")
	if !d.p.ready(d.now) {
		t.Error("it does not go on")
	}
}

func TestWhatIsOwnedWhileAHeartbeatIsUnderWayIsToldWithTheNext(t *testing.T) {
	t.Parallel()
	d := newDialogue(t)
	d.says(0, "")
	d.hears(1, "0_0")
	d.works()
	d.says(1, "0_0")
	d.p.own(share{})
	d.hears(1, "-")
	d.says(1, "")
}

func TestWhatAGroupSaysOfItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int8
		ready  bool
		fatal  error
	}{
		{staleTopology, true, nil},
		{missingSources, false, nil},
		{wrongPartitions, false, ErrTopics},
		{missingInternal, false, nil},
		{shutdownRequested, false, errShutdown},
		{assignmentDelayed, false, nil},
	} {
		d := newDialogue(t)
		d.says(0, "")
		d.hears(1, "0_0", c.status)
		if d.p.ready(d.now) != c.ready || !errors.Is(d.p.fatal, c.fatal) {
			t.Errorf("status %d: ready %t, %v", c.status, d.p.ready(d.now), d.p.fatal)
		}
		d.says(1, "-")
		d.hears(1, "-")
		if c.fatal == nil && !d.p.ready(d.now) {
			t.Errorf("status %d is not forgotten", c.status)
		}
	}
}

func TestMissingSourcesAreAnErrorAfterTwoHeartbeats(t *testing.T) {
	t.Parallel()
	d := newDialogue(t)
	for range 3 {
		d.says(d.p.epoch, map[phase]string{seeking: "", seated: "-"}[d.p.phase])
		d.hears(1, "-", missingSources)
		if d.p.fatal != nil {
			t.Fatalf("too soon: %v", d.p.fatal)
		}
		d.now = d.now.Add(time.Second)
	}
	d.says(1, "-")
	d.hears(1, "-", missingSources)
	if !errors.Is(d.p.fatal, ErrTopics) || !strings.Contains(d.p.fatal.Error(), "create it before") {
		t.Errorf("got %v", d.p.fatal)
	}
}

func TestWhatFollowsFromARefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    *kerr.Error
		again  bool
		remedy string
	}{
		{kerr.NotCoordinator, true, ""},
		{kerr.CoordinatorNotAvailable, true, ""},
		{kerr.CoordinatorLoadInProgress, true, ""},
		{kerr.InconsistentGroupProtocol, false, "ClassicProtocol"},
		{kerr.GroupIDNotFound, false, "ClassicProtocol"},
		{kerr.InvalidRequest, false, "the topology has changed"},
		{kerr.GroupMaxSizeReached, false, "group.streams.max.size"},
		{kerr.GroupAuthorizationFailed, false, "grant Read"},
		{kerr.TopicAuthorizationFailed, false, "grant Describe"},
		{kerr.UnsupportedVersion, false, "ClassicProtocol"},
		{kerr.UnknownServerError, false, "UNKNOWN_SERVER_ERROR"},
	} {
		d := newDialogue(t)
		d.says(0, "")
		err := d.refuses(c.err)
		if c.again != errors.Is(err, c.err) || c.again != (d.p.fatal == nil) {
			t.Errorf("%v: %v, fatal %v", c.err, err, d.p.fatal)
		}
		if !c.again && (!errors.Is(d.p.fatal, c.err) || !strings.Contains(d.p.fatal.Error(), c.remedy)) {
			t.Errorf("%v: %v has no remedy", c.err, d.p.fatal)
		}
	}
}

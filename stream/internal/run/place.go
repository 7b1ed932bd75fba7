package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/task"
)

// phase is where a member of a streams group stands.
type phase uint8

const (
	seeking  phase = iota // asks for a place, and owns nothing
	seated                // has one
	expelled              // has none any more, and the thread has not given its tasks up yet
)

// share is what the group wants a member to work on.
type share struct{ active, standby, warmup []task.ID }

func (s share) equal(o share) bool {
	return slices.Equal(s.active, o.active) && slices.Equal(s.standby, o.standby) && slices.Equal(s.warmup, o.warmup)
}

// What a group says of itself beside an assignment (KIP-1071).
const (
	staleTopology     int8 = 0
	missingSources    int8 = 1
	wrongPartitions   int8 = 2
	missingInternal   int8 = 3
	shutdownRequested int8 = 4
	assignmentDelayed int8 = 5
)

// errShutdown is the end of a thread whose group is told to shut the application down.
var errShutdown = errors.New("stream: an instance of the application has asked all of them to shut down")

// place is a member's place in a streams group: what it says in its heartbeats and what follows from the answers. It is given
// the time and does nothing by itself, so it can be followed step by step. The broker moves a task in two steps: its owner is
// shown an assignment without it, gives it up and says so; only then is anybody else shown one with it.
type place struct {
	group, member, process string
	topology               *kmsg.StreamsGroupHeartbeatRequestTopology
	patience               time.Duration // how long giving tasks up may take
	subs                   int

	phase    phase
	epoch    int32
	interval time.Duration
	life     int // counts the times of joining: an answer to a question before the last one is nobody's

	target share
	news   int       // counts targets, 0: none has come
	asked  time.Time // when the last question was asked that was answered

	owned share
	words int // counts what was said to be owned
	heard int // what of it the group has heard

	status  map[int8]string
	missing time.Time // since when source topics are
	fatal   error
}

// heartbeatInterval is assumed until the group says its own.
const heartbeatInterval = 5 * time.Second

func newPlace(group, member, process string, subs int, topology *kmsg.StreamsGroupHeartbeatRequestTopology) *place {
	return &place{
		group: group, member: member, process: process, subs: subs, topology: topology, patience: pollInterval, interval: heartbeatInterval,
	}
}

// question tells an answer what it answers.
type question struct {
	life, words int
	at          time.Time
}

// silence is how many intervals may pass without an answer until a member stops processing: the group may have given it up, and
// others be at work on its tasks. Nobody says how long a session lasts; it is longer than that by default.
const silence = 3

// due says whether a heartbeat is wanted before its time.
func (p *place) due() bool { return p.phase == seeking || p.phase == seated && p.heard != p.words }

// ask is the next heartbeat; nil if there is nothing to say.
func (p *place) ask(now time.Time) (*kmsg.StreamsGroupHeartbeatRequest, question) {
	q := question{p.life, p.words, now}
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.EndpointInformationEpoch = p.group, p.member, p.epoch, -1
	switch p.phase {
	case seeking:
		req.MemberEpoch = 0
		req.RebalanceTimeoutMillis = int32(p.patience.Milliseconds())
		req.Topology, req.ProcessID = p.topology, &p.process
		req.ClientTags = []kmsg.StreamsGroupHeartbeatRequestClientTag{}
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = taskLists(nil), taskLists(nil), taskLists(nil)
	case seated:
		if p.heard != p.words {
			req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = taskLists(p.owned.active), taskLists(p.owned.standby), taskLists(p.owned.warmup)
		}
	case expelled:
		return nil, q
	}
	return req, q
}

// over says whether something fatal has happened.
func (p *place) over() bool { return p.fatal != nil }

// farewell is the heartbeat of a member that goes.
func (p *place) farewell() *kmsg.StreamsGroupHeartbeatRequest {
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.EndpointInformationEpoch = p.group, p.member, -1, -1
	return req
}

// answered takes an answer in. It returns an error after which the same is asked again, at a coordinator that may be another.
func (p *place) answered(q question, resp *kmsg.StreamsGroupHeartbeatResponse, now time.Time) error {
	if q.life != p.life {
		return nil
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return p.refused(err, resp.ErrorMessage)
	}
	p.phase, p.epoch, p.heard, p.asked = seated, resp.MemberEpoch, q.words, q.at
	if resp.HeartbeatIntervalMillis > 0 {
		p.interval = time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond
	}
	p.weigh(resp.Status, now)
	if resp.ActiveTasks == nil {
		return nil
	}
	to := share{readTasks(resp.ActiveTasks, p.subs), readTasks(resp.StandbyTasks, p.subs), readTasks(resp.WarmupTasks, p.subs)}
	if p.news == 0 || !to.equal(p.target) {
		p.target = to
		p.news++
	}
	return nil
}

// refused judges an error.
func (p *place) refused(err error, message *string) error {
	if message != nil && *message != "" {
		err = fmt.Errorf("%w: %s", err, *message)
	}
	switch {
	case errors.Is(err, kerr.FencedMemberEpoch), errors.Is(err, kerr.UnknownMemberID):
		p.expel()
		return nil
	case kerr.IsRetriable(err):
		return err
	}
	p.fatal = fmt.Errorf("stream: group %s: %w", p.group, err)
	if r := placeRemedy(err); r != "" {
		p.fatal = fmt.Errorf("%w (%s)", p.fatal, r)
	}
	return nil
}

func placeRemedy(err error) string {
	switch {
	case errors.Is(err, kerr.InconsistentGroupProtocol), errors.Is(err, kerr.GroupIDNotFound):
		return "the group has members that use the classic protocol: stop them first, or use ClassicProtocol"
	case errors.Is(err, kerr.InvalidRequest):
		return "if the topology has changed: the group has members with the one before, and brokers do not change it while there are any; stop them all, then start the new ones"
	case errors.Is(err, kerr.GroupMaxSizeReached):
		return "run fewer stream threads or raise the brokers' group.streams.max.size"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "grant Read on the group"
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return "grant Describe on all topics of the topology; those that the group makes begin with its name"
	case errors.Is(err, kerr.UnsupportedVersion):
		return "use ClassicProtocol, or brokers of Kafka 4.2 or later"
	}
	return ""
}

// expel ends the membership on this side. Until the thread has given its tasks up there is no other.
func (p *place) expel() {
	if p.phase == seeking { // nothing is owned
		p.again()
		return
	}
	p.phase = expelled
	p.life++
}

// again asks for a place anew, once nothing is owned.
func (p *place) again() {
	p.phase, p.epoch, p.target, p.news, p.owned = seeking, 0, share{}, 0, share{}
	p.status, p.missing = nil, time.Time{}
	p.life++
	p.heard = p.words
}

// own notes what the member works on now; the group is told.
func (p *place) own(s share) {
	p.owned = s
	p.words++
}

// weigh takes the group's state in.
func (p *place) weigh(all []kmsg.StreamsGroupHeartbeatResponseStatus, now time.Time) {
	p.status = map[int8]string{}
	for _, s := range all {
		p.status[s.StatusCode] = s.StatusDetail
	}
	if detail, ok := p.status[wrongPartitions]; ok {
		p.fatal = fmt.Errorf("%w: group %s: %s", ErrTopics, p.group, detail)
	}
	if _, ok := p.status[shutdownRequested]; ok {
		p.fatal = errShutdown
	}
	detail, missing := p.status[missingSources]
	switch {
	case !missing:
		p.missing = time.Time{}
	case p.missing.IsZero():
		p.missing = now
	case now.Sub(p.missing) > 2*p.interval: // one made a moment ago may not be known to every broker yet
		p.fatal = fmt.Errorf("%w: group %s: %s: %w", ErrTopics, p.group, detail, topicFault(nil, "source"))
	}
}

// silent says whether the group has not been heard of for so long that it may have given this member up.
func (p *place) silent(now time.Time) bool {
	return p.phase == seated && now.Sub(p.asked) > silence*p.interval
}

// ready says whether the group lets this member process: it has a whole topology, has dealt tasks out and has been heard of.
func (p *place) ready(now time.Time) bool {
	if p.phase != seated || p.news == 0 || p.silent(now) {
		return false
	}
	for code := range p.status {
		if code != staleTopology {
			return false
		}
	}
	return true
}

// obstacles are what the group says of itself, for people.
func (p *place) obstacles() string {
	var out []string
	for _, detail := range p.status {
		out = append(out, detail)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// identity is who commits.
func (p *place) identity() identity {
	if p.phase != seated {
		return identity{}
	}
	return identity{p.member, p.epoch}
}

// minus are the tasks of a that are not in b.
func minus(a, b []task.ID) (out []task.ID) {
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}

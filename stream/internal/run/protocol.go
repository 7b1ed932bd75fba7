package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Protocol is how members of the group agree on who works on what.
type Protocol int

// The protocols.
const (
	AutoProtocol    Protocol = iota // that of the group's members
	ClassicProtocol                 // a member shares the tasks out: every broker can do that
	StreamsProtocol                 // the brokers do (KIP-1071)
)

// streamsFeature is what brokers finalize that speak the streams group protocol.
const streamsFeature, streamsLeast = "streams.version", 1

// census is what there is of the group before this instance joins it.
type census struct {
	streams bool // it is a streams group
	members int
}

// facts are what the choice of a protocol depends on. The group is asked about only where brokers speak both.
type facts struct {
	speaks   bool // brokers know the requests and finalize the feature
	patterns bool
	static   bool // members are
	group    census
}

// pick chooses the protocol and says why. One group has one protocol while it has members. Auto takes that of the group, and
// for a group without members the classic one, unless it was a streams group before: brokers refuse a changed topology to a
// streams group with members, so a roll-out that changes it would fail, and they know nothing of who is caught up.
func (p Protocol) pick(f facts) (streams bool, why string, err error) {
	lacks := f.lacks()
	switch {
	case p == ClassicProtocol:
		return false, "Config.GroupProtocol", nil
	case p == StreamsProtocol && lacks != "":
		return false, "", errors.New("stream: " + lacks)
	case p == StreamsProtocol && !f.group.streams && f.group.members > 0:
		return false, "", fmt.Errorf("stream: the group has %d members that use the classic protocol, and a group has one protocol: stop them first, or use ClassicProtocol", f.group.members)
	case p == StreamsProtocol:
		return true, "Config.GroupProtocol", nil
	case lacks != "":
		return false, lacks, nil
	case f.group.streams:
		return true, "it is a streams group", nil
	case f.group.members > 0:
		return false, "its members use it", nil
	}
	return false, "it is no streams group", nil
}

// lacks says what stands in the way of the streams protocol; "" if nothing does.
func (f facts) lacks() string {
	switch {
	case !f.speaks:
		return fmt.Sprintf("the streams group protocol needs brokers that finalize %s=%d (Kafka 4.2 and later; kafka-features.sh upgrade --feature %s=%d); use ClassicProtocol with others",
			streamsFeature, streamsLeast, streamsFeature, streamsLeast)
	case f.patterns:
		return "brokers do not know patterns of topics in the streams group protocol: name the topics, or use ClassicProtocol"
	case f.static:
		return "brokers do not know static members in the streams group protocol: leave Config.InstanceID out, or use ClassicProtocol"
	}
	return ""
}

// choose asks brokers and group, and settles by which protocol threads join.
func (e *Engine) choose(ctx context.Context) error {
	wanted := e.o.GroupProtocol
	if wanted == ClassicProtocol {
		return nil
	}
	able, err := e.abilities(ctx)
	if err != nil {
		return err
	}
	f := facts{speaks: speaks(able), patterns: e.o.Program.Plan.Patterns() != nil, static: e.o.InstanceID != ""}
	if f.lacks() == "" {
		if f.group, err = e.census(ctx); err != nil {
			return advised(e.app, err)
		}
	}
	var why string
	if e.streams, why, err = wanted.pick(f); err != nil {
		return err
	}
	e.copies = e.streams || e.o.Standbys > 0
	e.o.Log.Info("group protocol", "streams", e.streams, "because", why)
	return nil
}

// speaks says whether brokers both know the protocol's requests and have its feature in force: either may be without the other.
func speaks(able *kmsg.ApiVersionsResponse) bool {
	return slices.ContainsFunc(able.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
		return f.Name == streamsFeature && f.MaxVersionLevel >= streamsLeast
	}) && slices.ContainsFunc(able.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == int16(kmsg.StreamsGroupHeartbeat)
	})
}

// census asks the group's coordinator about it. A cluster that is young has none for a moment.
func (e *Engine) census(ctx context.Context) (census, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Reach)
	defer cancel()
	to := &coordinator{cl: e.client, group: e.app}
	for {
		found, err := e.count(ctx, to)
		if refusal, ok := errors.AsType[*kerr.Error](err); err == nil || ok && !refusal.Retriable {
			return found, err
		}
		if elsewhere(err) {
			to.forget()
		}
		select {
		case <-ctx.Done():
			return census{}, err
		case <-time.After(pause):
		}
	}
}

func (e *Engine) count(ctx context.Context, to *coordinator) (census, error) {
	req := kmsg.NewPtrStreamsGroupDescribeRequest()
	req.Groups = []string{e.app}
	answer, err := to.ask(ctx, req)
	if err != nil {
		return census{}, fmt.Errorf("stream: describe group %s: %w", e.app, err)
	}
	resp, ok := answer.(*kmsg.StreamsGroupDescribeResponse)
	if !ok || len(resp.Groups) != 1 {
		return census{}, fmt.Errorf("stream: describe group %s: the answer is a %T", e.app, answer)
	}
	g := resp.Groups[0]
	err = kerr.ErrorForCode(g.ErrorCode)
	if err == nil {
		return census{true, len(g.Members)}, nil
	}
	if !errors.Is(err, kerr.GroupIDNotFound) {
		return census{}, fmt.Errorf("stream: describe group %s: %w", e.app, err)
	}
	groups, err := e.admin.DescribeGroups(ctx, e.app)
	if err == nil {
		err = groups[e.app].Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return census{}, fmt.Errorf("stream: describe group %s: %w", e.app, err)
	}
	return census{false, len(groups[e.app].Members)}, nil
}

package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// convert makes a classic group of a streams group without members, which the next member makes a streams group again: brokers
// keep the topology of the last one otherwise, and take no other. Committed offsets stay. A group that has members is refused.
// It asks for a place in the classic way; the answer is only a name, which is given back.
func convert(ctx context.Context, to asker, group string) error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType = group, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	meta := kmsg.NewConsumerMemberMetadata()
	protocol.Name, protocol.Metadata = "convert", meta.AppendTo(nil)
	req.Protocols = append(req.Protocols, protocol)
	answer, err := to.ask(ctx, req)
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.JoinGroupResponse)
	if !ok {
		return fmt.Errorf("stream: convert group %s: the answer is a %T", group, answer)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); !errors.Is(err, kerr.MemberIDRequired) {
		return fmt.Errorf("stream: convert group %s: %w", group, err)
	}
	back := kmsg.NewPtrLeaveGroupRequest()
	back.Group = group
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = resp.MemberID
	back.Members = append(back.Members, one)
	_, err = to.ask(ctx, back)
	return err
}

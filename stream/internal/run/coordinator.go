package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds one request to a coordinator: with the network gone, another answer may be a look-up away.
const askTimeout = 15 * time.Second

// coordinator sends requests to the broker that coordinates a group. The client does not know that those of KIP-1071 go there.
// It is not safe for concurrent use.
type coordinator struct {
	cl    *kgo.Client
	group string
	node  int32
	known bool
}

// ask sends a request to the coordinator. An answer that says that it is none any more must be told by forget.
func (c *coordinator) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	resp, err := c.cl.Broker(int(c.node)).Request(ctx, req)
	if err != nil {
		c.forget()
		return nil, err
	}
	return resp, nil
}

func (c *coordinator) find(ctx context.Context) error {
	if c.known {
		return nil
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{c.group}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", c.group, err)
	}
	if len(resp.Coordinators) != 1 {
		return fmt.Errorf("find the coordinator of group %s: %d in the answer", c.group, len(resp.Coordinators))
	}
	found := resp.Coordinators[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", c.group, err)
	}
	c.node, c.known = found.NodeID, true
	return nil
}

// forget makes the next request look the coordinator up.
func (c *coordinator) forget() { c.known = false }

// elsewhere says that another broker may be the coordinator now, or that it is not one yet.
func elsewhere(err error) bool {
	return errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress)
}

package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// readyTimeout is how long a new topic may take until every partition has a leader.
const readyTimeout = 30 * time.Second

// Apply carries the plan out and returns when every changed topic can be used. It goes on after a topic that fails; all
// failures come in one error. A topic that somebody else made meanwhile is no failure, but may need another plan.
func Apply(ctx context.Context, adm *kadm.Client, p Plan) error {
	var errs []error
	for _, c := range p.Changes {
		if err := c.apply(ctx, adm); err != nil {
			errs = append(errs, fmt.Errorf("topics: %s: %w", c.Topic.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return awaitLeaders(ctx, adm, p)
}

func (c Change) apply(ctx context.Context, adm *kadm.Client) error {
	if c.Create {
		return c.create(ctx, adm)
	}
	if c.Grow > 0 {
		resp, err := adm.UpdatePartitions(ctx, c.Topic.Partitions, c.Topic.Name)
		if err = errors.Join(err, resp[c.Topic.Name].Err); err != nil {
			return fmt.Errorf("grow from %d to %d partitions: %w", c.Grow, c.Topic.Partitions, err)
		}
	}
	return c.configure(ctx, adm)
}

func (c Change) create(ctx context.Context, adm *kadm.Client) error {
	configs := make(map[string]*string, len(c.Topic.Configs))
	for name, value := range c.Topic.Configs {
		configs[name] = &value
	}
	_, err := adm.CreateTopic(ctx, int32(c.Topic.Partitions), int16(c.Topic.Replication), configs, c.Topic.Name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return nil
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return fmt.Errorf("create with replication %d: %w: the cluster has fewer brokers; --replication says another number",
			c.Topic.Replication, err)
	case err != nil:
		return fmt.Errorf("create: %w", err)
	}
	return nil
}

func (c Change) configure(ctx context.Context, adm *kadm.Client) error {
	if len(c.Configs) == 0 {
		return nil
	}
	var alter []kadm.AlterConfig
	for _, k := range c.Configs {
		a := kadm.AlterConfig{Op: kadm.SetConfig, Name: k.Name, Value: new(k.To)}
		if k.Unset {
			a = kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k.Name}
		}
		alter = append(alter, a)
	}
	resps, err := adm.AlterTopicConfigs(ctx, alter, c.Topic.Name)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	for _, r := range resps {
		if r.Err != nil {
			return fmt.Errorf("configure: %w %s", r.Err, r.ErrMessage)
		}
	}
	return nil
}

// awaitLeaders waits until what the plan made is known to the brokers: a new topic takes a moment to get its leaders.
func awaitLeaders(ctx context.Context, adm *kadm.Client, p Plan) error {
	if p.Empty() {
		return nil
	}
	names := make([]string, len(p.Changes))
	for i, c := range p.Changes {
		names[i] = c.Topic.Name
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		missing, err := leaderless(ctx, adm, p, names)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("topics: %s has no leader: %w", missing, context.Cause(ctx)), err)
		case <-tick.C:
		}
	}
}

// leaderless names a topic that cannot be used yet.
func leaderless(ctx context.Context, adm *kadm.Client, p Plan, names []string) (string, error) {
	details, err := adm.ListTopics(fresh(ctx), names...)
	if err != nil {
		return "", fmt.Errorf("topics: list: %w", err)
	}
	for _, c := range p.Changes {
		d := details[c.Topic.Name]
		usable := func(p kadm.PartitionDetail) bool { return p.Err == nil && p.Leader >= 0 }
		n := 0
		for _, part := range d.Partitions {
			if usable(part) {
				n++
			}
		}
		if n < c.Topic.Partitions {
			return c.Topic.Name, nil
		}
	}
	return "", nil
}

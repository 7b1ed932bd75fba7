package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Plan is what has to change for the cluster to be as declared. It holds only what can be changed: Drift also says what
// cannot.
type Plan struct{ Changes []Change }

// Change is what has to change about one topic.
type Change struct {
	Topic   Topic
	Create  bool
	Grow    int            // partitions to grow from, 0 when their number is right
	Configs []ConfigChange // of an existing topic, sorted by name
}

// ConfigChange is one configuration that has to change.
type ConfigChange struct {
	Name string
	From string // what the topic has now
	To   string
	// Unset removes a setting that is not declared; To is empty then.
	Unset bool
}

// Empty says that the cluster is as declared, as far as it can be.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// String is the plan for people, one line a change.
func (p Plan) String() string {
	if p.Empty() {
		return "topics are as declared\n"
	}
	var b strings.Builder
	for _, c := range p.Changes {
		c.write(&b)
	}
	return b.String()
}

func (c Change) write(b *strings.Builder) {
	if c.Create {
		fmt.Fprintf(b, "+ %s: partitions %d, replication %d", c.Topic.Name, c.Topic.Partitions, c.Topic.Replication)
		for _, name := range c.Topic.configNames() {
			fmt.Fprintf(b, ", %s=%s", name, c.Topic.Configs[name])
		}
		b.WriteByte('\n')
		return
	}
	if c.Grow > 0 {
		fmt.Fprintf(b, "~ %s: partitions %d -> %d\n", c.Topic.Name, c.Grow, c.Topic.Partitions)
	}
	for _, k := range c.Configs {
		if k.Unset {
			fmt.Fprintf(b, "- %s: %s=%s is not declared\n", c.Topic.Name, k.Name, k.From)
			continue
		}
		fmt.Fprintf(b, "~ %s: %s %s -> %s\n", c.Topic.Name, k.Name, k.From, k.To)
	}
}

// actual is a topic as the cluster has it.
type actual struct {
	partitions, replication int
	configs                 map[string]string // effective
	set                     map[string]string // set on the topic itself
}

// MakePlan compares the cluster with the declaration. It changes nothing.
func MakePlan(ctx context.Context, adm *kadm.Client, s Spec, o Options) (Plan, error) {
	s = s.within(o)
	have, err := look(ctx, adm, s)
	if err != nil {
		return Plan{}, err
	}
	var p Plan
	for _, t := range s.Topics {
		a, ok := have[t.Name]
		if !ok {
			p.Changes = append(p.Changes, Change{Topic: t, Create: true})
			continue
		}
		c := Change{Topic: t, Configs: a.differences(t)}
		if a.partitions < t.Partitions {
			c.Grow = a.partitions
		}
		if c.Grow > 0 || len(c.Configs) > 0 {
			p.Changes = append(p.Changes, c)
		}
	}
	return p, nil
}

// Drift says, one line each, in what the cluster is not as declared, also what no plan can change: too many partitions,
// another replication. No line means no drift.
func Drift(ctx context.Context, adm *kadm.Client, s Spec, o Options) ([]string, error) {
	s = s.within(o)
	have, err := look(ctx, adm, s)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range s.Topics {
		a, ok := have[t.Name]
		if !ok {
			lines = append(lines, t.Name+": missing")
			continue
		}
		if a.partitions != t.Partitions {
			lines = append(lines, fmt.Sprintf("%s: partitions %d, declared %d", t.Name, a.partitions, t.Partitions))
		}
		if a.replication != t.Replication {
			lines = append(lines, fmt.Sprintf("%s: replication %d, declared %d", t.Name, a.replication, t.Replication))
		}
		for _, k := range a.differences(t) {
			if k.Unset {
				lines = append(lines, fmt.Sprintf("%s: %s=%s, not declared", t.Name, k.Name, k.From))
				continue
			}
			lines = append(lines, fmt.Sprintf("%s: %s=%s, declared %s", t.Name, k.Name, k.From, k.To))
		}
	}
	return lines, nil
}

func (a actual) differences(t Topic) []ConfigChange {
	var changes []ConfigChange
	for _, name := range t.configNames() {
		if a.configs[name] != t.Configs[name] {
			changes = append(changes, ConfigChange{Name: name, From: a.configs[name], To: t.Configs[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.set)) {
		if _, ok := t.Configs[name]; !ok {
			changes = append(changes, ConfigChange{Name: name, From: a.set[name], Unset: true})
		}
	}
	slices.SortStableFunc(changes, func(a, b ConfigChange) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// look is the declared topics that the cluster has.
func look(ctx context.Context, adm *kadm.Client, s Spec) (map[string]actual, error) {
	details, err := adm.ListTopics(fresh(ctx), s.Names()...)
	if err != nil {
		return nil, fmt.Errorf("topics: list: %w", err)
	}
	have := make(map[string]actual)
	var names []string
	for name, d := range details {
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if d.Err != nil {
			return nil, fmt.Errorf("topics: %s: %w", name, d.Err)
		}
		have[name] = actual{
			partitions: len(d.Partitions), replication: d.Partitions.NumReplicas(),
			configs: make(map[string]string), set: make(map[string]string),
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return have, nil
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("topics: read configurations: %w", err)
	}
	for _, c := range configs {
		if c.Err != nil {
			return nil, fmt.Errorf("topics: read configurations of %s: %w", c.Name, c.Err)
		}
		for _, k := range c.Configs {
			have[c.Name].configs[k.Key] = k.MaybeValue()
			if k.Source == kmsg.ConfigSourceDynamicTopicConfig {
				have[c.Name].set[k.Key] = k.MaybeValue()
			}
		}
	}
	return have, nil
}

// fresh makes a listing come from the brokers: kadm answers from memory for five seconds, unless it is asked for what it
// does not keep there.
func fresh(ctx context.Context) context.Context { return kadm.WithAuthorizedOps(ctx) }

package run

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// shape is the topology as a streams group knows it (KIP-1071). The broker compares it byte by byte with what other members
// said, so everything is sorted and nothing depends on how large topics are. internal are the topics with their
// configurations, factor is their replication factor, 0 the broker's.
func shape(p *plan.Plan, internal []plan.InternalTopic, factor int) *kmsg.StreamsGroupHeartbeatRequestTopology {
	configs := map[string]map[string]string{}
	for _, t := range internal {
		configs[t.Name] = t.Config
	}
	info := func(name string, partitions int32) kmsg.TopicInfo {
		i := kmsg.NewTopicInfo()
		i.Topic, i.NumPartitions, i.ReplicationFactor = name, partitions, int16(factor)
		for _, k := range slices.Sorted(maps.Keys(configs[name])) {
			c := kmsg.NewTopicInfoConfig()
			c.Key, c.Value = k, configs[name][k]
			i.Configs = append(i.Configs, c)
		}
		return i
	}
	out := kmsg.NewStreamsGroupHeartbeatRequestTopology()
	for _, sub := range p.Subs {
		if !sub.Global {
			out.Subtopologies = append(out.Subtopologies, shapeOf(p, sub, info))
		}
	}
	slices.SortFunc(out.Subtopologies, func(a, b kmsg.StreamsGroupHeartbeatRequestTopologySubtopology) int {
		return cmp.Compare(a.SubtopologyID, b.SubtopologyID)
	})
	return &out
}

func shapeOf(p *plan.Plan, sub *plan.Sub, info func(string, int32) kmsg.TopicInfo) kmsg.StreamsGroupHeartbeatRequestTopologySubtopology {
	out := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
	out.SubtopologyID = strconv.Itoa(sub.ID)
	for _, n := range sub.Nodes {
		switch {
		case n.Kind == plan.Source && n.Internal:
			name := n.Topics[0]
			out.RepartitionSourceTopics = append(out.RepartitionSourceTopics, info(p.Topic(name, true), p.Repartition(name).Partitions))
		case n.Kind == plan.Source:
			out.SourceTopics = append(out.SourceTopics, n.Topics...)
		case n.Kind == plan.Sink && n.Internal:
			out.RepartitionSinkTopics = append(out.RepartitionSinkTopics, p.Topic(n.Topics[0], true))
		}
	}
	for _, s := range sub.Stores {
		if s.Logged && s.Source == "" {
			out.StateChangelogTopics = append(out.StateChangelogTopics, info(p.Changelog(s.Name), 0))
		}
	}
	byName := func(a, b kmsg.TopicInfo) int { return cmp.Compare(a.Topic, b.Topic) }
	slices.SortFunc(out.RepartitionSourceTopics, byName)
	slices.SortFunc(out.StateChangelogTopics, byName)
	slices.Sort(out.SourceTopics)
	out.SourceTopics = slices.Compact(out.SourceTopics)
	slices.Sort(out.RepartitionSinkTopics)
	out.RepartitionSinkTopics = slices.Compact(out.RepartitionSinkTopics)
	out.CopartitionGroups = copartitions(p, &out)
	return out
}

// copartitions are the sets of topics of a sub-topology that have equally many partitions, by their places in its lists.
func copartitions(p *plan.Plan, sub *kmsg.StreamsGroupHeartbeatRequestTopologySubtopology) (out []kmsg.StreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup) {
	for _, topics := range p.Copartitioned() {
		g := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopologyCopartitionGroup()
		for _, t := range topics {
			if i, ok := slices.BinarySearch(sub.SourceTopics, t); ok {
				g.SourceTopics = append(g.SourceTopics, int16(i))
			}
			if i := slices.IndexFunc(sub.RepartitionSourceTopics, func(r kmsg.TopicInfo) bool { return r.Topic == t }); i >= 0 {
				g.RepartitionSourceTopics = append(g.RepartitionSourceTopics, int16(i))
			}
		}
		if len(g.SourceTopics)+len(g.RepartitionSourceTopics) > 1 {
			out = append(out, g)
		}
	}
	return out
}

// byTask sorts tasks.
func byTask(a, b task.ID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}

// taskLists are tasks as the protocol says them: never nil, which would mean that nothing has changed.
func taskLists(ids []task.ID) []kmsg.TaskIDs {
	out := []kmsg.TaskIDs{}
	for _, id := range slices.SortedFunc(slices.Values(ids), byTask) {
		sub := strconv.Itoa(id.Sub)
		if n := len(out); n == 0 || out[n-1].SubtopologyID != sub {
			out = append(out, kmsg.TaskIDs{SubtopologyID: sub})
		}
		out[len(out)-1].Partitions = append(out[len(out)-1].Partitions, id.Partition)
	}
	return out
}

// readTasks reads what taskLists writes. What is no sub-topology of ours is left out: the broker knows no other.
func readTasks(lists []kmsg.TaskIDs, subs int) []task.ID {
	var out []task.ID
	for _, l := range lists {
		sub, err := strconv.Atoi(l.SubtopologyID)
		if err != nil || sub < 0 || sub >= subs {
			continue
		}
		for _, p := range l.Partitions {
			out = append(out, task.ID{Sub: sub, Partition: p})
		}
	}
	slices.SortFunc(out, byTask)
	return slices.Compact(out)
}

package kafkad

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// guard puts ourselves before some of kfake's request handlers. While such a function runs, kfake handles no other
// request, so what it does cannot be seen half done. It may ask the cluster; it must not send requests.
func (s *Server) guard() {
	s.cluster.ControlKey(int16(kmsg.Produce), s.beforeProduce)
	s.cluster.ControlKey(int16(kmsg.Fetch), s.beforeFetch)
	s.cluster.ControlKey(int16(kmsg.DeleteRecords), s.beforeDeleteRecords)
	s.cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), s.answerLeaderEpoch)
	s.cluster.ControlKey(int16(kmsg.CreateTopics), s.whileSwapped)
	s.cluster.ControlKey(int16(kmsg.DescribeConfigs), s.whileSwapped)
	s.cluster.ControlKey(int16(kmsg.AlterConfigs), s.whileSwapped)
	s.cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), s.whileSwapped)
	s.cluster.ControlKey(int16(kmsg.DescribeClientQuotas), s.duringStop)
}

// ahead is Kafka's default of message.timestamp.after.max.ms since version 4.0 (KIP-937).
const ahead = time.Hour

// beforeProduce refuses batches from the future, as Kafka does and kfake does not: one of them would keep everything
// behind it from expiring, for as long as its writer likes. The machine's own time is never the future.
func (s *Server) beforeProduce(req kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := req.(*kmsg.ProduceRequest)
	if !ok || r.Acks == 0 {
		return nil, nil, false
	}
	latest := max(s.config.Clock.Now().UnixMilli(), time.Now().UnixMilli()) + ahead.Milliseconds()
	refused := false
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			refused = refused || youngest(p.Records) > latest
		}
	}
	if !refused {
		return nil, nil, false
	}
	s.cluster.KeepControl()
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range r.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.BaseOffset = p.Partition, -1
			rp.ErrorCode = kerr.NotLeaderForPartition.Code // nothing is wrong with it: it is sent again
			if youngest(p.Records) > latest {
				rp.ErrorCode = kerr.InvalidTimestamp.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

// whileSwapped lets requests about configurations wait for the moment in which these are not the topics' own. The
// request that ends this moment passes.
func (s *Server) whileSwapped(req kmsg.Request) (kmsg.Response, error, bool) {
	if r, ok := req.(*kmsg.IncrementalAlterConfigsRequest); ok && s.cleaner.isOwn(r) {
		return nil, nil, false
	}
	if s.cleaner.swapped.TryRLock() {
		s.cleaner.swapped.RUnlock()
		return nil, nil, false
	}
	s.cluster.SleepControl(s.cleaner.awaitSwapped)
	return nil, nil, false
}

// duringStop runs the cleaner's work that must have the broker to itself, when the cleaner asks by a request.
func (s *Server) duringStop(req kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := req.(*kmsg.DescribeClientQuotasRequest)
	if !ok || len(r.Components) != 1 || r.Components[0].EntityType != s.cleaner.token {
		return nil, nil, false
	}
	s.cluster.KeepControl()
	s.cleaner.alone()
	return req.ResponseKind(), nil, true
}

// beforeDeleteRecords notes what a client is about to delete; a client's deletion must outlive kill -9 as ours does.
// kfake then handles the request, and answers it.
func (s *Server) beforeDeleteRecords(req kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := req.(*kmsg.DeleteRecordsRequest)
	if !ok || s.starts == nil {
		return nil, nil, false
	}
	for _, t := range r.Topics {
		topic := s.cluster.TopicInfo(t.Topic)
		if topic == nil {
			continue
		}
		for _, p := range t.Partitions {
			info := s.cluster.PartitionInfo(t.Topic, p.Partition)
			if info == nil {
				continue
			}
			to := p.Offset
			if to == -1 {
				to = info.HighWatermark
			}
			if to < info.LogStartOffset || to > info.HighWatermark {
				continue // kfake refuses it
			}
			if err := s.starts.set(t.Topic, topic.TopicID, p.Partition, to); err != nil {
				return nil, err, true // the connection ends: nothing was deleted, nothing promised
			}
		}
	}
	return nil, nil, false
}

// beforeFetch lets a consumer whose offset was compacted away go on at the first record that is left, as Kafka does:
// kfake moves the log's start at compaction, and would say OFFSET_OUT_OF_RANGE.
func (s *Server) beforeFetch(req kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := req.(*kmsg.FetchRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if first := s.cleaner.compactedTo(t.Topic, t.TopicID, p.Partition); p.FetchOffset >= 0 && p.FetchOffset < first {
				p.FetchOffset = first
			}
		}
	}
	return nil, nil, false
}

// answerLeaderEpoch answers that everything of every epoch up to the leader's is still there (KIP-320). This broker has
// no followers, so no log is ever truncated; kfake's own answer claims so after a leader moved.
func (s *Server) answerLeaderEpoch(req kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := req.(*kmsg.OffsetForLeaderEpochRequest)
	if !ok || !s.knowsAll(r) {
		return nil, nil, false // kfake knows the errors
	}
	s.cluster.KeepControl()
	resp := r.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range r.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition = p.Partition
			info := s.cluster.PartitionInfo(t.Topic, p.Partition)
			if p.LeaderEpoch <= info.Epoch {
				rp.LeaderEpoch, rp.EndOffset = p.LeaderEpoch, info.HighWatermark
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

// knowsAll says whether every partition asked about exists, and in the epoch that the client believes in.
func (s *Server) knowsAll(r *kmsg.OffsetForLeaderEpochRequest) bool {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			info := s.cluster.PartitionInfo(t.Topic, p.Partition)
			if info == nil || (p.CurrentLeaderEpoch != -1 && p.CurrentLeaderEpoch != info.Epoch) {
				return false
			}
		}
	}
	return true
}

var _ kfake.Logger = brokerLog{}

package demo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// kafkaCopies proves the purge of Kafka's copies against a cluster whose clock nobody moves: what its topics are
// configured to forget, and, where its log folder can be read, that it does forget.
func (s *story) kafkaCopies(ctx context.Context) {
	admin := kadm.NewClient(s.kafka)
	s.rep.check("topics that name images forget them within seven days", func() (string, error) {
		limit := events.Retention
		names := []string{events.TopicRawImages, events.TopicImageStatus, events.TopicProcessedImages, events.DLQ(events.TopicRawImages)}
		configs, err := admin.DescribeTopicConfigs(ctx, names...)
		if err != nil {
			return "", err
		}
		for _, c := range configs {
			kept, err := keeps(c)
			if err != nil {
				return "", err
			}
			if kept > limit {
				return "", fmt.Errorf("%s keeps records up to %s, more than %s", c.Name, kept, limit)
			}
		}
		return fmt.Sprintf("%d topics", len(configs)), nil
	})
	if dir := s.in.Config.Kafka.LogDir; dir != "" {
		s.rep.check("scaled down, retention 60 s and segment 10 s: a planted record is gone from the log files", func() (string, error) {
			return s.scaled(ctx, admin, dir)
		})
	}
}

// keeps is retention.ms plus segment.ms: a record leaves with its segment, which closes only after segment.ms.
func keeps(c kadm.ResourceConfig) (time.Duration, error) {
	var sum time.Duration
	for _, v := range c.Configs {
		if v.Key != "retention.ms" && v.Key != "segment.ms" {
			continue
		}
		ms, err := strconv.ParseInt(v.MaybeValue(), 10, 64)
		if err != nil || ms < 0 {
			return 0, fmt.Errorf("%s: %s is %q", c.Name, v.Key, v.MaybeValue())
		}
		sum += time.Duration(ms) * time.Millisecond
	}
	return sum, nil
}

// scaled plants a record in a topic of its own, with retention and segments 10,000 times shorter, and keeps the topic
// going, since a segment closes on append.
func (s *story) scaled(ctx context.Context, admin *kadm.Client, dir string) (string, error) {
	topic, planted := "millrun-demo-"+uuid.NewString(), uuid.NewString()
	ms := func(d time.Duration) *string { v := strconv.FormatInt(d.Milliseconds(), 10); return &v }
	if _, err := admin.CreateTopic(ctx, 1, -1, map[string]*string{"retention.ms": ms(time.Minute), "segment.ms": ms(10 * time.Second)}, topic); err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	defer admin.DeleteTopic(ctx, topic) //nolint:errcheck // it is empty by then, and no other check depends on it
	if err := s.kafka.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(planted)}).FirstErr(); err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	n := newNeedles()
	n.add([]byte(planted), "planted record")
	if _, err := n.searchDir(dir); err == nil {
		return "", fmt.Errorf("the planted record is not in %s in the first place", dir)
	}
	begun := time.Now()
	err := awaitEvery(ctx, 4*time.Minute, time.Second, func() error {
		if err := s.kafka.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("tick")}).FirstErr(); err != nil {
			return err
		}
		_, err := n.searchDir(dir)
		return err
	})
	return "after " + time.Since(begun).Round(time.Second).String(), err
}

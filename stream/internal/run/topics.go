package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrun/millrun/stream/internal/plan"
)

// ErrTopics is the cause when a topic is missing or does not fit.
var ErrTopics = errors.New("stream: a topic is missing or does not fit")

// Times of the start.
const (
	createTimeout = 30 * time.Second
	absentGrace   = 5 * time.Second // a topic made a moment ago may not be known to every broker yet
	pause         = 100 * time.Millisecond
)

// topicSizes knows how many partitions topics have, and their ids. Safe for concurrent use.
type topicSizes struct {
	mu sync.RWMutex
	n  map[string]int32
	id map[string][16]byte
}

func (s *topicSizes) get(topic string) (int32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.n[topic]
	return n, ok
}

func (s *topicSizes) topicID(topic string) [16]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.id[topic]
}

func (s *topicSizes) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Keys(s.n))
}

func (s *topicSizes) put(details kadm.TopicDetails) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n, s.id = map[string]int32{}, map[string][16]byte{}
	}
	for _, d := range details {
		if d.Err == nil {
			s.n[d.Topic], s.id[d.Topic] = int32(len(d.Partitions)), d.ID
		}
	}
}

// prepare checks the topics of the user and makes those of the application.
func (e *Engine) prepare(ctx context.Context) error {
	p := e.o.Program.Plan
	sources, sinks := p.UserTopics(plan.Source), p.UserTopics(plan.Sink)
	matched, err := e.matched(ctx)
	if err != nil {
		return err
	}
	all := slices.Concat(sources, sinks, matched, dead(e.o.Program.DeadLetter))
	slices.Sort(all)
	all = slices.Compact(all)
	for start := time.Now(); ; {
		found, err := e.describe(ctx, all)
		if err != nil {
			return err
		}
		err = errors.Join(absent(found, sources, "source"), absent(found, sinks, "sink"), absent(found, dead(e.o.Program.DeadLetter), "dead letter"))
		if err == nil {
			return e.makeInternal(ctx, found)
		}
		if time.Since(start) > e.grace(found) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// grace is how long topics may be missing: one that is there and has no leader will have one.
func (e *Engine) grace(found kadm.TopicDetails) time.Duration {
	for _, d := range found {
		if kerr.IsRetriable(d.Err) && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return e.o.Reach
		}
	}
	return absentGrace
}

func dead(topic string) []string {
	if topic == "" {
		return nil
	}
	return []string{topic}
}

// matched are the topics that there are of those that patterns ask for.
func (e *Engine) matched(ctx context.Context) ([]string, error) {
	p := e.o.Program.Plan
	if p.Patterns() == nil {
		return nil, nil
	}
	all, err := e.describe(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, sub := range p.Subs {
		out = append(out, p.TopicsAmong(sub, maps.Keys(all))...)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(t string) bool { _, there := all[t]; return !there }), nil
}

// subscription is what a thread's client is told to consume: names, or if there are patterns, regular expressions all.
func subscription(p *plan.Plan) []string {
	names := p.SourceTopics()
	patterns := p.Patterns()
	if patterns == nil {
		return names
	}
	for i, n := range names {
		names[i] = `\A` + regexp.QuoteMeta(n) + `\z`
	}
	for _, p := range patterns {
		names = append(names, `\A(?:`+p.String()+`)\z`)
	}
	return names
}

// absent names the topics that are not there, or cannot be read.
func absent(found kadm.TopicDetails, topics []string, what string) error {
	var faults []error
	for _, t := range topics {
		if d, ok := found[t]; !ok || d.Err != nil {
			faults = append(faults, fmt.Errorf("%w: %s topic %q: %w", ErrTopics, what, t, topicFault(d.Err, what)))
		}
	}
	return errors.Join(faults...)
}

// topicFault says what is wrong with a topic and what to do about it.
func topicFault(err error, what string) error {
	switch {
	case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
		return errors.New("it does not exist; create it before the application starts, which makes only its internal topics")
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("%w (%s)", err, topicRights(what))
	}
	return err
}

// topicRights says what an application must be allowed to do with a topic.
func topicRights(what string) string {
	if what == "source" {
		return "grant Read on it to this application's principal"
	}
	return "grant Write on it to this application's principal"
}

// describe asks about topics and remembers their sizes.
func (e *Engine) describe(ctx context.Context, topics []string) (kadm.TopicDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Reach)
	defer cancel()
	if err := e.reach(ctx); err != nil {
		return nil, err
	}
	found, err := e.admin.ListTopics(ctx, topics...)
	if errors.Is(err, kerr.TopicAuthorizationFailed) && len(topics) > 0 {
		found, err = e.describeEach(ctx, topics)
	}
	if err != nil {
		return nil, advised(e.app, fmt.Errorf("stream: describe topics: %w", err))
	}
	e.partitions.put(found)
	return found, nil
}

// describeEach asks topic by topic, to find out which ones must not be seen.
func (e *Engine) describeEach(ctx context.Context, topics []string) (kadm.TopicDetails, error) {
	all := kadm.TopicDetails{}
	for _, t := range topics {
		found, err := e.admin.ListTopics(ctx, t)
		switch {
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			all[t] = kadm.TopicDetail{Topic: t, Err: kerr.TopicAuthorizationFailed}
		case err != nil:
			return nil, err
		default:
			maps.Copy(all, found)
		}
	}
	return all, nil
}

// reach waits until a broker answers: they may be starting, as the application is.
func (e *Engine) reach(ctx context.Context) error {
	for {
		err := e.client.Ping(ctx)
		if err == nil {
			return nil
		}
		err = advised(e.app, fmt.Errorf("stream: no broker of %s answers: %w", strings.Join(e.o.Brokers, ", "), err))
		if strangers(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// makeInternal creates the internal topics that are missing and compares those that are there. Several instances may do so
// at the same time: a topic that another has just made is fine.
func (e *Engine) makeInternal(ctx context.Context, found kadm.TopicDetails) error {
	sizes := map[string]int32{}
	for name, d := range found {
		sizes[name] = int32(len(d.Partitions))
	}
	wanted, err := e.o.Program.Plan.Internal(sizes, e.o.TopicConfig)
	if err != nil {
		return fmt.Errorf("stream: internal topics: %w", err)
	}
	e.raiseLags(wanted)
	e.internal = wanted
	if len(wanted) == 0 {
		return nil
	}
	names := make([]string, len(wanted))
	for i, w := range wanted {
		names[i] = w.Name
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	for {
		there, err := e.describe(ctx, names)
		if err != nil {
			return err
		}
		open, err := compare(e.app, wanted, there)
		if err != nil {
			return err
		}
		if len(open) == 0 {
			return e.checkLags(ctx, wanted)
		}
		for _, w := range open {
			if err := e.create(ctx, w); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: internal topic %q was created and does not appear: %w", ErrTopics, open[0].Name, ctx.Err())
		case <-time.After(pause): // metadata needs a moment to reach every broker
		}
	}
}

// compare finds the topics that are not there yet.
func compare(app string, wanted []plan.InternalTopic, there kadm.TopicDetails) (open []plan.InternalTopic, err error) {
	var faults []error
	for _, w := range wanted {
		d, ok := there[w.Name]
		switch {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) || d.Err == nil && len(d.Partitions) == 0:
			open = append(open, w)
		case d.Err != nil:
			faults = append(faults, advised(app, fmt.Errorf("%w: internal topic %q: %w", ErrTopics, w.Name, d.Err)))
		case int32(len(d.Partitions)) != w.Partitions:
			faults = append(faults, fmt.Errorf("%w: internal topic %q has %d partitions, and the source topics ask for %d; reset the application or give the sources their old number", ErrTopics, w.Name, len(d.Partitions), w.Partitions))
		}
	}
	return open, errors.Join(faults...)
}

func (e *Engine) create(ctx context.Context, w plan.InternalTopic) error {
	configs := map[string]*string{}
	for k, v := range maps.All(w.Config) {
		configs[k] = &v
	}
	factor := int16(-1)
	if e.o.ReplicationFactor > 0 {
		factor = int16(e.o.ReplicationFactor)
	}
	resp, err := e.admin.CreateTopic(ctx, w.Partitions, factor, configs, w.Name)
	if err == nil {
		err = resp.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return advised(e.app, fmt.Errorf("%w: internal topic %q cannot be created: %w %s", ErrTopics, w.Name, err, resp.ErrMessage))
	}
	return nil
}

// size is how many partitions a topic has that records are sent to, asked once.
func (e *Engine) size(ctx context.Context, topic string) (int32, error) {
	if n, ok := e.partitions.get(topic); ok {
		return n, nil
	}
	found, err := e.describe(ctx, []string{topic})
	if err != nil {
		return 0, err
	}
	n, ok := e.partitions.get(topic)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%w: topic %q: %w", ErrTopics, topic, topicFault(found[topic].Err, "sink"))
	}
	return n, nil
}

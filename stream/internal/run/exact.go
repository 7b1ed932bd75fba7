package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// What a thread and its engine do so that state counts nothing twice; the rest is the task's.

// lagConfig is how long brokers keep everything that is written to a compacted topic.
const lagConfig = "min.compaction.lag.ms"

// compacted says whether a topic is.
func compacted(w plan.InternalTopic) bool {
	return strings.Contains(w.Config["cleanup.policy"], "compact")
}

// raiseLags lets the changelogs that are made keep everything for as long as a recovery may take.
func (e *Engine) raiseLags(wanted []plan.InternalTopic) {
	if !e.o.ExactState {
		return
	}
	for _, w := range wanted {
		if has, _ := strconv.ParseInt(w.Config[lagConfig], 10, 64); compacted(w) && has < e.o.LongestRecovery.Milliseconds() {
			w.Config[lagConfig] = strconv.FormatInt(e.o.LongestRecovery.Milliseconds(), 10)
		}
	}
}

// checkLags refuses changelogs that may be compacted before a recovery is over: what a record has replaced could be gone that
// has to be left out, and its key with it.
func (e *Engine) checkLags(ctx context.Context, topics []plan.InternalTopic) error {
	names := map[string]bool{}
	for _, w := range topics {
		if compacted(w) {
			names[w.Name] = true
		}
	}
	if !e.o.ExactState || len(names) == 0 {
		return nil
	}
	configs, err := e.admin.DescribeTopicConfigs(ctx, slices.Sorted(maps.Keys(names))...)
	if err != nil {
		return fmt.Errorf("stream: what changelogs are configured to: %w", err)
	}
	var faults []error
	for _, c := range configs {
		if c.Err != nil {
			faults = append(faults, fmt.Errorf("stream: what changelog %q is configured to: %w (grant DescribeConfigs on it)", c.Name, c.Err))
			continue
		}
		has, told := lagOf(c)
		switch want := e.o.LongestRecovery.Milliseconds(); {
		case !told:
			e.o.Log.Warn("brokers do not say for how long they do not compact a changelog; it must be longer than any recovery takes",
				"topic", c.Name, "setting", lagConfig, "longest", e.o.LongestRecovery)
		case has < want:
			faults = append(faults, fmt.Errorf("%w: changelog %q may be compacted after %s=%d, and ExactState needs %d, Config.LongestRecovery: what a record "+
				"has replaced could be gone that is to be left out after a crash; kafka-configs.sh --alter --topic %s --add-config %s=%d, or set LongestRecovery lower",
				ErrTopics, c.Name, lagConfig, has, want, c.Name, lagConfig, want))
		}
	}
	return errors.Join(faults...)
}

// lagOf finds the setting among those of a topic.
func lagOf(c kadm.ResourceConfig) (ms int64, told bool) {
	for _, entry := range c.Configs {
		if entry.Key == lagConfig && entry.Value != nil {
			ms, _ = strconv.ParseInt(*entry.Value, 10, 64)
			return ms, true
		}
	}
	return 0, false
}

// orient tells a task what is committed, before it restores. False: that is not known yet.
func (r *restorer) orient(a *active) bool {
	t := r.t
	if !t.e.o.ExactState {
		return true
	}
	var committed []task.Offset
	switch {
	case !a.copy && !t.start(a):
		return false
	case !a.copy:
		committed = t.committedOf(a)
	default:
		for _, at := range t.inputs(a) {
			o, ok := r.decided[at]
			if !ok {
				return false
			}
			committed = append(committed, o)
		}
	}
	a.task.Recall(committed)
	if t.e.fail.Planted("stamps-ignored") {
		a.task.RecallAll()
	}
	return true
}

// unproved says why a store on disk is not gone on with although it fits its changelog: nothing is committed of the task's inputs,
// and only the stamps in the changelog can tell whether anything ever was.
func (t *thread) unproved(a *active, spec *task.StoreSpec, m store.Mark) error {
	if !t.e.o.ExactState || a.copy || !spec.OnDisk || spec.Source != "" || m.Position <= 0 ||
		slices.ContainsFunc(t.committedOf(a), func(o task.Offset) bool { return !o.New }) {
		return nil
	}
	return errors.New("nothing is committed of what the task reads")
}

// inputs are the partitions that a task reads.
func (t *thread) inputs(a *active) (at []part) {
	known := t.e.partitions.names()
	for _, topic := range t.e.o.Program.Plan.TopicsAmong(a.sub, slices.Values(known)) {
		if n, ok := t.e.partitions.get(topic); ok && a.id.Partition < n {
			at = append(at, part{topic, a.id.Partition})
		}
	}
	return at
}

// learn notes what is committed of the inputs of tasks that copies are made of.
func (r *restorer) learn(found map[part]task.Offset) {
	if !r.t.e.o.ExactState {
		return
	}
	if r.decided == nil {
		r.decided = map[part]task.Offset{}
	}
	for at, o := range found {
		o.New = o.Offset < 0
		r.decided[at] = o
	}
	for _, a := range r.t.copies {
		r.orient(a)
	}
}

// decide leaves off what a copy cannot know yet whether it counts: what stems from records that are not committed.
func (r *restorer) decide(j *job, in []task.Input) []task.Input {
	if !j.a.copy || !r.t.e.o.ExactState {
		return in
	}
	return in[:j.a.task.Decided(j.store, in)]
}

// holds says whether nothing more can have been decided since a copy began to wait.
func (r *restorer) holds(at part) bool {
	since, ok := r.held[at]
	return ok && !r.asked.After(since)
}

// hold lets a copy wait until more is decided. What it has taken of its job is in.
func (r *restorer) hold(j *job, in []task.Input) error {
	r.remove(j)
	if r.held == nil {
		r.held = map[part]time.Time{}
	}
	r.held[j.at] = time.Now()
	if len(in) == 0 {
		return nil
	}
	j.next = in[len(in)-1].Offset + 1
	return r.t.restored(j.a, j.store, j.next)
}

// committedOf is what is committed of a task's inputs.
func (t *thread) committedOf(a *active) (out []task.Offset) {
	for topic := range a.partitions {
		out = append(out, t.fetched[part{topic, a.id.Partition}])
	}
	return out
}

// lacks says whether a store that is restored has left something out that its changelog still says. Until that is put right,
// what is restored is not made lasting: whoever went on from there would never see it.
func (t *thread) lacks(a *active, name string) bool {
	if !t.e.o.ExactState {
		return false
	}
	n, _ := a.task.Missing(name)
	return n > 0
}

// amends tells of what was left out of a store.
func (t *thread) amends(a *active, name string) {
	if !t.e.o.ExactState {
		return
	}
	n, oldest := a.task.Missing(name)
	if n == 0 {
		return
	}
	labels := t.labels("task", a.id.String(), "store", name)
	t.e.o.Metrics.Add("millrun_stream_restore_amended_keys_total", float64(n), labels...)
	if age := time.Since(time.UnixMilli(oldest)); age > t.e.o.LongestRecovery {
		t.log.Error("the recovery took longer than Config.LongestRecovery: brokers may have compacted what was replaced by records that are left out; "+
			"the store may lack these keys", "task", a.id.String(), "store", name, "keys", n, "age", age, "longest", t.e.o.LongestRecovery)
		t.e.o.Metrics.Add("millrun_stream_restore_late_keys_total", float64(n), labels...)
	}
}

// sentAt is the time of a record on its way. That of a changelog under exact state is the clock's, or its own if that is later:
// brokers compact and delete by it, and must not do so too soon. Its own time stands in its stamp.
func (e *Engine) sentAt(o *task.Output, now time.Time) time.Time {
	at := time.Time{}
	if o.Time != store.NoTime { // otherwise the client sets it
		at = millis(o.Time)
	}
	if o.Changelog && e.o.ExactState {
		if now = latest(e.began, now); at.Before(now) {
			at = now
		}
	}
	return at
}

// latest is now, or if the clock was set back since it began what it would say otherwise.
func latest(began, now time.Time) time.Time {
	if kept := began.Round(0).Add(now.Sub(began)); kept.After(now.Round(0)) {
		return kept
	}
	return now
}

package run

import (
	"slices"
	"strconv"
	"time"

	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/metrics"
)

// meter is what a thread measures, as plain numbers of its own, until they are passed on to the registry: once a second, so
// that no record waits for a lock.
type meter struct {
	poll      metrics.Distribution // seconds
	polled    metrics.Distribution // records of a poll that brought some
	worked    metrics.Distribution // records of a task's turn
	commit    metrics.Distribution // seconds
	blocked   time.Duration        // in waiting for brokers
	made      int64                // tasks
	closed    int64
	commits   int64
	errors    int64
	restoring time.Duration
	started   time.Time // the thread
	passed    time.Time // when all this was passed on last
}

// spent is the time that a task has taken since that was passed on.
type spent struct {
	process, punctuate metrics.Distribution // seconds
	commits            int64
}

// countEvery is how often what was measured is passed on.
const countEvery = time.Second

// took adds the time since start to a distribution.
func took(d *metrics.Distribution, start time.Time) { d.Add(time.Since(start).Seconds()) }

// polls counts a poll.
func (m *meter) polls(took time.Duration, records int) {
	m.poll.Add(took.Seconds())
	m.blocked += took
	if records > 0 {
		m.polled.Add(float64(records))
	}
}

// punctuate runs what is due by the wall clock.
func (a *active) punctuate(now time.Time) error {
	start := time.Now()
	ran, err := a.task.Punctuate(now)
	if ran {
		took(&a.spent.punctuate, start)
	}
	return err
}

// waited counts time in which the thread has waited for brokers (KIP-761).
func (t *thread) waited(start time.Time) { t.meter.blocked += time.Since(start) }

// count passes on what the thread and its tasks have measured, if it is time.
func (t *thread) count() {
	if since := time.Since(t.meter.passed); since >= countEvery {
		t.pass(since)
	}
}

// pass does so. Since is how long it took to come together.
func (t *thread) pass(since time.Duration) {
	t.meter.passed = time.Now()
	var processed, punctuated float64
	for _, a := range t.tasks {
		processed += a.spent.process.Sum
		punctuated += a.spent.punctuate.Sum
	}
	var now stand
	for _, a := range t.tasks {
		busy := a.spent.process.Sum
		c := t.countTask(a)
		t.gauge(a, c, since, ratio(busy, processed))
		now.add(a)
	}
	now.left, now.copies = t.restore.left(), len(t.copies)
	m, r := &t.meter, t.e.o.Metrics
	set := func(name string, x float64) { r.Set(name, x, t.labels()...) }
	set("millrun_stream_poll_ratio", ratio(m.poll.Sum, since.Seconds()))
	set("millrun_stream_process_ratio", ratio(processed, since.Seconds()))
	set("millrun_stream_punctuate_ratio", ratio(punctuated, since.Seconds()))
	set("millrun_stream_commit_ratio", ratio(m.commit.Sum, since.Seconds()))
	set("millrun_stream_active_restore_ratio", ratio(m.restoring.Seconds(), since.Seconds()))
	set("millrun_stream_active_tasks", float64(now.active))
	set("millrun_stream_active_restoring_tasks", float64(now.restoring))
	set("millrun_stream_standby_updating_tasks", float64(now.copies))
	set("millrun_stream_thread_start_time_seconds", float64(m.started.UnixMilli())/1e3)
	t.e.sums.stands(t.name, now)
	t.countThread()
}

// ratio is a part of a whole; 0 where there is no whole.
func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(part/whole, 1)
}

// countThread passes on what the thread has counted.
func (t *thread) countThread() {
	m, r := &t.meter, t.e.o.Metrics
	labels := t.labels()
	r.ObserveAll("millrun_stream_poll_latency_seconds", m.poll, labels...)
	r.ObserveAll("millrun_stream_poll_records", m.polled, labels...)
	r.ObserveAll("millrun_stream_process_records", m.worked, labels...)
	r.ObserveAll("millrun_stream_commit_latency_seconds", m.commit, labels...)
	r.Add("millrun_stream_blocked_time_seconds_total", m.blocked.Seconds(), labels...)
	r.Add("millrun_stream_task_created_total", float64(m.made), labels...)
	r.Add("millrun_stream_task_closed_total", float64(m.closed), labels...)
	t.e.sums.add(done{polled: int64(m.polled.Sum), commits: m.commits, errors: m.errors})
	*m = meter{started: m.started, passed: m.passed}
}

// countTask passes on what a task has counted and the time it took.
func (t *thread) countTask(a *active) task.Counts {
	c, m, labels := a.task.Counts(), t.e.o.Metrics, t.labels("task", a.id.String())
	t.e.counted(c, labels)
	t.countCalls(a, c)
	m.ObserveAll("millrun_stream_process_latency_seconds", a.spent.process, labels...)
	m.ObserveAll("millrun_stream_punctuate_latency_seconds", a.spent.punctuate, labels...)
	m.Add("millrun_stream_commit_total", float64(a.spent.commits), labels...)
	a.spent = spent{}
	return c
}

// gauge says how a task stands.
func (t *thread) gauge(a *active, c task.Counts, since time.Duration, share float64) {
	m, labels := t.e.o.Metrics, t.labels("task", a.id.String())
	m.Set("millrun_stream_process_rate", float64(c.Processed)/since.Seconds(), labels...)
	m.Set("millrun_stream_active_process_ratio", share, labels...)
	m.Set("millrun_stream_active_buffer_count", float64(a.task.Waiting()), labels...)
	if c.CacheReads > 0 {
		m.Set("millrun_stream_cache_hit_ratio", ratio(float64(c.CacheHits), float64(c.CacheReads)), labels...)
	}
	a.task.Lags(func(topic string, partition int32, lag int64) {
		m.Set("millrun_stream_records_lag", float64(lag), with(labels, "topic", topic, "partition", strconv.Itoa(int(partition)))...)
	})
	for _, s := range a.task.Sizes() {
		m.Set("millrun_stream_store_rows", float64(s.Rows), with(labels, "store", s.Store)...)
		if s.Bytes >= 0 {
			m.Set("millrun_stream_suppression_buffer_size_bytes", float64(s.Bytes), with(labels, "store", s.Store)...)
			m.Set("millrun_stream_suppression_buffer_count", float64(s.Rows), with(labels, "store", s.Store)...)
		}
	}
}

// parts passes on what a task that leaves has counted, and forgets how it stood.
func (t *thread) parts(a *active) {
	t.countTask(a)
	t.e.o.Metrics.RemoveGauges(t.labels("task", a.id.String())...)
}

// countLast passes on what the thread has counted, and forgets how it stood.
func (t *thread) countLast() {
	t.countThread()
	t.e.o.Metrics.RemoveGauges(t.labels()...)
	t.e.sums.leaves(t.name)
}

// counted passes on what a task, or the writer of the global stores, has counted.
func (e *Engine) counted(c task.Counts, labels []string) {
	m := e.o.Metrics
	m.Add("millrun_stream_process_total", float64(c.Processed), labels...)
	m.Add("millrun_stream_punctuate_total", float64(c.Punctuated), labels...)
	m.Add("millrun_stream_dead_letters_total", float64(c.DeadLetters), labels...)
	m.Add("millrun_stream_cache_reads_total", float64(c.CacheReads), labels...)
	m.Add("millrun_stream_cache_hits_total", float64(c.CacheHits), labels...)
	m.Add("millrun_stream_enforced_processing_total", float64(c.Enforced), labels...)
	m.ObserveAll("millrun_stream_record_lateness_seconds", seconds(c.Lateness), labels...)
	var dropped int64
	for reason, n := range c.Dropped {
		dropped += n
		m.Add("millrun_stream_dropped_records_total", float64(n), with(labels, "reason", reason)...)
	}
	for i := range c.Flows {
		e.flowed(&c.Flows[i], labels)
	}
	for _, n := range c.Nodes {
		e.passed(n, labels)
	}
	if e.o.Program.Detailed {
		for _, s := range c.Stores {
			m.Add("millrun_stream_store_get_total", float64(s.Reads), with(labels, "store", s.Name)...)
			m.Add("millrun_stream_store_put_total", float64(s.Writes), with(labels, "store", s.Name)...)
		}
	}
	e.sums.add(done{processed: c.Processed, dropped: dropped, deadLetters: c.DeadLetters, reads: c.CacheReads, hits: c.CacheHits})
}

// flowed passes on what a source or a sink has counted (KIP-846, KIP-613).
func (e *Engine) flowed(f *task.Flow, labels []string) {
	way := "consumed"
	if f.Out {
		way = "produced"
	}
	at := with(labels, "node", f.Node, "topic", f.Topic)
	e.o.Metrics.Add("millrun_stream_records_"+way+"_total", float64(f.Records), at...)
	e.o.Metrics.Add("millrun_stream_bytes_"+way+"_total", float64(f.Bytes), at...)
	e.o.Metrics.ObserveAll("millrun_stream_record_e2e_latency_seconds", seconds(f.Age), with(labels, "node", f.Node)...)
}

func (e *Engine) passed(n task.Node, labels []string) {
	if n.Emitted > 0 {
		e.o.Metrics.Add("millrun_stream_suppression_emit_total", float64(n.Emitted), with(labels, "node", n.Name)...)
	}
	if e.o.Program.Detailed {
		e.o.Metrics.Add("millrun_stream_node_process_total", float64(n.Passed), with(labels, "node", n.Name)...)
	}
}

// seconds are milliseconds.
func seconds(d metrics.Distribution) metrics.Distribution {
	d.Sum, d.Min, d.Max = d.Sum/1e3, d.Min/1e3, d.Max/1e3
	return d
}

// with is labels and more, in memory of its own.
func with(labels []string, more ...string) []string { return slices.Concat(labels, more) }

package run

import "slices"

// Metric describes one metric of the library.
type Metric struct {
	Name   string
	Kind   string   // as in Prometheus' text format
	Labels []string // beside application
	Debug  bool     // measured only at the level Debug
	Help   string
	Kafka  string // what corresponds to it in Kafka Streams; "" if nothing does
}

// prefix begins the names of all of them.
const prefix = "millrun_stream_"

// Catalog is every metric of the library, ordered by what it is of.
func Catalog() []Metric {
	return slices.Concat(ofClient(), ofThread(), ofTask(), ofFlow(), ofState(), ofTrouble())
}

func counterOf(name, help, kafka string, labels ...string) Metric {
	return Metric{Name: prefix + name, Kind: "counter", Labels: labels, Help: help, Kafka: kafka}
}

func gaugeOf(name, help, kafka string, labels ...string) Metric {
	return Metric{Name: prefix + name, Kind: "gauge", Labels: labels, Help: help, Kafka: kafka}
}

func summaryOf(name, help, kafka string, labels ...string) Metric {
	return Metric{Name: prefix + name, Kind: "summary", Labels: labels, Help: help, Kafka: kafka}
}

// detailed is a metric of the level Debug.
func detailed(m Metric) Metric {
	m.Debug = true
	return m
}

func ofClient() []Metric {
	return []Metric{
		gaugeOf("state", "where the instance stands: 0 created, 1 rebalancing, 2 running, 3 pending shutdown, 4 not running, 5 pending error, 6 error", "client-state (KIP-1091)", "client"),
		gaugeOf("alive_stream_threads", "stream threads that work", "alive-stream-threads", "client"),
		counterOf("failed_stream_threads_total", "stream threads that an error ended", "failed-stream-threads", "client"),
		gaugeOf("build_info", "always 1; the label has the version of the library", "version", "client", "version"),
	}
}

func ofThread() []Metric {
	return []Metric{
		gaugeOf("thread_start_time_seconds", "when the thread started, since 1970", "thread-start-time", "thread"),
		summaryOf("poll_latency_seconds", "time of one poll, waiting for records included", "poll-latency, poll-total", "thread"),
		summaryOf("poll_records", "records of one poll that brought some", "poll-records", "thread"),
		gaugeOf("poll_ratio", "part of the last second or more that went into polling", "poll-ratio", "thread"),
		summaryOf("process_records", "records of one turn of a task", "process-records", "thread"),
		gaugeOf("process_ratio", "part of the time that went into processing", "process-ratio", "thread"),
		gaugeOf("punctuate_ratio", "part of the time that went into punctuations by the wall clock", "punctuate-ratio", "thread"),
		summaryOf("commit_latency_seconds", "time of one commit, flushing included; their number is that of commits", "commit-latency, commit-total", "thread"),
		gaugeOf("commit_ratio", "part of the time that went into commits", "commit-ratio", "thread"),
		counterOf("blocked_time_seconds_total", "time in waiting for brokers: polls, flushes, commits, restoring", "blocked-time-ns-total (KIP-761)", "thread"),
		counterOf("task_created_total", "tasks that were made", "task-created-total", "thread"),
		counterOf("task_closed_total", "tasks that were closed", "task-closed-total", "thread"),
		gaugeOf("active_tasks", "tasks that process", "", "thread"),
		counterOf("rebalance_total", "rebalances, by what caused them", "", "thread", "cause"),
		summaryOf("rebalance_duration_seconds", "time of one rebalance, until the thread had made what it got", "", "thread"),
		counterOf("tasks_moved_total", "tasks that rebalances have moved: gained, given, lost", "", "thread", "way"),
	}
}

func ofTask() []Metric {
	return []Metric{
		counterOf("process_total", "records processed; of the global stores there is no label task", "process-total", "thread", "task"),
		gaugeOf("process_rate", "records a second, of late", "process-rate", "thread", "task"),
		summaryOf("process_latency_seconds", "time of one turn of the task: up to 1000 records, and no more than a record beyond 200 ms", "process-latency", "thread", "task"),
		gaugeOf("active_process_ratio", "part of the thread's processing that was this task's", "active-process-ratio", "thread", "task"),
		counterOf("punctuate_total", "punctuations", "punctuate-total", "thread", "task"),
		summaryOf("punctuate_latency_seconds", "time of the punctuations that were due by the wall clock at once", "punctuate-latency", "thread", "task"),
		counterOf("commit_total", "commits that had something of the task", "commit-total of tasks", "thread", "task"),
		counterOf("dropped_records_total", "records that were not processed, or not in full, by reason", "dropped-records-total", "thread", "task", "reason"),
		counterOf("dead_letters_total", "records sent to a topic of dead letters", "", "thread", "task"),
		counterOf("enforced_processing_total", "records processed although not every input partition had one to compare", "enforced-processing-total", "thread", "task"),
		summaryOf("record_lateness_seconds", "how far records were behind the highest time of their task so far", "record-lateness", "thread", "task"),
		gaugeOf("active_buffer_count", "records that were fetched and wait", "active-buffer-count", "thread", "task"),
		gaugeOf("records_lag", "offsets between what was processed and the end of the partition, as of the last fetch", "records-lag of the consumer", "thread", "task", "topic", "partition"),
		counterOf("async_calls_total", "calls of slow work", "", "thread", "task"),
		counterOf("async_failed_calls_total", "calls of slow work that failed", "", "thread", "task"),
		counterOf("async_repeated_calls_total", "calls of slow work that were tried again", "", "thread", "task"),
		counterOf("async_late_calls_total", "results of slow work that nobody waited for any more", "", "thread", "task"),
		gaugeOf("async_pending_records", "records that have calls under way", "", "thread", "task"),
	}
}

func ofFlow() []Metric {
	return []Metric{
		counterOf("records_consumed_total", "records that a source took from a topic", "records-consumed-total (KIP-846)", "thread", "task", "node", "topic"),
		counterOf("bytes_consumed_total", "their keys, values and headers", "bytes-consumed-total (KIP-846)", "thread", "task", "node", "topic"),
		counterOf("records_produced_total", "records that a sink made for a topic", "records-produced-total (KIP-846)", "thread", "task", "node", "topic"),
		counterOf("bytes_produced_total", "their keys, values and headers", "bytes-produced-total (KIP-846)", "thread", "task", "node", "topic"),
		summaryOf("record_e2e_latency_seconds", "the wall clock less a record's time, at sources and at sinks", "record-e2e-latency (KIP-613)", "thread", "task", "node"),
		counterOf("suppression_emit_total", "rows that a suppression has let go", "suppression-emit-total", "thread", "task", "node"),
		detailed(counterOf("node_process_total", "records that a node was given; those of sources are records_consumed_total", "process-total of processor nodes", "thread", "task", "node")),
	}
}

func ofState() []Metric {
	return []Metric{
		gaugeOf("store_rows", "rows of a store in memory (of a versioned one: versions) or of a buffer; stores on disk do not say", "num-keys", "thread", "task", "store"),
		gaugeOf("suppression_buffer_count", "rows that a suppression holds back", "suppression-buffer-count", "thread", "task", "store"),
		gaugeOf("suppression_buffer_size_bytes", "what those count for", "suppression-buffer-size", "thread", "task", "store"),
		detailed(counterOf("store_get_total", "single keys that were looked up", "get-rate", "thread", "task", "store")),
		detailed(counterOf("store_put_total", "single keys that were written", "put-rate", "thread", "task", "store")),
		counterOf("cache_reads_total", "single keys looked up in stores with a cache", "", "thread", "task"),
		counterOf("cache_hits_total", "those of them that the cache had", "", "thread", "task"),
		gaugeOf("cache_hit_ratio", "part of the lookups that the cache had, of late", "hit-ratio", "thread", "task"),
		gaugeOf("active_restoring_tasks", "tasks that do not process yet, for their stores are restored or their offsets are not known", "active-restoring-tasks (KIP-869)", "thread"),
		gaugeOf("standby_updating_tasks", "copies of tasks that are kept up to date", "standby-updating-tasks (KIP-869)", "thread"),
		counterOf("update_total", "records of changelogs that copies took in", "update-total (KIP-869)", "thread", "task", "store"),
		gaugeOf("update_remaining_records", "offsets of the changelog that a copy has not taken in, as of its last fetch", "update-remaining-records-total (KIP-869)", "thread", "task", "store"),
		gaugeOf("active_restore_ratio", "part of the time that went into restoring", "active-restore-ratio (KIP-869)", "thread"),
		counterOf("restore_total", "records of changelogs that were restored", "restore-total (KIP-869)", "thread", "task", "store"),
		gaugeOf("restore_rate", "records restored a second since the restoration began", "restore-rate (KIP-869)", "thread", "task", "store"),
		gaugeOf("restore_remaining_records", "offsets of the changelog that are left", "restore-remaining-records-total (KIP-869)", "thread", "task", "store"),
		counterOf("stores_wiped_total", "stores on disk that are restored from the beginning, by why", "", "thread", "task", "reason"),
	}
}

func ofTrouble() []Metric {
	return []Metric{
		counterOf("troubles_total", "errors of sending or committing that the thread outlived, by what followed", "", "thread", "follows"),
		counterOf("transactions_aborted_total", "transactions that were taken back", "", "thread"),
		counterOf("watchdog_total", "clients that were replaced since records of a topic did not arrive", "", "thread", "topic"),
	}
}

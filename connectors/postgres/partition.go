package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

// errRewound says that the watermark in the database is behind the one this process has committed: the database was
// restored. Kafka is read again from there.
var errRewound = errors.New("postgres: the watermark in the database went back")

// partition is what the loop remembers of a partition it is assigned. It is a copy of the database's state, used to choose
// work; every transaction compares it with the database under a lock before it relies on it. Owned by the loop.
type partition struct {
	number  int32
	last    int64             // watermark
	waiting map[string]int    // keys with parked events, and how many
	parked  int               // their sum
	acked   map[recordID]bool // dead letters written by an attempt that was not committed
	next    time.Time         // when parked events are tried again, real time
	pause   time.Duration     // grows while trying changes nothing
	sweep   sweep
}

// The wait between attempts at parked events.
const (
	parkedPause    = 200 * time.Millisecond
	parkedPauseMax = 2 * time.Second
)

// watermark makes the partition's row when there is none, and reads it. The row exists before anybody locks it: locking
// alone would let two starters both see nothing and both begin.
func (s *session) watermark(ctx context.Context, q querier, number int32) (int64, error) {
	_, err := q.Exec(ctx, `INSERT INTO pipeline.applied_offsets (applier, cluster_id, topic_id, topic, partition_no, last_offset, updated_at)
		VALUES ($1, $2, $3, $4, $5, -1, $6) ON CONFLICT (applier, cluster_id, topic_id, partition_no) DO NOTHING`,
		s.a.role, s.cluster, s.topicID, s.a.cfg.Name, number, s.a.cfg.Clock.Now())
	if err != nil {
		return 0, fmt.Errorf("postgres: make the watermark: %w", err)
	}
	var last int64
	err = q.QueryRow(ctx, `SELECT last_offset FROM pipeline.applied_offsets
		WHERE applier = $1 AND cluster_id = $2 AND topic_id = $3 AND partition_no = $4`,
		s.a.role, s.cluster, s.topicID, number).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("postgres: read the watermark: %w", err)
	}
	return last, nil
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// load reads what the database knows of the partition.
func (s *session) load(ctx context.Context, number int32) (*partition, error) {
	p := &partition{number: number, acked: map[recordID]bool{}, pause: parkedPause, sweep: newSweep()}
	var err error
	if p.last, err = s.watermark(ctx, s.a.pool, number); err != nil {
		return nil, err
	}
	return p, s.loadWaiting(ctx, s.a.pool, p)
}

// loadWaiting counts the parked events by key: those of the partition, those of an earlier topic of the same name, and
// those of partitions that the topic no longer has.
func (s *session) loadWaiting(ctx context.Context, q querier, p *partition) error {
	p.waiting, p.parked = map[string]int{}, 0
	rows, err := q.Query(ctx, `SELECT entity_key, count(*) FROM pipeline.parked_events
		WHERE applier = $1 AND cluster_id = $2 AND topic = $3 AND partition_no % $4 = $5 GROUP BY 1`,
		s.a.role, s.cluster, s.a.cfg.Name, s.partitions, p.number)
	if err != nil {
		return fmt.Errorf("postgres: read the parked events: %w", err)
	}
	var key string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&key, &n}, func() error {
		p.waiting[key] = n
		p.parked += n
		return nil
	}); err != nil {
		return fmt.Errorf("postgres: read the parked events: %w", err)
	}
	s.a.metrics.parked.WithLabelValues(s.a.cfg.Topic, strconv.Itoa(int(p.number))).Set(float64(p.parked))
	return nil
}

// apply settles records of one partition, in offset order, in one transaction.
func (s *session) apply(ctx context.Context, p *partition, items []*item) error {
	began := time.Now()
	var r *run
	var last int64
	err := pgx.BeginFunc(ctx, s.a.pool, func(tx pgx.Tx) error {
		fresh, err := s.lock(ctx, tx, p, items)
		if err != nil || len(fresh) == 0 {
			return err
		}
		waiting := make(map[string]int, len(p.waiting))
		maps.Copy(waiting, p.waiting)
		r = s.newRun(tx, p, waiting, s.a.cfg.BatchRecords)
		if err := r.knownIDs(ctx, fresh); err != nil {
			return err
		}
		if err := r.execute(ctx, fresh); err != nil {
			return err
		}
		if err := s.writeDeadLetters(ctx, r.dead, p.acked); err != nil {
			return err
		}
		if err := s.insertParked(ctx, tx, r); err != nil {
			return err
		}
		last = fresh[len(fresh)-1].id.offset
		return s.moveWatermark(ctx, tx, p.number, last)
	})
	if err != nil {
		return err
	}
	if r == nil { // everything was settled before
		return nil
	}
	p.last, p.waiting, p.parked = last, r.waiting, p.parked+len(r.park)
	clear(p.acked)
	if len(r.park) > 0 {
		p.next, p.pause = time.Now().Add(parkedPause), parkedPause
	}
	s.count(p, r, began)
	return nil
}

func (s *session) newRun(tx pgx.Tx, p *partition, waiting map[string]int, width int) *run {
	return &run{tx: tx, role: s.a.role, now: s.a.cfg.Clock.Now(), parkFor: s.a.cfg.ParkFor, width: width, most: s.a.cfg.BatchRecords,
		waiting: waiting, settled: p.acked, rights: s.rights}
}

// rightsFor is how long a look at the login's rights counts: a stream of events that the team may not send must not cost
// a look each.
const rightsFor = 2 * time.Second

// rights looks whether the login still has what is declared.
func (s *session) rights(ctx context.Context) error {
	if time.Since(s.looked) < rightsFor {
		return nil
	}
	if err := s.a.checkLogin(ctx); err != nil {
		return err
	}
	s.looked = time.Now()
	return nil
}

// lock takes the partition's row for this transaction and leaves out what is settled. What the row says may be ahead of
// this process (another one was assigned the partition meanwhile, or a commit succeeded without our hearing of it); it is
// never behind, unless the database was restored.
func (s *session) lock(ctx context.Context, tx pgx.Tx, p *partition, items []*item) ([]*item, error) {
	var last int64
	err := tx.QueryRow(ctx, `SELECT last_offset FROM pipeline.applied_offsets
		WHERE applier = $1 AND cluster_id = $2 AND topic_id = $3 AND partition_no = $4 FOR UPDATE`,
		s.a.role, s.cluster, s.topicID, p.number).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errRewound
	}
	if err != nil {
		return nil, fmt.Errorf("postgres: lock the watermark: %w", err)
	}
	if last < p.last {
		return nil, errRewound
	}
	if last > p.last {
		if err := s.loadWaiting(ctx, tx, p); err != nil {
			return nil, err
		}
		p.last = last
	}
	for i, it := range items {
		if it.id.offset > last {
			return items[i:], nil
		}
	}
	return nil, nil
}

func (s *session) moveWatermark(ctx context.Context, tx pgx.Tx, number int32, last int64) error {
	_, err := tx.Exec(ctx, `UPDATE pipeline.applied_offsets SET last_offset = $5, updated_at = $6
		WHERE applier = $1 AND cluster_id = $2 AND topic_id = $3 AND partition_no = $4`,
		s.a.role, s.cluster, s.topicID, number, last, s.a.cfg.Clock.Now())
	if err != nil {
		return fmt.Errorf("postgres: move the watermark: %w", err)
	}
	return nil
}

// count says what a committed run did.
func (s *session) count(p *partition, r *run, began time.Time) {
	topic, number := s.a.cfg.Topic, strconv.Itoa(int(p.number))
	m := s.a.metrics
	m.applied.WithLabelValues(topic).Add(float64(len(r.applied)))
	m.duplicates.WithLabelValues(topic).Add(float64(len(r.duplicates)))
	m.parkedTotal.WithLabelValues(topic).Add(float64(len(r.park)))
	m.parked.WithLabelValues(topic, number).Set(float64(p.parked))
	m.watermark.WithLabelValues(topic, number).Set(float64(p.last))
	m.batch.WithLabelValues(topic).Observe(time.Since(began).Seconds())
	for _, it := range r.applied {
		if it.parked != nil {
			m.released.WithLabelValues(topic).Inc()
		}
	}
	for _, d := range r.dead {
		s.a.cfg.Log.Warn("dead letter", "topic", topic, "partition", d.it.id.partition, "offset", d.it.id.offset,
			"stage", d.stage, "sqlstate", d.sqlstate, "kind", exceptionName(d.cause))
	}
	s.client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{s.a.cfg.Name: {p.number: {Epoch: -1, Offset: p.last + 1}}})
}

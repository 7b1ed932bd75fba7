package postgres

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// insertParked keeps the records that wait, whole, in the transaction whose watermark passes them.
func (s *session) insertParked(ctx context.Context, tx pgx.Tx, r *run) error {
	b := &pgx.Batch{}
	for _, it := range r.park {
		keys, values := make([]string, len(it.rec.Headers)), make([][]byte, len(it.rec.Headers))
		for i, h := range it.rec.Headers {
			keys[i], values[i] = h.Key, h.Value
		}
		b.Queue(`INSERT INTO pipeline.parked_events (applier, cluster_id, topic_id, topic, partition_no, record_offset,
			entity_key, parked_at, record_timestamp, record_key, record_value, header_keys, header_values)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			s.a.role, s.cluster, it.id.topicID, s.a.cfg.Name, it.id.partition, it.id.offset, it.event.Key(), r.now,
			it.rec.Timestamp, it.rec.Key, it.rec.Value, keys, values)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("postgres: park: %w", err)
	}
	return nil
}

// parkedPage is how many parked events one transaction tries.
const parkedPage = 100

// sweep is a way through a partition's parked events, oldest first, page by page.
type sweep struct {
	after   recordID       // where the last page ended
	blocked map[string]int // keys of which an event stays parked: those behind it are not tried
	changed bool
}

func newSweep() sweep { return sweep{after: recordID{offset: -1}, blocked: map[string]int{}} }

// tryParked tries the next page of the partition's parked events, in order per key, and gives up those whose time is over.
// At the end of a sweep the next one is put off, the longer the less changed.
func (s *session) tryParked(ctx context.Context, p *partition) error {
	var r *run
	var items []*item
	began := time.Now()
	err := pgx.BeginFunc(ctx, s.a.pool, func(tx pgx.Tx) error {
		if _, err := s.lock(ctx, tx, p, nil); err != nil {
			return err
		}
		var err error
		if items, err = s.readParked(ctx, tx, p); err != nil {
			return err
		}
		r = s.newRun(tx, p, maps.Clone(p.sweep.blocked), 1)
		return s.settleParked(ctx, tx, p, r, items)
	})
	if err != nil {
		return err
	}
	clear(p.acked)
	p.sweep.blocked = r.waiting
	if len(r.stay) < len(items) {
		p.sweep.changed = true
		if err := s.loadWaiting(ctx, s.a.pool, p); err != nil {
			return err
		}
	}
	s.count(p, r, began)
	if len(items) == parkedPage {
		p.sweep.after = items[len(items)-1].id
		return nil
	}
	if p.pause = min(2*p.pause, parkedPauseMax); p.sweep.changed {
		p.pause = parkedPause
	}
	p.next, p.sweep = time.Now().Add(p.pause), newSweep()
	return nil
}

// settleParked applies, gives up or keeps each of items, within tx.
func (s *session) settleParked(ctx context.Context, tx pgx.Tx, p *partition, r *run, items []*item) error {
	if err := r.knownIDs(ctx, items); err != nil {
		return err
	}
	if err := r.execute(ctx, items); err != nil {
		return err
	}
	if err := s.writeDeadLetters(ctx, r.dead, p.acked); err != nil {
		return err
	}
	b := &pgx.Batch{}
	remove := func(it *item) {
		b.Queue(`DELETE FROM pipeline.parked_events WHERE applier = $1 AND cluster_id = $2 AND topic_id = $3
			AND partition_no = $4 AND record_offset = $5`, s.a.role, s.cluster, it.id.topicID, it.id.partition, it.id.offset)
	}
	for _, list := range [][]*item{r.applied, r.duplicates, r.gone} {
		for _, it := range list {
			remove(it)
		}
	}
	for _, d := range r.dead {
		remove(d.it)
	}
	for _, it := range r.stay {
		b.Queue(`UPDATE pipeline.parked_events SET attempts = attempts + 1 WHERE applier = $1 AND cluster_id = $2 AND topic_id = $3
			AND partition_no = $4 AND record_offset = $5`, s.a.role, s.cluster, it.id.topicID, it.id.partition, it.id.offset)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("postgres: release parked events: %w", err)
	}
	return nil
}

// readParked reads a page of the partition's parked events, by the topic's incarnation and then as they lay in Kafka, and
// locks them: a row that another process has in hand is left to it.
func (s *session) readParked(ctx context.Context, tx pgx.Tx, p *partition) ([]*item, error) {
	after := p.sweep.after
	rows, err := tx.Query(ctx, `SELECT topic_id, partition_no, record_offset, parked_at, attempts, record_timestamp,
		record_key, record_value, header_keys, header_values FROM pipeline.parked_events
		WHERE applier = $1 AND cluster_id = $2 AND topic = $3 AND partition_no % $4 = $5
		  AND (topic_id, partition_no, record_offset) > ($6, $7, $8)
		ORDER BY topic_id, partition_no, record_offset LIMIT $9 FOR UPDATE SKIP LOCKED`,
		s.a.role, s.cluster, s.a.cfg.Name, s.partitions, p.number, after.topicID, after.partition, after.offset, parkedPage)
	if err != nil {
		return nil, fmt.Errorf("postgres: read the parked events: %w", err)
	}
	items, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*item, error) {
		it := &item{rec: &kgo.Record{Topic: s.a.cfg.Name}, parked: &parkedRow{}}
		var keys []string
		var values [][]byte
		err := row.Scan(&it.id.topicID, &it.id.partition, &it.id.offset, &it.parked.since, &it.parked.attempts,
			&it.rec.Timestamp, &it.rec.Key, &it.rec.Value, &keys, &values)
		for i := range min(len(keys), len(values)) {
			it.rec.Headers = append(it.rec.Headers, kgo.RecordHeader{Key: keys[i], Value: values[i]})
		}
		it.rec.Partition, it.rec.Offset = it.id.partition, it.id.offset
		return it, err
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: read the parked events: %w", err)
	}
	for _, it := range items {
		if err := s.decode(ctx, it); err != nil {
			return nil, err
		}
	}
	return items, nil
}

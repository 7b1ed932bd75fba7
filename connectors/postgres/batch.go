package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

// recordID names a record for ever: offsets begin again with a topic made anew.
type recordID struct {
	topicID   uuid.UUID
	partition int32
	offset    int64
}

// item is one record on its way.
type item struct {
	id    recordID
	rec   *kgo.Record
	event changes.Event // nil: the value is at fault (cause), or a control record
	cause error
	// parked is set for a record that comes out of pipeline.parked_events.
	parked *parkedRow
}

// parkedRow is what the table knows beside the record.
type parkedRow struct {
	since    time.Time
	attempts int
}

// verdict is why a record becomes a dead letter.
type verdict struct {
	stage    string // decode, apply, rejected or parked
	sqlstate string
	cause    error
}

// deadRecord is a record with its verdict.
type deadRecord struct {
	verdict

	it *item
}

// run is the work of one database transaction over items in offset order. It only collects; the caller commits.
type run struct {
	tx      pgx.Tx
	role    string
	now     time.Time
	parkFor time.Duration
	width   int // items of the next savepoint
	most    int // items of any

	known   map[uuid.UUID]bool // ids of events that had their effect
	waiting map[string]int     // keys with a parked event
	rights  func(context.Context) error
	settled map[recordID]bool // records whose dead letter is written already, by an attempt that was not committed

	applied    []*item
	duplicates []*item
	dead       []deadRecord
	park       []*item
	stay       []*item // parked before, and longer
	gone       []*item // settled before
}

// execute settles every item: with savepoints, so that a failing one takes nothing with it. A group of items that fails
// is rolled back and split at the record that the server names: those before it are applied again, which succeeds, and it
// then stands first in its own group, where its error is its own. An item is so executed at most a few times, where
// halving would need the logarithm of the group.
func (r *run) execute(ctx context.Context, items []*item) error {
	for start, limit := 0, len(items); start < len(items); {
		group, end := r.collect(items, start, limit)
		failed, cause, err := r.savepoint(ctx, group)
		if err != nil {
			return err
		}
		switch {
		case cause == nil:
			r.settle(items[start:end], group)
			start, limit = end, len(items)
			r.width = min(2*r.width, r.most)
		case failed > 0: // those before it are executed again, alone
			limit = indexOf(items, group[failed])
		default:
			at := indexOf(items, group[0])
			r.settle(items[start:at], nil)
			if err := r.refuse(ctx, group[0], cause); err != nil {
				return err
			}
			start, limit = at+1, len(items)
			r.width = min(8, r.most)
		}
	}
	return nil
}

// collect picks the items of [start, limit) to execute in one savepoint, and where the picking ended.
func (r *run) collect(items []*item, start, limit int) (group []*item, end int) {
	ids := map[uuid.UUID]bool{}
	for end = start; end < limit && len(group) < r.width; end++ {
		it := items[end]
		if r.passive(it) {
			continue
		}
		if ids[it.event.ID()] {
			break // a copy within the group: it is a duplicate once the first is applied
		}
		ids[it.event.ID()] = true
		group = append(group, it)
	}
	return group, end
}

// passive says that nothing is executed for the item: its value is at fault, it is settled, a copy of it had its effect,
// or an earlier event of its key is parked.
func (r *run) passive(it *item) bool {
	return it.event == nil || r.settled[it.id] || r.known[it.event.ID()] || r.waiting[it.event.Key()] > 0
}

// settle notes what became of a stretch of items whose group, if any, succeeded.
func (r *run) settle(items, group []*item) {
	executed := map[*item]bool{}
	for _, it := range group {
		executed[it] = true
	}
	for _, it := range items {
		switch {
		case executed[it]:
			r.known[it.event.ID()] = true
			r.applied = append(r.applied, it)
		case it.event == nil && it.cause == nil: // control record
		case r.settled[it.id]:
			r.gone = append(r.gone, it)
		case it.event == nil:
			r.dead = append(r.dead, deadRecord{verdict{stage: "decode", cause: it.cause}, it})
		case r.known[it.event.ID()]:
			r.duplicates = append(r.duplicates, it)
		default:
			r.wait(it)
		}
	}
}

// wait parks the item, or lets it stay parked; an event behind a parked one of its key has its own time.
func (r *run) wait(it *item) {
	r.waiting[it.event.Key()]++
	if it.parked != nil {
		r.stay = append(r.stay, it)
	} else {
		r.park = append(r.park, it)
	}
}

// insufficientPrivilege is the SQLSTATE of a missing right.
const insufficientPrivilege = "42501"

// refuse decides about one item that failed alone. A missing right is the event's fault only while the login has all the
// rights it should have.
func (r *run) refuse(ctx context.Context, it *item, cause error) error {
	var unknown *unknownError
	var rejected *rejectedError
	var pg *pgconn.PgError
	v := verdict{stage: "apply", cause: cause}
	switch {
	case errors.Is(cause, errDuplicate):
		r.known[it.event.ID()] = true
		r.duplicates = append(r.duplicates, it)
		return nil
	case errors.As(cause, &unknown):
		if it.parked == nil || r.now.Before(it.parked.since.Add(r.parkFor)) {
			r.wait(it)
			return nil
		}
		v.stage = "parked"
	case errors.As(cause, &rejected):
		v.stage, v.sqlstate = "rejected", rejected.sqlstate
	case errors.As(cause, &pg):
		v.sqlstate = pg.Code
		if pg.Code == insufficientPrivilege {
			if err := r.rights(ctx); err != nil {
				return err
			}
		}
	}
	r.dead = append(r.dead, deadRecord{v, it})
	return nil
}

// savepoint executes a group all or nothing. failed and cause tell which item failed and why; err is an error that no
// item is at fault for.
func (r *run) savepoint(ctx context.Context, group []*item) (failed int, cause, err error) {
	if len(group) == 0 {
		return 0, nil, nil
	}
	if _, err := r.tx.Exec(ctx, "SAVEPOINT group_of_events"); err != nil {
		return 0, nil, err
	}
	failed, cause = r.send(ctx, group)
	end := "RELEASE SAVEPOINT group_of_events"
	if cause != nil {
		if !faultOfItem(cause) {
			return 0, nil, cause
		}
		end = "ROLLBACK TO SAVEPOINT group_of_events; " + end
	}
	if _, err := r.tx.Conn().PgConn().Exec(ctx, end).ReadAll(); err != nil {
		return 0, nil, err
	}
	return failed, cause, nil
}

// send pipelines the statements of a group and reads their results up to the first failure.
func (r *run) send(ctx context.Context, group []*item) (failed int, cause error) {
	b := &pgx.Batch{}
	reads := make([]func(pgx.BatchResults) error, len(group))
	for i, it := range group {
		b.Queue(`INSERT INTO pipeline.applied_events (applier, event_id, applied_at) VALUES ($1, $2, $3)
			ON CONFLICT (applier, event_id) DO NOTHING`, r.role, it.event.ID(), r.now)
		reads[i] = queueEffect(b, it.event)
	}
	results := r.tx.SendBatch(ctx, b)
	for i := range group {
		noted, err := results.Exec()
		if err != nil && classifyOwn(err) == fatal {
			err = &fatalError{fmt.Errorf("postgres: note the event: %w", err)}
		}
		if err == nil && noted.RowsAffected() == 0 {
			err = errDuplicate // another partition's transaction was first
		}
		if err == nil {
			err = vanished(reads[i](results))
		}
		if err != nil {
			_ = results.Close() // says err again, or that of a statement behind it that is rolled back too
			return i, err
		}
	}
	return 0, results.Close()
}

// vanished turns a foreign key that is gone since it was read (23503) into what it is: an item or member that is not there.
func vanished(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23503" {
		return &unknownError{"item or member"}
	}
	return err
}

// faultOfItem separates what a record can be blamed for, or what decides about it, from the rest.
func faultOfItem(err error) bool {
	var unknown *unknownError
	var rejected *rejectedError
	if _, ours := errors.AsType[*fatalError](err); ours {
		return false
	}
	if errors.Is(err, errDuplicate) || errors.As(err, &unknown) || errors.As(err, &rejected) {
		return true
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && classify(err) == permanent
}

func indexOf(items []*item, it *item) int {
	for i := range items {
		if items[i] == it {
			return i
		}
	}
	return len(items)
}

// knownIDs reads which of the items' events had their effect before.
func (r *run) knownIDs(ctx context.Context, items []*item) error {
	ids := make([]uuid.UUID, 0, len(items))
	for _, it := range items {
		if it.event != nil {
			ids = append(ids, it.event.ID())
		}
	}
	r.known = map[uuid.UUID]bool{}
	rows, err := r.tx.Query(ctx, `SELECT event_id FROM pipeline.applied_events WHERE applier = $1 AND event_id = ANY($2)`, r.role, ids)
	if err != nil {
		return fmt.Errorf("postgres: read the applied events: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("postgres: read the applied events: %w", err)
	}
	for _, id := range known {
		r.known[id] = true
	}
	return nil
}

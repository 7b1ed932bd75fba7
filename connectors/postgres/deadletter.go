package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DeadLetterSuffix ends the name of the topic that takes a topic's dead letters.
const DeadLetterSuffix = ".dlq"

// deadLetterTimeout bounds the wait for the broker while a database transaction is open; it must stay below the logins'
// idle_in_transaction_session_timeout.
const deadLetterTimeout = 10 * time.Second

// deadLetter is the source record with the reason added to its headers: Kafka Streams' names (KIP-1034), text in UTF-8,
// and ours.
func (a *Applier) deadLetter(d deadRecord) *kgo.Record {
	src := d.it.rec
	attempts := 1
	if d.it.parked != nil {
		attempts += d.it.parked.attempts
	}
	headers := append([]kgo.RecordHeader{}, src.Headers...)
	add := func(key, value string) {
		headers = append(headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add("__streams.errors.topic", a.cfg.Name)
	add("__streams.errors.partition", strconv.Itoa(int(d.it.id.partition)))
	add("__streams.errors.offset", strconv.FormatInt(d.it.id.offset, 10))
	add("__streams.errors.exception", exceptionName(d.cause))
	add("__streams.errors.message", d.cause.Error())
	add("__streams.errors.stacktrace", fmt.Sprintf("applier %s as %s: %s: %v", a.cfg.Name, a.login, d.stage, d.cause))
	add("__millrun.stage", d.stage)
	add("__millrun.attempts", strconv.Itoa(attempts))
	add("__millrun.credential", a.login)
	if d.sqlstate != "" {
		add("__millrun.sqlstate", d.sqlstate)
	}
	return &kgo.Record{Topic: a.cfg.Name + DeadLetterSuffix, Key: src.Key, Value: src.Value, Headers: headers,
		Timestamp: a.cfg.Stamp.Now()}
}

// exceptionName is the type of the error that decided, as a reader of the header would name it.
func exceptionName(err error) string {
	if _, ok := errors.AsType[*pgconn.PgError](err); ok {
		return "pgconn.PgError"
	}
	if _, ok := errors.AsType[*unknownError](err); ok {
		return "postgres.Unknown"
	}
	if _, ok := errors.AsType[*rejectedError](err); ok {
		return "postgres.Rejected"
	}
	return "changes.Error"
}

// writeDeadLetters returns once the broker has acknowledged them all; acknowledged ones are remembered in acked, so that
// another attempt at the same batch in this process neither repeats nor reconsiders them.
func (s *session) writeDeadLetters(ctx context.Context, dead []deadRecord, acked map[recordID]bool) error {
	if len(dead) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadLetterTimeout)
	defer cancel()
	records := make([]*kgo.Record, len(dead))
	for i, d := range dead {
		records[i] = s.a.deadLetter(d)
	}
	results := s.side.ProduceSync(ctx, records...)
	byRecord := make(map[*kgo.Record]error, len(results))
	for _, r := range results {
		byRecord[r.Record] = r.Err
	}
	var errs []error
	for i, d := range dead {
		if err := byRecord[records[i]]; err != nil {
			errs = append(errs, err)
			continue
		}
		acked[d.it.id] = true
		s.a.metrics.deadLetters.WithLabelValues(s.a.cfg.Topic, d.stage, d.sqlstate).Inc()
	}
	if len(errs) > 0 {
		return fmt.Errorf("postgres: %d of %d dead letters were not acknowledged by %s%s: %w",
			len(errs), len(dead), s.a.cfg.Name, DeadLetterSuffix, errs[0])
	}
	return nil
}

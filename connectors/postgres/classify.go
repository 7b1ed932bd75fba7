package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// class says what an error of the database is about.
type class int

const (
	retry     class = iota // another attempt may succeed
	permanent              // the record is at fault
	fatal                  // neither: the schema, the rights or this program
)

// retryCodes are SQLSTATEs, or their first two characters, of conditions that pass: serialisation and deadlock, lock not
// available, cancelled statement, connection, resources, shutdown and start, input/output, a statement or plan that went
// with its session.
var retryCodes = []string{"40001", "40P01", "55P03", "57014", "57P0", "08", "53", "58", "25P02", "25P03", "26000", "0A000"}

// permanentCodes are those of a record that the database understands and refuses: bad data, a violated constraint, a
// missing right, a rule of the shop.
var permanentCodes = []string{"22", "23", "42501", "SH", "44000", "P0001"}

// classify is asked about errors of statements that apply a record. An error without a SQLSTATE comes from the connection.
func classify(err error) class {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return retry
	}
	has := func(prefix string) bool { return strings.HasPrefix(pg.Code, prefix) }
	switch {
	case slices.ContainsFunc(retryCodes, has):
		return retry
	case slices.ContainsFunc(permanentCodes, has):
		return permanent
	default:
		return fatal
	}
}

// classifyOwn is asked about errors of the applier's own statements, for which no record can be at fault.
func classifyOwn(err error) class {
	if _, ok := errors.AsType[*fatalError](err); ok {
		return fatal
	}
	if c := classify(err); c != permanent {
		return c
	}
	return fatal
}

// fatalError ends Run.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// ended says that err is only the end of ctx.
func ended(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }

package postgres

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

// errDuplicate says that the event's id is known.
var errDuplicate = errors.New("the event was applied before")

// unknownError says that the item, order or member an event speaks of is not there.
type unknownError struct{ what string }

func (e *unknownError) Error() string { return "unknown " + e.what }

// rejectedError says that the database took the statement and changed nothing.
type rejectedError struct {
	reason   string
	sqlstate string // of the right that is missing, where row security only hides the row
}

func (e *rejectedError) Error() string { return "rejected: " + e.reason }

// queueEffect adds the statements of one event to b, and returns what reads their results in the same order. Prices,
// weights and member keys are taken from the database, never from the event.
func queueEffect(b *pgx.Batch, e changes.Event) func(pgx.BatchResults) error {
	switch e := e.(type) {
	case *changes.OrderPlaced:
		return queueOrderPlaced(b, e)
	case *changes.OrderCompleted:
		return queueOrderCompleted(b, e)
	case *changes.ItemChange:
		if e.Op == changes.OpRemove {
			return queueItemRemove(b, e)
		}
		return queueItemAdd(b, e)
	case *changes.MemberChange:
		return queueMemberChange(b, e)
	default:
		return func(pgx.BatchResults) error { return &fatalError{fmt.Errorf("postgres: no effect for %T", e)} }
	}
}

func queueOrderPlaced(b *pgx.Batch, e *changes.OrderPlaced) func(pgx.BatchResults) error {
	b.Queue(`INSERT INTO shop.transactions (transaction_id, member_key, status, placed_at)
		SELECT $1::uuid, m.member_key, $2::text::shop.txn_status, $3::timestamptz FROM shop.members m WHERE m.membership_id = $4`,
		e.TransactionID, e.Status, e.Occurred, e.MembershipID)
	items, quantities := make([]uuid.UUID, len(e.Lines)), make([]int32, len(e.Lines))
	for i, l := range e.Lines {
		items[i], quantities[i] = l.ItemID, l.Quantity
	}
	b.Queue(`INSERT INTO shop.transaction_lines (transaction_id, line_no, item_id, quantity, unit_price, unit_weight_kg)
		SELECT $1::uuid, l.n, i.item_id, l.quantity, i.cost, i.weight_kg
		FROM unnest($2::uuid[], $3::integer[]) WITH ORDINALITY l(item_id, quantity, n) JOIN shop.items i USING (item_id)`,
		e.TransactionID, items, quantities)
	return func(r pgx.BatchResults) error {
		placed, err := r.Exec()
		if err != nil {
			return err
		}
		if placed.RowsAffected() == 0 {
			return &unknownError{"member"}
		}
		lines, err := r.Exec()
		if err != nil {
			return err
		}
		if lines.RowsAffected() < int64(len(e.Lines)) {
			return &unknownError{"item"}
		}
		return nil
	}
}

func queueOrderCompleted(b *pgx.Batch, e *changes.OrderCompleted) func(pgx.BatchResults) error {
	if e.Status == "completed" {
		at := e.Occurred
		if e.CompletedAt != nil {
			at = *e.CompletedAt
		}
		b.Queue(`UPDATE shop.transactions SET status = $2::text::shop.txn_status, completed_at = $3 WHERE transaction_id = $1`,
			e.TransactionID, e.Status, at)
	} else {
		b.Queue(`UPDATE shop.transactions SET status = $2::text::shop.txn_status WHERE transaction_id = $1`,
			e.TransactionID, e.Status)
	}
	b.Queue(`SELECT count(*) FROM shop.transactions WHERE transaction_id = $1`, e.TransactionID)
	return func(r pgx.BatchResults) error {
		updated, err := r.Exec()
		if err != nil {
			return err
		}
		var exists int
		if err := r.QueryRow().Scan(&exists); err != nil {
			return err
		}
		switch ours := e.Status == "shipped" || e.Status == "completed"; {
		case updated.RowsAffected() > 0:
			return nil
		case !ours:
			return &rejectedError{"status " + e.Status + " is not Logistics' to set", "42501"}
		case exists == 0:
			return &unknownError{"order"}
		default:
			return &rejectedError{"0 rows changed: the order's status is not one that Logistics may change", ""}
		}
	}
}

func queueItemAdd(b *pgx.Batch, e *changes.ItemChange) func(pgx.BatchResults) error {
	b.Queue(`INSERT INTO shop.manufacturers (manufacturer_name) SELECT $1::text
		WHERE NOT EXISTS (SELECT FROM shop.manufacturers WHERE manufacturer_name = $1::text)
		ON CONFLICT (manufacturer_name) DO NOTHING`, e.Manufacturer)
	b.Queue(`INSERT INTO shop.items (item_id, item_name, manufacturer_id, cost, weight_kg)
		SELECT $1::uuid, $2::text, m.manufacturer_id, $4::text::numeric, $5::text::numeric
		FROM shop.manufacturers m WHERE m.manufacturer_name = $3`,
		e.ItemID, e.ItemName, e.Manufacturer, e.Cost, e.WeightKg)
	return func(r pgx.BatchResults) error {
		if _, err := r.Exec(); err != nil {
			return err
		}
		added, err := r.Exec()
		if err == nil && added.RowsAffected() == 0 {
			return &rejectedError{"0 rows changed: the item was not added", ""}
		}
		return err
	}
}

func queueItemRemove(b *pgx.Batch, e *changes.ItemChange) func(pgx.BatchResults) error {
	// The sub-select sees the item as it was before the function runs.
	b.Queue(`SELECT sales.remove_item($1), coalesce((SELECT retired_at IS NOT NULL FROM shop.items WHERE item_id = $1), false)`, e.ItemID)
	return func(r pgx.BatchResults) error {
		var outcome string
		var before bool
		if err := r.QueryRow().Scan(&outcome, &before); err != nil {
			return err
		}
		switch {
		case outcome == "absent":
			return &unknownError{"item"}
		case before:
			return &rejectedError{"0 rows changed: the item is retired already", ""}
		default:
			return nil
		}
	}
}

func queueMemberChange(b *pgx.Batch, e *changes.MemberChange) func(pgx.BatchResults) error {
	if e.Op == changes.OpJoin {
		b.Queue(`INSERT INTO shop.members (membership_id, first_name, last_name, email, mobile_no, date_of_birth)
			VALUES ($1, $2, $3, $4, $5, $6::text::date)`,
			e.MembershipID, e.FirstName, e.LastName, e.Email, e.MobileNo, e.DateOfBirth)
	} else {
		b.Queue(`UPDATE shop.members SET status = $2::text::shop.membership_status, updated_at = now() WHERE membership_id = $1`,
			e.MembershipID, e.Status)
	}
	return func(r pgx.BatchResults) error {
		done, err := r.Exec()
		if err == nil && done.RowsAffected() == 0 {
			return &unknownError{"member"}
		}
		return err
	}
}

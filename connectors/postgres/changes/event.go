package changes

import (
	"time"

	"github.com/google/uuid"
)

// Event is a decoded change. Its JSON form by encoding/json is the topic's JSON form.
type Event interface {
	// ID is the same in every copy of the event: its effect happens once per ID.
	ID() uuid.UUID
	// OccurredAt is when it happened, by the producer's clock.
	OccurredAt() time.Time
	// Key names what the event is about, and is the key of its record: changes of one thing share a partition.
	Key() string
}

// Head is what every event begins with.
type Head struct {
	EventID  uuid.UUID `json:"event_id"`
	Occurred time.Time `json:"occurred_at"`
}

// ID is the event's identity.
func (h Head) ID() uuid.UUID { return h.EventID }

// OccurredAt is when it happened.
func (h Head) OccurredAt() time.Time { return h.Occurred }

// OrderPlaced is a new order with all its lines. Price and weight are not the event's to say: they come from the item when
// the order is applied.
type OrderPlaced struct {
	Head

	TransactionID uuid.UUID `json:"transaction_id"`
	MembershipID  string    `json:"membership_id"`
	Status        string    `json:"status"` // pending or paid
	Lines         []Line    `json:"lines"`  // at least one
}

// Line is one position of an order.
type Line struct {
	ItemID   uuid.UUID `json:"item_id"`
	Quantity int32     `json:"quantity"` // positive
}

// Key is the order.
func (e *OrderPlaced) Key() string { return e.TransactionID.String() }

// OrderCompleted is an order's way after payment. Status may be any of the shop's: that Logistics may say shipped and
// completed only is the database's rule, which refuses the others.
type OrderCompleted struct {
	Head

	TransactionID uuid.UUID  `json:"transaction_id"`
	Status        string     `json:"status"`
	CompletedAt   *time.Time `json:"completed_at,omitempty"` // with status completed only; nil: OccurredAt
}

// Key is the order.
func (e *OrderCompleted) Key() string { return e.TransactionID.String() }

// The operations of [ItemChange] and [MemberChange].
const (
	OpAdd    = "add"
	OpRemove = "remove"
	OpJoin   = "join"
	OpStatus = "status"
)

// ItemChange lists a new item or removes one.
type ItemChange struct {
	Head

	Op           string    `json:"op"` // OpAdd or OpRemove; the fields below ItemID belong to OpAdd
	ItemID       uuid.UUID `json:"item_id"`
	ItemName     string    `json:"item_name,omitempty"`
	Manufacturer string    `json:"manufacturer,omitempty"`
	Cost         string    `json:"cost,omitempty"`      // decimal, at most 10 digits before and 2 after the point
	WeightKg     string    `json:"weight_kg,omitempty"` // decimal, at most 7 digits before and 3 after the point
}

// Key is the item.
func (e *ItemChange) Key() string { return e.ItemID.String() }

// MemberChange admits a member or changes a membership's status.
type MemberChange struct {
	Head

	Op           string `json:"op"` // OpJoin or OpStatus
	MembershipID string `json:"membership_id"`
	FirstName    string `json:"first_name,omitempty"` // this and the next four belong to OpJoin
	LastName     string `json:"last_name,omitempty"`
	Email        string `json:"email,omitempty"`
	MobileNo     string `json:"mobile_no,omitempty"`
	DateOfBirth  string `json:"date_of_birth,omitempty"` // YYYY-MM-DD
	Status       string `json:"status,omitempty"`        // with OpStatus: active, suspended or closed
}

// Key is the membership.
func (e *MemberChange) Key() string { return e.MembershipID }

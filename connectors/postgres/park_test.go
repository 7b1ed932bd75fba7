package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/clock"
)

const parkedCount = "SELECT count(*) FROM pipeline.parked_events"

func withClock(c clock.Clock) func(*postgres.Config) {
	return func(cfg *postgres.Config) { cfg.Clock = c }
}

func TestParkedEventIsAppliedOnceWhatItSpeaksOfIsThere(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.seed()
	late, other := uuid.New(), s.order("paid")
	send := func(id uuid.UUID, status string) {
		k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: id, Status: status})
	}
	send(late, "shipped")
	send(late, "completed")
	send(other, "shipped") // another key goes on
	start(t, k, s, changes.OrdersCompleted, withClock(clock.NewManual(at)))
	eventually(t, "shipped", func() string { return s.status(other) })
	if got := s.text(parkedCount); got != "2" {
		t.Errorf("%s events are parked", got)
	}
	s.exec(`INSERT INTO shop.transactions (transaction_id, member_key, status, placed_at) SELECT $1, member_key, 'paid', $2 FROM shop.members`,
		late, at.Add(-time.Hour))
	eventually(t, "completed", func() string { return s.status(late) })
	eventually(t, "0", func() string { return s.text(parkedCount) })
	if got := s.text("SELECT to_status FROM shop.transaction_status_history WHERE transaction_id = $1 ORDER BY changed_at", late); got != "shipped,completed" {
		t.Errorf("the order went through %s", got)
	}
}

func TestParkedEventIsADeadLetterAfterThirtySeconds(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	item := s.seed()
	now := clock.NewManual(at)
	stranger := &changes.OrderPlaced{Head: head(), TransactionID: uuid.New(), MembershipID: "Nobody_00000", Status: "paid",
		Lines: []changes.Line{{ItemID: item, Quantity: 1}}}
	noItem := &changes.OrderPlaced{Head: head(), TransactionID: uuid.New(), MembershipID: "Tan_1a2b3", Status: "paid",
		Lines: []changes.Line{{ItemID: item, Quantity: 1}, {ItemID: uuid.New(), Quantity: 1}}}
	k.send(changes.OrdersPlaced, stranger, noItem)
	start(t, k, s, changes.OrdersPlaced, withClock(now))
	eventually(t, "2", func() string { return s.text(parkedCount) })
	now.Advance(30*time.Second - time.Millisecond)
	eventually(t, "true", func() string { return s.text("SELECT min(attempts) > 2 FROM pipeline.parked_events") })
	now.Advance(time.Millisecond)
	var got []string
	for _, l := range k.dead(changes.OrdersPlaced, 2) {
		got = append(got, header(l, "__millrun.stage")+" "+header(l, "__streams.errors.message")+" "+header(l, "__streams.errors.offset"))
	}
	if strings.Join(got, ",") != "parked unknown member 0,parked unknown item 1" {
		t.Errorf("dead letters: %v", got)
	}
	eventually(t, "0", func() string { return s.text(parkedCount) })
	if got := s.text("SELECT count(*) FROM shop.transactions"); got != "0" {
		t.Errorf("%s orders", got)
	}
}

func TestParkedEventsOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	item := uuid.New()
	now := clock.NewManual(at)
	remove := &changes.ItemChange{Head: head(), Op: "remove", ItemID: item}
	k.send(changes.ItemsChanges, remove)
	stop := start(t, k, s, changes.ItemsChanges, withClock(now))
	eventually(t, "1", func() string { return s.text(parkedCount) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// The same event comes again while the first is parked, then what it waits for: nothing is done twice.
	k.send(changes.ItemsChanges, remove)
	start(t, k, s, changes.ItemsChanges, withClock(now))
	eventually(t, "2", func() string { return s.text(parkedCount) })
	s.exec(`INSERT INTO shop.manufacturers (manufacturer_name) VALUES ('Acme')`)
	s.exec(`INSERT INTO shop.items (item_id, item_name, manufacturer_id, cost, weight_kg) SELECT $1, 'anvil', manufacturer_id, 1, 1 FROM shop.manufacturers`, item)
	eventually(t, "0", func() string { return s.text(parkedCount) })
	if got := s.text("SELECT count(*) FROM shop.items"); got != "0" {
		t.Errorf("%s items", got)
	}
	if got := s.text("SELECT event_id FROM pipeline.applied_events"); got != remove.EventID.String() {
		t.Errorf("applied: %s", got)
	}
}

func TestEventWaitsBehindAParkedOneOfItsKey(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	item, other := uuid.New(), uuid.New()
	now := clock.NewManual(at)
	add := func(id uuid.UUID) *changes.ItemChange {
		return &changes.ItemChange{Head: head(), Op: "add", ItemID: id, ItemName: id.String(), Manufacturer: "Acme", Cost: "1", WeightKg: "1"}
	}
	k.send(changes.ItemsChanges, &changes.ItemChange{Head: head(), Op: "remove", ItemID: item}, add(item), add(other))
	start(t, k, s, changes.ItemsChanges, withClock(now))
	eventually(t, other.String(), func() string { return s.text("SELECT item_id FROM shop.items") })
	eventually(t, "true", func() string { return s.text("SELECT min(attempts) > 2 AND count(*) = 2 FROM pipeline.parked_events") })
	now.Advance(30 * time.Second)
	// The removal came too early and is given up; only then is the addition's turn.
	if l := k.dead(changes.ItemsChanges, 1)[0]; header(l, "__streams.errors.offset") != "0" {
		t.Errorf("offset %s is the dead letter", header(l, "__streams.errors.offset"))
	}
	eventually(t, "2", func() string { return s.text("SELECT count(*) FROM shop.items") })
	eventually(t, "0", func() string { return s.text(parkedCount) })
}

func TestManyParkedEventsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.seed()
	now := clock.NewManual(at)
	const n = 350 // several pages
	var late []uuid.UUID
	for range n {
		late = append(late, uuid.New())
		k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: late[len(late)-1], Status: "completed"})
	}
	start(t, k, s, changes.OrdersCompleted, withClock(now))
	eventually(t, fmt.Sprint(n), func() string { return s.text(parkedCount) })
	other := s.order("paid")
	k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: other, Status: "completed"})
	eventually(t, "completed", func() string { return s.status(other) })
	s.exec(`INSERT INTO shop.transactions (transaction_id, member_key, status, placed_at) SELECT unnest($1::uuid[]), member_key, 'paid', $2 FROM shop.members`,
		late[1:], at.Add(-time.Hour))
	eventually(t, "1", func() string { return s.text(parkedCount) })
	now.Advance(31 * time.Second)
	eventually(t, "0", func() string { return s.text(parkedCount) })
	if got := len(k.dead(changes.OrdersCompleted, 1)); got != 1 {
		t.Errorf("%d dead letters", got)
	}
	if got := s.text("SELECT count(*) FROM shop.transactions WHERE status = 'completed'"); got != fmt.Sprint(n) {
		t.Errorf("%s orders completed", got)
	}
}

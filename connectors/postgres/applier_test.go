package postgres_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

func TestEachTopicIsAppliedAsItsTeam(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 2)
	item, order := uuid.New(), uuid.New()
	for _, topic := range changes.Topics() {
		start(t, k, s, topic)
	}
	k.send(changes.MembersChanges, &changes.MemberChange{Head: head(), Op: "join", MembershipID: "Tan_1a2b3", FirstName: "Mei",
		LastName: "Tan", Email: "mei@emailprovider.com", MobileNo: "91234567", DateOfBirth: "1990-05-17"})
	k.send(changes.ItemsChanges, &changes.ItemChange{Head: head(), Op: "add", ItemID: item, ItemName: "anvil", Manufacturer: "Acme",
		Cost: "12.50", WeightKg: "0.350"})
	k.send(changes.OrdersPlaced, &changes.OrderPlaced{Head: head(), TransactionID: order, MembershipID: "Tan_1a2b3", Status: "paid",
		Lines: []changes.Line{{ItemID: item, Quantity: 2}, {ItemID: item, Quantity: 3}}})
	k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: order, Status: "shipped"})
	eventually(t, "shipped", func() string { return s.status(order) })
	k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: order, Status: "completed"})
	k.send(changes.ItemsChanges, &changes.ItemChange{Head: head(), Op: "remove", ItemID: item})
	avro, err := changes.EncodeAvro(&changes.MemberChange{Head: head(), Op: "status", MembershipID: "Tan_1a2b3", Status: "suspended"})
	s.must(err)
	k.raw(changes.MembersChanges, "Tan_1a2b3", avro)
	eventually(t, "completed", func() string { return s.status(order) })
	eventually(t, "(t)", func() string { return s.text("SELECT row(retired_at IS NOT NULL) FROM shop.items") })
	eventually(t, "suspended", func() string { return s.text("SELECT status FROM shop.members") })
	if got := s.text(`SELECT row(total_items_count, total_items_price, total_items_weight_kg, completed_at = $1, placed_at = $1)
		FROM shop.transactions`, at); got != "(5,62.50,1.750,t,t)" {
		t.Errorf("order: %s", got)
	}
	if got := s.text("SELECT DISTINCT changed_by FROM shop.transaction_status_history"); got != "logistics_app" {
		t.Errorf("the history names %s", got)
	}
}

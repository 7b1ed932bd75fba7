package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/clock"
)

func join(name string) *changes.MemberChange {
	return &changes.MemberChange{Head: head(), Op: "join", MembershipID: name + "_00000", FirstName: name, LastName: name,
		Email: name + "@emailprovider.net", MobileNo: "81234567", DateOfBirth: "1980-01-01"}
}

const members = "SELECT count(*) FROM shop.members"

func TestCopyOfAnEventHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.seed()
	order := s.order("paid")
	complete := &changes.OrderCompleted{Head: head(), TransactionID: order, Status: "completed"}
	k.send(changes.OrdersCompleted, complete, complete)
	later := at.Add(time.Hour)
	k.send(changes.OrdersCompleted, complete)
	start(t, k, s, changes.OrdersCompleted)
	// A marker behind the copies tells that they were handled.
	marker := s.order("paid")
	k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: marker, Status: "completed", CompletedAt: &later})
	eventually(t, "completed", func() string { return s.status(marker) })
	if got := s.text("SELECT count(*) FROM shop.transaction_status_history WHERE transaction_id = $1", order); got != "1" {
		t.Errorf("%s changes of the order", got)
	}
	if got := s.text("SELECT count(*) FROM pipeline.applied_events"); got != "2" {
		t.Errorf("%s events noted", got)
	}
}

func TestRedeliveryHasNoEffect(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 2)
	for i := range 20 {
		k.send(changes.MembersChanges, join(fmt.Sprintf("m%d", i)))
	}
	stop := start(t, k, s, changes.MembersChanges)
	eventually(t, "20", func() string { return s.text(members) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// Even when the events' ids are forgotten and Kafka's offsets are gone, the watermark stands.
	s.exec("DELETE FROM pipeline.applied_events")
	adm := kadm.NewClient(k.client)
	if _, err := adm.DeleteGroup(t.Context(), "millrun-"+changes.MembersChanges); err != nil {
		t.Fatal(err)
	}
	start(t, k, s, changes.MembersChanges)
	k.send(changes.MembersChanges, join("last"))
	eventually(t, "21", func() string { return s.text(members) })
	if got := s.text("SELECT count(*) FROM pipeline.applied_events"); got != "1" {
		t.Errorf("%s events were applied again", got)
	}
}

func TestTwoProcessesShareTheWorkWithoutDoingItTwice(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 4)
	const n = 400
	stop := start(t, k, s, changes.MembersChanges)
	start(t, k, s, changes.MembersChanges)
	for i := range n {
		if i == n/2 {
			if err := stop(); err != nil { // partitions move while records flow
				t.Fatal(err)
			}
			start(t, k, s, changes.MembersChanges)
		}
		k.send(changes.MembersChanges, join(fmt.Sprintf("m%d", i)))
	}
	eventually(t, fmt.Sprint(n), func() string { return s.text(members) })
	eventually(t, fmt.Sprint(n), func() string { return s.text("SELECT sum(last_offset + 1) FROM pipeline.applied_offsets") })
	k.nothingDead(changes.MembersChanges)
}

func TestTwoGroupsOfTheSameTeamApplyOnce(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 2)
	const n = 200
	for i := range n {
		k.send(changes.MembersChanges, join(fmt.Sprintf("m%d", i)))
		if i%10 == 0 { // without an event id: the watermark alone knows that it is settled
			k.raw(changes.MembersChanges, fmt.Sprint(i), []byte("{}"))
		}
	}
	// Kafka gives every partition to all three: only the database keeps them apart.
	for i := range 3 {
		start(t, k, s, changes.MembersChanges, func(c *postgres.Config) { c.Group, c.BatchRecords = fmt.Sprintf("group-%d", i), 7 })
	}
	eventually(t, fmt.Sprint(n), func() string { return s.text(members) })
	eventually(t, fmt.Sprint(n+n/10), func() string { return s.text("SELECT sum(last_offset + 1) FROM pipeline.applied_offsets") })
	if got := len(k.all(changes.MembersChanges + postgres.DeadLetterSuffix)); got != n/10 {
		t.Errorf("%d dead letters", got)
	}
}

func TestTopicMadeAnewIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	old := join("old")
	k.send(changes.MembersChanges, old, join("older"), join("oldest"))
	start(t, k, s, changes.MembersChanges)
	eventually(t, "3", func() string { return s.text(members) })
	adm := kadm.NewClient(k.client)
	if _, err := adm.DeleteTopics(t.Context(), changes.MembersChanges); err != nil {
		t.Fatal(err)
	}
	k.client.PurgeTopicsFromProducing(changes.MembersChanges)
	if _, err := adm.CreateTopic(t.Context(), 1, 1, nil, changes.MembersChanges); err != nil {
		t.Fatal(err)
	}
	// Its offsets begin at 0 again: a watermark by name would skip both.
	k.send(changes.MembersChanges, old, join("new"))
	eventually(t, "4", func() string { return s.text(members) })
	if got := s.text("SELECT last_offset FROM pipeline.applied_offsets ORDER BY updated_at"); got != "2,1" {
		t.Errorf("watermarks %s", got)
	}
}

func TestEventIDsAreForgottenAfterTheRetention(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	now := clock.NewManual(at)
	k.send(changes.MembersChanges, join("a"))
	stop := start(t, k, s, changes.MembersChanges, withClock(now))
	eventually(t, "1", func() string { return s.text(members) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	now.Advance(8*24*time.Hour - time.Second)
	young := join("b")
	k.send(changes.MembersChanges, young)
	stop = start(t, k, s, changes.MembersChanges, withClock(now))
	eventually(t, "2", func() string { return s.text(members) })
	if got := s.text("SELECT count(*) FROM pipeline.applied_events"); got != "2" {
		t.Fatalf("%s event ids before the retention is over", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	now.Advance(2 * time.Second)
	start(t, k, s, changes.MembersChanges, withClock(now))
	eventually(t, young.EventID.String(), func() string { return s.text("SELECT event_id FROM pipeline.applied_events") })
}

func TestRestoredDatabaseIsCaughtUp(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	id := uuid.New()
	add := &changes.ItemChange{Head: head(), Op: "add", ItemID: id, ItemName: "anvil", Manufacturer: "Acme", Cost: "1", WeightKg: "1"}
	k.send(changes.ItemsChanges, add)
	start(t, k, s, changes.ItemsChanges)
	eventually(t, id.String(), func() string { return s.text("SELECT item_id FROM shop.items") })
	// A backup from before the event comes back under the running applier.
	s.exec("DELETE FROM shop.items; DELETE FROM pipeline.applied_events; UPDATE pipeline.applied_offsets SET last_offset = -1")
	next := uuid.New()
	k.send(changes.ItemsChanges, &changes.ItemChange{Head: head(), Op: "add", ItemID: next, ItemName: "bolt", Manufacturer: "Acme", Cost: "1", WeightKg: "1"})
	eventually(t, "anvil,bolt", func() string { return s.text("SELECT item_name FROM shop.items ORDER BY item_name") })
}

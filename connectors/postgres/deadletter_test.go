package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/changes"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadRecordTakesNothingOfItsBatchWithIt(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	item := s.seed()
	retired := uuid.New()
	s.exec(`INSERT INTO shop.items (item_id, item_name, manufacturer_id, cost, weight_kg, retired_at)
		SELECT $1, 'old', manufacturer_id, 1, 1, now() FROM shop.manufacturers`, retired)
	taken := s.order("paid")
	place := func(id, item uuid.UUID) *changes.OrderPlaced {
		return &changes.OrderPlaced{Head: head(), TransactionID: id, MembershipID: "Tan_1a2b3", Status: "paid",
			Lines: []changes.Line{{ItemID: item, Quantity: 1}}}
	}
	// 300 records in one batch; every seventh is bad in one of five ways, the first and the last among them.
	bad := map[int]string{}
	for i := range 300 {
		good := place(uuid.New(), item)
		if i%7 != 0 && i != 299 {
			k.send(changes.OrdersPlaced, good)
			continue
		}
		switch i % 5 {
		case 0:
			bad[i] = "decode  changes.Error"
			k.raw(changes.OrdersPlaced, "", []byte(`{"event_id":`))
		case 1:
			bad[i] = "apply SH001 pgconn.PgError"
			k.send(changes.OrdersPlaced, place(uuid.New(), retired))
		case 2:
			bad[i] = "apply 23505 pgconn.PgError"
			k.send(changes.OrdersPlaced, place(taken, item))
		case 3:
			bad[i] = "decode  changes.Error"
			k.raw(changes.OrdersPlaced, "", []byte(strings.Replace(string(marshal(t, good)), `"lines"`, `"gift":true,"lines"`, 1)))
		default:
			bad[i] = "apply 22003 pgconn.PgError" // the total's type overflows
			many := place(uuid.New(), item)
			many.Lines = []changes.Line{{ItemID: item, Quantity: 2147483647}, {ItemID: item, Quantity: 2147483647}}
			k.send(changes.OrdersPlaced, many)
		}
	}
	start(t, k, s, changes.OrdersPlaced)
	letters := k.dead(changes.OrdersPlaced, len(bad))
	eventually(t, fmt.Sprint(1+300-len(bad)), func() string { return s.text("SELECT count(*) FROM shop.transactions") })
	seen := map[int]string{}
	for _, l := range letters {
		var offset int
		if _, err := fmt.Sscan(header(l, "__streams.errors.offset"), &offset); err != nil {
			t.Fatal(err)
		}
		seen[offset] = strings.TrimSuffix(header(l, "__millrun.stage")+" "+header(l, "__millrun.sqlstate"), "(absent)") + " " +
			header(l, "__streams.errors.exception")
	}
	for i, want := range bad {
		if seen[i] != want {
			t.Errorf("offset %d: dead letter says %q, want %q", i, seen[i], want)
		}
	}
	if got := s.text("SELECT last_offset FROM pipeline.applied_offsets"); got != "299" {
		t.Errorf("the watermark is %s", got)
	}
}

func TestDeadLetterCarriesTheSourceUnchanged(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	value := []byte("\x00\x01 neither JSON nor Avro \xff")
	k.raw(changes.ItemsChanges, "the key", value,
		kgo.RecordHeader{Key: "trace", Value: []byte("a")}, kgo.RecordHeader{Key: "trace", Value: nil})
	start(t, k, s, changes.ItemsChanges)
	l := k.dead(changes.ItemsChanges, 1)[0]
	if string(l.Key) != "the key" || string(l.Value) != string(value) {
		t.Errorf("key %q, value %q", l.Key, l.Value)
	}
	if l.Headers[0].Key != "trace" || string(l.Headers[0].Value) != "a" || l.Headers[1].Value != nil {
		t.Errorf("headers %v", l.Headers)
	}
	want := map[string]string{"__streams.errors.topic": "items.changes", "__streams.errors.partition": "0",
		"__streams.errors.offset": "0", "__streams.errors.exception": "changes.Error", "__millrun.stage": "decode",
		"__millrun.attempts": "1", "__millrun.credential": "sales_app", "__millrun.sqlstate": "(absent)"}
	for key, v := range want {
		if got := header(l, key); got != v {
			t.Errorf("%s = %q, want %q", key, got, v)
		}
	}
	if got := header(l, "__streams.errors.message"); !strings.Contains(got, "16777216") && !strings.Contains(got, "schema") {
		t.Errorf("the message does not say what is wrong: %q", got)
	}
}

func TestWhatLogisticsMayNotSayIsRefusedByTheDatabase(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.seed()
	for _, c := range []struct{ from, to, want string }{
		{"paid", "cancelled", "apply 42501"},
		{"pending", "cancelled", "rejected 42501"},
		{"completed", "refunded", "apply 42501"},
		{"completed", "shipped", "apply SH002"},
		{"shipped", "paid", "apply SH002"},
		{"pending", "shipped", "rejected (absent)"},
	} {
		k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: s.order(c.from), Status: c.to})
	}
	k.send(changes.OrdersCompleted, &changes.OrderCompleted{Head: head(), TransactionID: uuid.New(), Status: "lost"})
	start(t, k, s, changes.OrdersCompleted)
	var got []string
	for _, l := range k.dead(changes.OrdersCompleted, 7) {
		got = append(got, header(l, "__millrun.stage")+" "+header(l, "__millrun.sqlstate"))
	}
	if want := "apply 42501,rejected 42501,apply 42501,apply SH002,apply SH002,rejected (absent),decode (absent)"; strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}
	if got := s.text("SELECT status FROM shop.transactions ORDER BY status"); got != "pending,pending,paid,shipped,completed,completed" {
		t.Errorf("the orders are now %s", got)
	}
}

func TestNothingPassesWhileDeadLettersCannotBeWritten(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	item := uuid.New()
	dlq := changes.ItemsChanges + postgres.DeadLetterSuffix
	refuse := k.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: dlq, Err: kerr.InvalidRecord, Count: -1})
	k.raw(changes.ItemsChanges, "", []byte("{}"))
	k.send(changes.ItemsChanges, &changes.ItemChange{Head: head(), Op: "add", ItemID: item, ItemName: "anvil", Manufacturer: "Acme",
		Cost: "1", WeightKg: "1"})
	start(t, k, s, changes.ItemsChanges)
	if err := refuse.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got := s.text("SELECT last_offset FROM pipeline.applied_offsets"); got != "-1" {
		t.Errorf("the watermark passed an unwritten dead letter: %s", got)
	}
	refuse.Remove()
	eventually(t, item.String(), func() string { return s.text("SELECT item_id FROM shop.items") })
	k.dead(changes.ItemsChanges, 1)
}

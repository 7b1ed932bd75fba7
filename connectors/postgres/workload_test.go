package postgres_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

// workload is a stream of change events and what a shop looks like that has applied each of them exactly once: an oracle
// of its own, in integers, that shares no code with the applier or the database.
type workload struct {
	t      *testing.T
	rand   *rand.Rand
	topics map[string][]*kgo.Record // in order of publication
	// illegal counts, by topic and stage, the records that must become dead letters.
	illegal map[string]int
	legal   int // distinct events with an effect
	items   []uuid.UUID
	cents   map[uuid.UUID]int
	grams   map[uuid.UUID]int
	orders  map[uuid.UUID]*wantedOrder
	members map[string]string // membership id → status
	gone    int               // items removed
}

type wantedOrder struct {
	status              string
	count, cents, grams int
	changes             int // rows of history
}

func newWorkload(t *testing.T, seed uint64) *workload {
	t.Helper()
	return &workload{t: t, rand: rand.New(rand.NewPCG(seed, 1)), topics: map[string][]*kgo.Record{}, illegal: map[string]int{},
		cents: map[uuid.UUID]int{}, grams: map[uuid.UUID]int{}, orders: map[uuid.UUID]*wantedOrder{}, members: map[string]string{}}
}

func (w *workload) id() uuid.UUID {
	var u uuid.UUID
	for i := range u {
		u[i] = byte(w.rand.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func (w *workload) head() changes.Head { return changes.Head{EventID: w.id(), Occurred: at} }

func (w *workload) put(topic string, e changes.Event) {
	w.t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.bytes(topic, e.Key(), b)
}

func (w *workload) bytes(topic, key string, b []byte) {
	w.topics[topic] = append(w.topics[topic], &kgo.Record{Key: []byte(key), Value: b})
}

// good publishes an event with an effect, and now and then a copy of an earlier record of the topic.
func (w *workload) good(topic string, e changes.Event) {
	w.put(topic, e)
	w.legal++
	if all := w.topics[topic]; w.rand.IntN(12) == 0 {
		old := all[w.rand.IntN(len(all))]
		if !w.bad(topic, old) {
			w.bytes(topic, string(old.Key), old.Value)
		}
	}
}

// bad says that the record is one of the illegal ones, whose copies would be further dead letters.
func (w *workload) bad(topic string, r *kgo.Record) bool {
	return w.illegal[topic+" "+string(r.Value)] > 0
}

// evil publishes an event that must become a dead letter of that stage and SQLSTATE.
func (w *workload) evil(topic, fate string, e changes.Event) {
	w.put(topic, e)
	all := w.topics[topic]
	w.illegal[topic+" "+string(all[len(all)-1].Value)]++
	w.illegal[topic+"/"+fate]++
}

// fill makes about n events.
func (w *workload) fill(n int) {
	for i := range 40 {
		w.member(fmt.Sprintf("Tan%d_%05x", i, i))
	}
	for range 60 {
		w.item()
	}
	for w.total() < n {
		switch w.rand.IntN(20) {
		case 0:
			w.member(fmt.Sprintf("Lim%d_%05x", w.total(), w.total()))
		case 1:
			w.item()
		case 2:
			w.removedItem()
		case 3:
			w.illegalEvent()
		case 4:
			for id := range w.members {
				w.members[id] = []string{"active", "suspended", "closed"}[w.rand.IntN(3)]
				w.good(changes.MembersChanges, &changes.MemberChange{Head: w.head(), Op: "status", MembershipID: id, Status: w.members[id]})
				break
			}
		default:
			w.order()
		}
	}
}

func (w *workload) total() (n int) {
	for _, records := range w.topics {
		n += len(records)
	}
	return n
}

func (w *workload) member(id string) {
	w.members[id] = "active"
	w.good(changes.MembersChanges, &changes.MemberChange{Head: w.head(), Op: "join", MembershipID: id, FirstName: "A", LastName: "B",
		Email: id + "@emailprovider.com", MobileNo: "91234567", DateOfBirth: "1990-05-17"})
}

func (w *workload) add(id uuid.UUID) *changes.ItemChange {
	cents, grams := 1+w.rand.IntN(100000), 1+w.rand.IntN(50000)
	w.cents[id], w.grams[id] = cents, grams
	return &changes.ItemChange{Head: w.head(), Op: "add", ItemID: id, ItemName: "item " + id.String(),
		Manufacturer: fmt.Sprintf("maker %d", w.rand.IntN(9)), Cost: fmt.Sprintf("%d.%02d", cents/100, cents%100),
		WeightKg: fmt.Sprintf("%d.%03d", grams/1000, grams%1000)}
}

func (w *workload) item() {
	id := w.id()
	w.good(changes.ItemsChanges, w.add(id))
	w.items = append(w.items, id)
}

func (w *workload) removedItem() {
	id := w.id()
	w.good(changes.ItemsChanges, w.add(id))
	w.good(changes.ItemsChanges, &changes.ItemChange{Head: w.head(), Op: "remove", ItemID: id})
	w.gone++
}

func (w *workload) order() {
	id := w.id()
	o := &wantedOrder{status: "paid"}
	e := &changes.OrderPlaced{Head: w.head(), TransactionID: id, MembershipID: fmt.Sprintf("Tan%d_%05x", w.rand.IntN(40), 0), Status: "paid"}
	n := w.rand.IntN(40)
	e.MembershipID = fmt.Sprintf("Tan%d_%05x", n, n)
	for range 1 + w.rand.IntN(4) {
		item, q := w.items[w.rand.IntN(len(w.items))], 1+w.rand.IntN(9)
		e.Lines = append(e.Lines, changes.Line{ItemID: item, Quantity: int32(q)})
		o.count, o.cents, o.grams = o.count+q, o.cents+q*w.cents[item], o.grams+q*w.grams[item]
	}
	w.good(changes.OrdersPlaced, e)
	w.orders[id] = o
	for _, status := range [][]string{nil, {"shipped"}, {"completed"}, {"shipped", "completed"}}[w.rand.IntN(4)] {
		o.status = status
		o.changes++
		w.good(changes.OrdersCompleted, &changes.OrderCompleted{Head: w.head(), TransactionID: id, Status: status})
	}
	if o.status == "completed" && w.rand.IntN(4) == 0 {
		w.evil(changes.OrdersCompleted, "apply SH002", &changes.OrderCompleted{Head: w.head(), TransactionID: id, Status: "shipped"})
		w.evil(changes.OrdersCompleted, "apply 42501", &changes.OrderCompleted{Head: w.head(), TransactionID: id, Status: "refunded"})
	}
}

func (w *workload) illegalEvent() {
	line := []changes.Line{{ItemID: w.items[0], Quantity: 1}}
	switch w.rand.IntN(7) {
	case 0:
		w.evil(changes.OrdersPlaced, "parked (absent)", &changes.OrderPlaced{Head: w.head(), TransactionID: w.id(), MembershipID: "Nobody_00000", Status: "paid", Lines: line})
	case 1:
		w.evil(changes.OrdersPlaced, "decode (absent)", &changes.OrderPlaced{Head: w.head(), TransactionID: w.id(), MembershipID: "Tan0_00000", Status: "shipped", Lines: line})
	case 2:
		w.evil(changes.ItemsChanges, "apply 23514", &changes.ItemChange{Head: w.head(), Op: "add", ItemID: w.id(), ItemName: "air", Manufacturer: "maker 0", Cost: "1", WeightKg: "0.000"})
	case 3:
		w.evil(changes.ItemsChanges, "parked (absent)", &changes.ItemChange{Head: w.head(), Op: "remove", ItemID: w.id()})
	case 4:
		id := fmt.Sprintf("Kid%d_00000", w.total())
		w.evil(changes.MembersChanges, "apply 23514", &changes.MemberChange{Head: w.head(), Op: "join", MembershipID: id, FirstName: "A", LastName: "B",
			Email: id + "@emailprovider.com", MobileNo: "91234567", DateOfBirth: "2010-05-17"})
	case 5:
		w.evil(changes.OrdersCompleted, "parked (absent)", &changes.OrderCompleted{Head: w.head(), TransactionID: w.id(), Status: "completed"})
	default:
		id := w.id() // pending for ever: Logistics may not touch it
		w.good(changes.OrdersPlaced, &changes.OrderPlaced{Head: w.head(), TransactionID: id, MembershipID: "Tan0_00000", Status: "pending", Lines: line})
		w.orders[id] = &wantedOrder{status: "pending", count: 1, cents: w.cents[w.items[0]], grams: w.grams[w.items[0]]}
		w.evil(changes.OrdersCompleted, "rejected (absent)", &changes.OrderCompleted{Head: w.head(), TransactionID: id, Status: "shipped"})
	}
}

// check compares the shop with the oracle.
func (w *workload) check(s *shop) {
	w.t.Helper()
	expect := func(what, want, got string) {
		w.t.Helper()
		if want != got {
			w.t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	expect("orders", fmt.Sprint(len(w.orders)), s.text("SELECT count(*) FROM shop.transactions"))
	expect("members", fmt.Sprint(len(w.members)), s.text(members))
	expect("items", fmt.Sprint(len(w.cents)-w.gone), s.text("SELECT count(*) FROM shop.items"))
	expect("distinct events", fmt.Sprint(w.legal), s.text("SELECT count(*) FROM pipeline.applied_events"))
	for id, o := range w.orders {
		want := fmt.Sprintf("(%s,%d,%d,%d,%d)", o.status, o.count, o.cents, o.grams, o.changes)
		expect("order "+id.String(), want, s.text(`SELECT row(status, total_items_count, (100 * total_items_price)::bigint,
			(1000 * total_items_weight_kg)::bigint, (SELECT count(*) FROM shop.transaction_status_history h WHERE h.transaction_id = t.transaction_id))
			FROM shop.transactions t WHERE transaction_id = $1`, id))
	}
	for id, status := range w.members {
		expect("member "+id, status, s.text("SELECT status FROM shop.members WHERE membership_id = $1", id))
	}
}

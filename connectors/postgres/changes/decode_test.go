package changes_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/linkedin/goavro/v2"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

const (
	id1 = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	id2 = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
)

// valid is one value of each kind, as a producer writes it.
var valid = map[string][]string{
	changes.OrdersPlaced: {`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","transaction_id":"` + id2 +
		`","membership_id":"Tan_1a2b3","status":"pending","lines":[{"item_id":"` + id1 + `","quantity":2}]}`},
	changes.OrdersCompleted: {
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","transaction_id":"` + id2 + `","status":"shipped"}`,
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","transaction_id":"` + id2 + `","status":"completed","completed_at":"2026-11-23T11:00:00.123456Z"}`,
	},
	changes.ItemsChanges: {
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","op":"add","item_id":"` + id2 + `","item_name":"anvil","manufacturer":"Acme","cost":"12.50","weight_kg":"0.350"}`,
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","op":"remove","item_id":"` + id2 + `"}`,
	},
	changes.MembersChanges: {
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","op":"join","membership_id":"Tan_1a2b3","first_name":"Mei","last_name":"Tan","email":"mei@emailprovider.com","mobile_no":"91234567","date_of_birth":"1990-05-17"}`,
		`{"event_id":"` + id1 + `","occurred_at":"2026-11-23T10:00:00Z","op":"status","membership_id":"Tan_1a2b3","status":"closed"}`,
	},
}

func TestValidEventsKeepTheirContentInBothForms(t *testing.T) {
	t.Parallel()
	keys := map[string]string{changes.OrdersPlaced: id2, changes.OrdersCompleted: id2, changes.ItemsChanges: id2, changes.MembersChanges: "Tan_1a2b3"}
	for topic, values := range valid {
		for _, value := range values {
			e, err := changes.Decoder{}.Decode(t.Context(), topic, []byte(value))
			if err != nil {
				t.Errorf("%s: %v", topic, err)
				continue
			}
			if again := jsonOf(t, e); again != value {
				t.Errorf("%s: JSON came back as\n%s, was\n%s", topic, again, value)
			}
			if key, err := changes.Key(topic, []byte(value)); key != keys[topic] || err != nil {
				t.Errorf("%s: key %q, %v", topic, key, err)
			}
			b, err := changes.EncodeAvro(e)
			if err != nil {
				t.Fatal(err)
			}
			back, err := changes.Decoder{}.Decode(t.Context(), topic, b)
			if err != nil {
				t.Errorf("%s: Avro: %v", topic, err)
				continue
			}
			if again := jsonOf(t, back); again != value {
				t.Errorf("%s: Avro came back as\n%s, was\n%s", topic, again, value)
			}
		}
	}
}

func TestFaultsNameFieldAndKind(t *testing.T) {
	t.Parallel()
	placed, item, member := valid[changes.OrdersPlaced][0], valid[changes.ItemsChanges][0], valid[changes.MembersChanges][0]
	shipped, remove := valid[changes.OrdersCompleted][0], valid[changes.ItemsChanges][1]
	swap := func(s, old, with string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %s", old, s)
		}
		return strings.Replace(s, old, with, 1)
	}
	for _, c := range []struct {
		topic, value string
		kind         changes.Kind
		want         string
	}{
		{changes.OrdersPlaced, ``, changes.Malformed, "no value"},
		{changes.OrdersPlaced, `[]`, changes.Malformed, "not a JSON object"},
		{changes.OrdersPlaced, `{"event_id":`, changes.Malformed, "not JSON"},
		{changes.OrdersPlaced, placed + `{}`, changes.Malformed, "more than one JSON value"},
		{changes.OrdersPlaced, swap(placed, "pending", "\xff"), changes.Malformed, "not UTF-8"},
		{changes.OrdersPlaced, swap(placed, `"status"`, `"status":"paid","status"`), changes.Malformed, "field status appears twice"},
		{changes.OrdersPlaced, swap(placed, `"lines":[`, `"lines":[[[[[[[[[[`), changes.Malformed, "nested deeper than 8"},
		{changes.OrdersPlaced, `{}`, changes.Malformed, "event_id: missing; lines: missing; membership_id: missing; occurred_at: missing; status: missing; transaction_id: missing"},
		{changes.OrdersPlaced, swap(placed, `"status"`, `"Status"`), changes.Malformed, "Status: unknown field; status: missing"},
		{changes.OrdersPlaced, swap(placed, `"lines"`, `"gift":null,"lines"`), changes.Unknown, "gift: unknown field"},
		{changes.OrdersPlaced, swap(placed, `"pending"`, `"shipped"`), changes.Unknown, `status: unknown value "shipped": one of pending, paid is needed`},
		{changes.OrdersPlaced, swap(placed, `"pending"`, `null`), changes.Malformed, "status: missing"},
		{changes.OrdersPlaced, swap(placed, `"pending"`, `1`), changes.Malformed, "status: a string is needed"},
		{changes.OrdersPlaced, swap(placed, id2, "{"+id2+"}"), changes.Malformed, "transaction_id: not a uuid"},
		{changes.OrdersPlaced, swap(placed, "2026-11-23T10:00:00Z", "2026-11-23 10:00"), changes.Malformed, "occurred_at: not an RFC 3339 time"},
		{changes.OrdersPlaced, swap(placed, `"quantity":2`, `"quantity":2.0`), changes.Malformed, "lines[0].quantity: not an integer"},
		{changes.OrdersPlaced, swap(placed, `"quantity":2`, `"quantity":2147483648`), changes.Malformed, "lines[0].quantity: not an integer of 32 bits"},
		{changes.OrdersPlaced, swap(placed, `"quantity":2`, `"quantity":0`), changes.Unknown, "lines[0].quantity: must be positive"},
		{changes.OrdersPlaced, swap(placed, `"quantity":2`, `"quantity":2,"price":"0.01"`), changes.Unknown, "lines[0].price: unknown field"},
		{changes.OrdersPlaced, swap(placed, `{"item_id":"`+id1+`","quantity":2}`, `7`), changes.Malformed, "lines[0]: an object is needed"},
		{changes.OrdersPlaced, swap(placed, `{"item_id":"`+id1+`","quantity":2}`, ``), changes.Unknown, "lines: at least one is needed"},
		{changes.OrdersCompleted, swap(shipped, "shipped", "lost"), changes.Unknown, `status: unknown value "lost"`},
		{changes.OrdersCompleted, swap(shipped, `"shipped"`, `"shipped","completed_at":"2026-11-23T10:00:00Z"`), changes.Unknown, "completed_at: belongs to status completed"},
		{changes.ItemsChanges, swap(item, `"12.50"`, `12.50`), changes.Malformed, "cost: a string is needed"},
		{changes.ItemsChanges, swap(item, `"12.50"`, `"12.505"`), changes.Malformed, "cost: not a decimal string"},
		{changes.ItemsChanges, swap(item, `"12.50"`, `"-1"`), changes.Malformed, "cost: not a decimal string"},
		{changes.ItemsChanges, swap(item, `"12.50"`, `"1e3"`), changes.Malformed, "cost: not a decimal string"},
		{changes.ItemsChanges, swap(item, `"12.50"`, `"12."`), changes.Malformed, "cost: not a decimal string"},
		{changes.ItemsChanges, swap(item, `"0.350"`, `"12345678"`), changes.Malformed, "weight_kg: not a decimal string"},
		{changes.ItemsChanges, swap(item, `"anvil"`, `""`), changes.Malformed, "item_name: empty"},
		{changes.ItemsChanges, swap(item, `anvil`, `an\u0000vil`), changes.Malformed, "item_name: holds a zero byte"},
		{changes.ItemsChanges, swap(item, `"add"`, `"replace"`), changes.Unknown, `changes: items.changes: op: unknown value "replace": one of add, remove is needed`},
		{changes.ItemsChanges, swap(remove, `"op"`, `"cost":"1","op"`), changes.Unknown, "cost: unknown field"},
		{changes.MembersChanges, swap(member, "1990-05-17", "1990-02-30"), changes.Malformed, "date_of_birth: not a date"},
		{changes.MembersChanges, swap(valid[changes.MembersChanges][1], "closed", "gone"), changes.Unknown, "status: unknown value"},
	} {
		err := changes.Validate(c.topic, []byte(c.value))
		var e *changes.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want %s", c.value, err, c.want)
			continue
		}
		if e.Kind() != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %d %v\nwant %d %s", c.value, e.Kind(), err, c.kind, c.want)
		}
	}
	if err := changes.Validate("orders.lost", []byte(placed)); !errors.Is(err, changes.ErrUnknownTopic) {
		t.Errorf("unknown topic: %v", err)
	}
}

func TestErrorsDoNotRepeatPersonalContent(t *testing.T) {
	t.Parallel()
	value := strings.NewReplacer("1990-05-17", "1990-5-17", "Mei", "", "2026-11-23T10:00:00Z", "mei@emailprovider.com").Replace(valid[changes.MembersChanges][0])
	err := changes.Validate(changes.MembersChanges, []byte(value))
	if err == nil || strings.Contains(err.Error(), "mei@") || strings.Contains(err.Error(), "1990-5-17") || strings.Contains(err.Error(), "Tan") {
		t.Errorf("%v", err)
	}
}

// schemas is a registry in memory.
type schemas map[int]string

func (s schemas) Schema(_ context.Context, id int) (string, error) {
	if text, ok := s[id]; ok {
		return text, nil
	}
	return "", fmt.Errorf("no schema %d", id)
}

func confluent(t *testing.T, id int, schema string, native map[string]any) []byte {
	t.Helper()
	c, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.BinaryFromNative(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), native)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A company's own schema says times, decimals, uuids and enumerations in Avro's logical types.
const richSchema = `{"type":"record","name":"Item","namespace":"company.shop","fields":[
 {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
 {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"op","type":{"type":"enum","name":"Op","symbols":["add","remove"]}},
 {"name":"item_id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}},
 {"name":"item_name","type":["null","string"]},{"name":"manufacturer","type":["string","null"]},
 {"name":"cost","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
 {"name":"weight_kg","type":["null",{"type":"fixed","name":"Kg","size":8,"logicalType":"decimal","precision":10,"scale":3}]}]}`

func TestConfluentsWireFormatIsReadByTheWritersSchema(t *testing.T) {
	t.Parallel()
	// goavro writes fixed uuids and decimals from their bytes when the logical type is taken away.
	plain := strings.NewReplacer(`,"logicalType":"uuid"`, ``, `,"logicalType":"decimal","precision":12,"scale":2`, ``,
		`,"logicalType":"decimal","precision":10,"scale":3`, ``).Replace(richSchema)
	id := uuid.MustParse(id2)
	b := confluent(t, 7, plain, map[string]any{"event_id": id1, "occurred_at": time.Date(2026, 11, 23, 10, 0, 0, 5000, time.UTC),
		"op": "add", "item_id": id[:], "item_name": goavro.Union("string", "anvil"), "manufacturer": goavro.Union("string", "Acme"),
		"cost": []byte{0x04, 0xe2}, "weight_kg": goavro.Union("company.shop.Kg", []byte{0, 0, 0, 0, 0, 0, 1, 0x5e})})
	e, err := changes.Decoder{Registry: schemas{7: richSchema}}.Decode(t.Context(), changes.ItemsChanges, b)
	if err != nil {
		t.Fatal(err)
	}
	want := &changes.ItemChange{EventID: uuid.MustParse(id1), Occurred: time.Date(2026, 11, 23, 10, 0, 0, 5000, time.UTC),
		Op: "add", ItemID: id, ItemName: "anvil", Manufacturer: "Acme", Cost: "12.50", WeightKg: "0.350"}
	if got := e.(*changes.ItemChange); *got != *want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAvroThatCannotBeReadIsMalformed(t *testing.T) {
	t.Parallel()
	e, err := changes.Decoder{}.Decode(t.Context(), changes.OrdersPlaced, []byte(valid[changes.OrdersPlaced][0]))
	if err != nil {
		t.Fatal(err)
	}
	single, err := changes.EncodeAvro(e)
	if err != nil {
		t.Fatal(err)
	}
	// The last array claims 2^40 members in a value of a few bytes: no room is made for them.
	bomb := append(append([]byte{}, single[:len(single)-1-2-36]...), binary.AppendVarint(nil, 1<<40)...)
	foreign := append([]byte{}, single...)
	foreign[3] ^= 1
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"cut":         {single[:len(single)-3], "ends"},
		"tail":        {append(append([]byte{}, single...), 0), "1 bytes follow"},
		"bomb":        {bomb, "ends"},
		"fingerprint": {foreign, "unknown schema fingerprint"},
		"no registry": {[]byte{0, 0, 0, 0, 9, 1, 2}, "schema 9 of a registry, and kafka.schema_registry is not set"},
	} {
		var fault *changes.Error
		if err := changes.Validate(changes.OrdersPlaced, c.value); !errors.As(err, &fault) || fault.Kind() != changes.Malformed || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A registry that fails is no fault of the value.
	var fault *changes.Error
	if _, err := (changes.Decoder{Registry: schemas{}}).Decode(t.Context(), changes.OrdersPlaced, []byte{0, 0, 0, 0, 9, 1, 2}); err == nil || errors.As(err, &fault) {
		t.Errorf("registry: %v", err)
	}
}

func TestUnknownAvroFieldIsRefusedLikeAJSONOne(t *testing.T) {
	t.Parallel()
	schema := `{"type":"record","name":"E","fields":[{"name":"event_id","type":"string"},{"name":"occurred_at","type":"string"},
	 {"name":"op","type":"string"},{"name":"item_id","type":"string"},{"name":"gift","type":"boolean"}]}`
	b := confluent(t, 1, schema, map[string]any{"event_id": id1, "occurred_at": "2026-11-23T10:00:00Z", "op": "remove", "item_id": id2, "gift": true})
	_, err := changes.Decoder{Registry: schemas{1: schema}}.Decode(t.Context(), changes.ItemsChanges, b)
	var e *changes.Error
	if !errors.As(err, &e) || e.Kind() != changes.Unknown || !strings.Contains(err.Error(), "gift: unknown field") {
		t.Error(err)
	}
}

func TestEachTopicHasItsTeamAndLogin(t *testing.T) {
	t.Parallel()
	var got []string
	for _, topic := range changes.Topics() {
		team, _ := changes.Owner(topic)
		login, _ := changes.Login(topic)
		role, _ := changes.Role(topic)
		got = append(got, fmt.Sprintf("%s=%s/%s/%s", topic, team, login, role))
	}
	want := "items.changes=sales/sales_app/team_sales members.changes=membership/member_app/svc_membership " +
		"orders.completed=logistics/logistics_app/team_logistics orders.placed=checkout/checkout_app/svc_checkout"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s", strings.Join(got, " "))
	}
	if _, ok := changes.Owner("company-images"); ok {
		t.Error("a topic of images has an owner here")
	}
}

func jsonOf(t *testing.T, e changes.Event) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package changes

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/linkedin/goavro/v2"
)

// avroSchemas are the Avro forms: the JSON form's fields, each with the JSON form's text, an optional one as a union with
// null.
var avroSchemas = map[string]string{
	OrdersPlaced: `{"type":"record","name":"OrderPlaced","namespace":"millrun.changes","fields":[
 {"name":"event_id","type":"string"},{"name":"occurred_at","type":"string"},
 {"name":"transaction_id","type":"string"},{"name":"membership_id","type":"string"},{"name":"status","type":"string"},
 {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
  {"name":"item_id","type":"string"},{"name":"quantity","type":"int"}]}}}]}`,
	OrdersCompleted: `{"type":"record","name":"OrderCompleted","namespace":"millrun.changes","fields":[
 {"name":"event_id","type":"string"},{"name":"occurred_at","type":"string"},
 {"name":"transaction_id","type":"string"},{"name":"status","type":"string"},
 {"name":"completed_at","type":["null","string"],"default":null}]}`,
	ItemsChanges: `{"type":"record","name":"ItemChange","namespace":"millrun.changes","fields":[
 {"name":"event_id","type":"string"},{"name":"occurred_at","type":"string"},
 {"name":"op","type":"string"},{"name":"item_id","type":"string"},
 {"name":"item_name","type":["null","string"],"default":null},{"name":"manufacturer","type":["null","string"],"default":null},
 {"name":"cost","type":["null","string"],"default":null},{"name":"weight_kg","type":["null","string"],"default":null}]}`,
	MembersChanges: `{"type":"record","name":"MemberChange","namespace":"millrun.changes","fields":[
 {"name":"event_id","type":"string"},{"name":"occurred_at","type":"string"},
 {"name":"op","type":"string"},{"name":"membership_id","type":"string"},
 {"name":"first_name","type":["null","string"],"default":null},{"name":"last_name","type":["null","string"],"default":null},
 {"name":"email","type":["null","string"],"default":null},{"name":"mobile_no","type":["null","string"],"default":null},
 {"name":"date_of_birth","type":["null","string"],"default":null},{"name":"status","type":["null","string"],"default":null}]}`,
}

// ownSchema is one of avroSchemas, ready for both directions: goavro writes, our own reader reads (see avro.go).
type ownSchema struct {
	codec *goavro.Codec
	root  *avroType
}

// ownSchemas are compiled on first use, once; the texts are constants of this file, so a fault is found by any test.
var ownSchemas = sync.OnceValues(func() (map[string]ownSchema, error) {
	out := map[string]ownSchema{}
	for t, text := range avroSchemas {
		codec, err := goavro.NewCodec(text)
		if err != nil {
			return nil, fmt.Errorf("changes: schema of %s: %w", t, err)
		}
		root, err := parseAvro(text)
		if err != nil {
			return nil, fmt.Errorf("changes: schema of %s: %w", t, err)
		}
		out[t] = ownSchema{codec, root}
	}
	return out, nil
})

// AvroSchema is the schema in which [EncodeAvro] writes the topic's events.
func AvroSchema(topic string) (string, bool) {
	s, ok := avroSchemas[topic]
	return s, ok
}

// EncodeAvro writes an event in Avro's single-object encoding.
func EncodeAvro(e Event) ([]byte, error) {
	all, err := ownSchemas()
	if err != nil {
		return nil, err
	}
	var s ownSchema
	switch e.(type) {
	case *OrderPlaced:
		s = all[OrdersPlaced]
	case *OrderCompleted:
		s = all[OrdersCompleted]
	case *ItemChange:
		s = all[ItemsChanges]
	case *MemberChange:
		s = all[MembersChanges]
	default:
		return nil, fmt.Errorf("changes: %T is no event of this package", e)
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	fields, err := readJSON(text)
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	out, err := s.codec.SingleFromNative(nil, s.root.native(fields))
	if err != nil {
		return nil, fmt.Errorf("changes: %w", err)
	}
	return out, nil
}

// native turns a JSON form into what goavro writes: union members wrapped by their name, numbers as int64.
func (t *avroType) native(v any) any {
	switch t.kind {
	case "record":
		in, _ := v.(map[string]any)
		out := map[string]any{}
		for _, f := range t.fields {
			out[f.name] = f.of.native(in[f.name])
		}
		return out
	case "array":
		in, _ := v.([]any)
		out := make([]any, len(in))
		for i, x := range in {
			out[i] = t.items.native(x)
		}
		return out
	case "union":
		if v == nil {
			return nil
		}
		return goavro.Union("string", v)
	case "int":
		n, _ := integer(v)
		return n
	default:
		return v
	}
}

package set

import (
	"encoding/json"
	"fmt"
)

// Vector is the record of one run of a topology.
type Vector struct {
	Topology    string            `json:"topology"`
	Seed        int64             `json:"seed"`
	Config      map[string]string `json:"config"`      // the application's settings, by Kafka Streams' names
	WallClockMs int64             `json:"wallClockMs"` // where the clock stands at the start
	Steps       []Step            `json:"steps"`
	Stores      map[string]Store  `json:"stores"` // at the end
}

// Step is a record that goes in (op "pipe") or a move of the wall clock (op "advance"), and what that caused.
type Step struct {
	Op       string          `json:"op"`
	Topic    string          `json:"topic"`
	Key      json.RawMessage `json:"key"`
	Value    json.RawMessage `json:"value"`
	ValueHex string          `json:"valueHex"` // in place of Value: what nobody can read
	TS       int64           `json:"ts"`
	Headers  []Header        `json:"headers"`
	MS       int64           `json:"ms"`
	Out      []Out           `json:"out"`
	Internal []Internal      `json:"internal"` // of vectors that Details says it of
	Error    string          `json:"error"`    // the step fails
}

// Header is a name and a value; nil is null.
type Header struct {
	Name  string
	Value *string
}

// UnmarshalJSON reads [name, value].
func (h *Header) UnmarshalJSON(b []byte) error {
	return tuple(b, 2, &h.Name, &h.Value)
}

// Out is a record sent to a topic of the user's.
type Out struct {
	Topic   string          `json:"topic"`
	Key     json.RawMessage `json:"key"`
	Value   json.RawMessage `json:"value"`
	TS      int64           `json:"ts"`
	Headers []Header        `json:"headers"`
}

// Internal is a record sent to an internal topic, its bytes in hex; nil is null.
type Internal struct {
	Topic      string
	Key, Value *string
	TS         *int64 // nil: the producer's clock
	Headers    []Header
}

// UnmarshalJSON reads [topic, key, value, time] or [topic, key, value, time, headers].
func (i *Internal) UnmarshalJSON(b []byte) error {
	return tuple(b, 4, &i.Topic, &i.Key, &i.Value, &i.TS, &i.Headers)
}

// Store is what a store holds.
type Store struct {
	Type string `json:"type"`
	Rows []Row  `json:"rows"`
}

// Row is a row of a store. Which fields are there depends on the store's type.
type Row struct {
	Key     json.RawMessage `json:"key"`
	Start   *int64          `json:"start"`
	End     *int64          `json:"end"`
	AsOf    *int64          `json:"asOf"`
	Value   json.RawMessage `json:"value"`
	TS      *int64          `json:"ts"`
	ValidTo *int64          `json:"validTo"`
}

// Parse reads a vector.
func Parse(b []byte) (*Vector, error) {
	v := new(Vector)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	return v, nil
}

// Details says whether the vector lists what was sent to internal topics.
func (v *Vector) Details() bool { return v.Seed%10 == 1 }

// tuple reads a JSON array of at least n elements into fields.
func tuple(b []byte, n int, fields ...any) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if len(raw) < n || len(raw) > len(fields) {
		return fmt.Errorf("%d elements, want %d to %d", len(raw), n, len(fields))
	}
	for i, r := range raw {
		if err := json.Unmarshal(r, fields[i]); err != nil {
			return err
		}
	}
	return nil
}

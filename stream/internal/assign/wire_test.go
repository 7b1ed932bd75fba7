package assign_test

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/task"
)

func subscription() assign.Subscription {
	return assign.Subscription{
		Version: 11, Supported: 11, Process: assign.Process{1, 2, 15: 9}, Endpoint: "a:1", Unique: 7, Error: assign.ShutdownRequested,
		Offsets: map[task.ID]int64{{Sub: 1, Partition: 2}: 300, {Sub: 0, Partition: 4}: assign.Running},
		Tags:    map[string]string{"zone": "n"},
	}
}

func assignment() assign.Assignment {
	return assign.Assignment{
		Version: 11, Common: 11, Active: []task.ID{{Sub: 0, Partition: 1}},
		Standby:  []assign.Standby{{Task: task.ID{Sub: 1}, Partitions: []assign.Partition{{Topic: "c", Partition: 5}}}},
		Hosts:    []assign.Hosted{{Host: assign.Host{Name: "h", Port: 80}, Partitions: []assign.Partition{{Topic: "t", Partition: 1}}}},
		Standbys: []assign.Hosted{}, Error: assign.OK, Next: math.MaxInt64,
	}
}

func TestBytesAreThoseOfKafkaStreams(t *testing.T) {
	t.Parallel()
	s, a := subscription(), assignment()
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"subscription": {s.Append(nil), "0000000b 0000000b 01020000000000000000000000000009 00000003 613a31" +
			"00000002 00000000 00000004 fffffffffffffffe ffff 00000001 00000002 000000000000012c ffff" +
			"07 00000004 00000001 00000004 7a6f6e65 00000001 6e"},
		"assignment": {a.Append(nil), "0000000b 0000000b 00000001 00000000 00000001 00000000" +
			"00000001 00000001 00000000 00000000 00000001 0001 63 00000005" +
			"00000001 00000000 0001 74 00000001 0001 68 00000050 00000001 00000000 00000001" +
			"00000000 00000000 7fffffffffffffff"},
	} {
		if want := strings.ReplaceAll(c.want, " ", ""); hex.EncodeToString(c.got) != want {
			t.Errorf("%s:\n%x\n%s", name, c.got, want)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	s := subscription()
	if got, err := assign.ReadSubscription(s.Append(nil)); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%v %v", got, err)
	}
	a := assignment()
	a.Standbys = nil
	if got, err := assign.ReadAssignment(a.Append(nil)); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%v %v", got, err)
	}
	for n := range s.Append(nil) {
		if _, err := assign.ReadSubscription(s.Append(nil)[:n]); !errors.Is(err, assign.ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestOlderVersionsAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]assign.Subscription{
		"00000007 0000000b 01000000000000000000000000000000 00000000 00000001 00000003 00000002 00000000 0000000000000005 00000001 fffffffffffffffd": {Version: 7},
		"00000009 0000000b 01000000000000000000000000000000 00000000 00000001 00000003 00000002 00000000 0000000000000005 00000001 fffffffffffffffd 01 00000001": {
			Version: 9, Unique: 1, Error: assign.MissingSources},
		"0000000a 0000000b 01000000000000000000000000000000 00000000 00000002 00000003 00000000 0000000000000005 ffff 00000003 00000001 fffffffffffffffd 0001 78 02 00000000": {
			Version: 10, Unique: 2},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		want.Supported, want.Process, want.Tags = 11, assign.Process{1}, map[string]string{}
		want.Offsets = map[task.ID]int64{{Sub: 3}: 5, {Sub: 3, Partition: 1}: assign.UnknownOffset}
		if got, err := assign.ReadSubscription(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	got, err := assign.ReadSubscription([]byte{0, 0, 0, 12, 0, 0, 0, 13, 1})
	if !errors.Is(err, assign.ErrVersion) || got.Supported != 13 {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzReadSubscription(f *testing.F) {
	s := subscription()
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := assign.ReadSubscription(b)
		if err != nil {
			return
		}
		again, err := assign.ReadSubscription(got.Append(nil))
		if got.Version, got.Supported = 11, 11; err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%v %v %v", got, again, err)
		}
	})
}

func FuzzReadAssignment(f *testing.F) {
	a := assignment()
	f.Add(a.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := assign.ReadAssignment(b)
		if err != nil {
			return
		}
		again, err := assign.ReadAssignment(got.Append(nil))
		if got.Version = 11; err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%v %v %v", got, again, err)
		}
	})
}

package dlq

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func source() *kgo.Record {
	return &kgo.Record{
		Topic: "raw-images", Partition: 3, Offset: 42, Key: []byte("k"), Value: []byte{0, 1, 0xff}, Timestamp: time.UnixMilli(5),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("x")}, {Key: HeaderStage, Value: []byte("old")}},
	}
}

func TestRecordKeepsBytesAndSaysWhy(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such column")
	r := Record(source(), Failure{Stage: "apply", Attempts: 3, Credential: "sales_app", SQLState: "42703", Err: fmt.Errorf("orders: %w", cause)})
	if r.Topic != "raw-images.dlq" || string(r.Key) != "k" || string(r.Value) != "\x00\x01\xff" || !r.Timestamp.Equal(time.UnixMilli(5)) {
		t.Fatalf("record is %+v", r)
	}
	if r.Headers[0].Key != "traceparent" {
		t.Errorf("the source's own headers are gone: %v", r.Headers)
	}
	got, ok := Parse(r.Headers)
	want := Info{Topic: "raw-images", Partition: 3, Offset: 42, Exception: "*errors.errorString", Message: "orders: no such column",
		Stacktrace: "*fmt.wrapError: orders: no such column\n*errors.errorString: no such column",
		Stage:      "apply", Attempts: 3, Credential: "sales_app", SQLState: "42703"}
	if !ok || got != want {
		t.Errorf("parsed %t\n got %+v\nwant %+v", ok, got, want)
	}
}

func TestSecondFailureReplacesTheFirstOnesHeaders(t *testing.T) {
	t.Parallel()
	first := Record(source(), Failure{Stage: "decode", SQLState: "42501", Err: errors.New("a")})
	second := Record(first, Failure{Topic: "raw-images", Partition: 1, Offset: 7, Stage: "fetch", Err: errors.New("b")})
	got, ok := Parse(second.Headers)
	if !ok || got.Stage != "fetch" || got.SQLState != "" || got.Offset != 7 || second.Topic != "raw-images.dlq" {
		t.Errorf("%t %+v in %s", ok, got, second.Topic)
	}
	seen := map[string]int{}
	for _, h := range second.Headers {
		seen[h.Key]++
		if seen[h.Key] > 1 {
			t.Errorf("header %s stands twice", h.Key)
		}
	}
}

func TestTextIsBoundedAndUTF8(t *testing.T) {
	t.Parallel()
	for _, h := range Headers(Failure{Topic: "t", Stage: "\xff", Err: errors.New(strings.Repeat("é", 8<<10))}) {
		if len(h.Value) > textLimit || !utf8.Valid(h.Value) {
			t.Errorf("%s: %d bytes, valid %t", h.Key, len(h.Value), utf8.Valid(h.Value))
		}
	}
}

func TestParseRefusesWhatIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	if _, ok := Parse([]kgo.RecordHeader{{Key: HeaderTopic, Value: []byte("t")}, {Key: HeaderPartition, Value: []byte("x")}}); ok {
		t.Error("accepted a partition that is no number")
	}
	if _, ok := Parse(nil); ok {
		t.Error("accepted no headers")
	}
}

// Package dlq writes and reads dead letters: a record that could not be handled, put into "<topic>.dlq" with its bytes
// unchanged and the reason in headers. The headers are Kafka Streams' own (KIP-1034), so that its tools read them too,
// and some of Millrun's where they apply.
package dlq

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Header names. The first six are Kafka Streams' (KIP-1034); all values are UTF-8 text.
const (
	HeaderTopic      = "__streams.errors.topic"
	HeaderPartition  = "__streams.errors.partition"
	HeaderOffset     = "__streams.errors.offset"
	HeaderException  = "__streams.errors.exception"
	HeaderMessage    = "__streams.errors.message"
	HeaderStacktrace = "__streams.errors.stacktrace"

	HeaderStage      = "__millrun.stage"
	HeaderAttempts   = "__millrun.attempts"
	HeaderCredential = "__millrun.credential"
	HeaderSQLState   = "__millrun.sqlstate"
)

// textLimit bounds each text in a header, in bytes: a decoder's message must not make the record too large.
const textLimit = 4 << 10

// Suffix makes a topic's name that of its dead letters.
const Suffix = ".dlq"

// Topic is where the dead letters of a topic go.
func Topic(source string) string { return source + Suffix }

// Failure is why a record could not be handled.
type Failure struct {
	Topic      string // the source record's
	Partition  int32
	Offset     int64
	Stage      string // where it happened: decode, a step's name, apply …
	Attempts   int    // how often it was tried; 0 leaves the header out
	Credential string // the login that was used; "" leaves the header out
	SQLState   string // the database's answer; "" leaves the header out
	Err        error
}

// Record is the dead letter of src: same key, value, timestamp and headers, and f's headers. Where f names no topic,
// src's own place is taken. Headers of an earlier failure of the same record are replaced.
func Record(src *kgo.Record, f Failure) *kgo.Record {
	if f.Topic == "" {
		f.Topic, f.Partition, f.Offset = src.Topic, src.Partition, src.Offset
	}
	own := slices.DeleteFunc(slices.Clone(src.Headers), func(h kgo.RecordHeader) bool { return IsHeader(h.Key) })
	return &kgo.Record{
		Topic: Topic(f.Topic), Key: src.Key, Value: src.Value, Timestamp: src.Timestamp,
		Headers: append(own, Headers(f)...),
	}
}

// IsHeader says whether a header's name is one that Headers writes.
func IsHeader(name string) bool {
	return strings.HasPrefix(name, "__streams.errors.") || strings.HasPrefix(name, "__millrun.")
}

// Headers are the headers of f alone.
func Headers(f Failure) []kgo.RecordHeader {
	exception, message, trace := describe(f.Err)
	h := []kgo.RecordHeader{
		{Key: HeaderTopic, Value: []byte(f.Topic)},
		{Key: HeaderPartition, Value: strconv.AppendInt(nil, int64(f.Partition), 10)},
		{Key: HeaderOffset, Value: strconv.AppendInt(nil, f.Offset, 10)},
		{Key: HeaderException, Value: []byte(exception)},
		{Key: HeaderMessage, Value: []byte(message)},
		{Key: HeaderStacktrace, Value: []byte(trace)},
	}
	if f.Stage != "" {
		h = append(h, kgo.RecordHeader{Key: HeaderStage, Value: []byte(clip(f.Stage))})
	}
	if f.Attempts > 0 {
		h = append(h, kgo.RecordHeader{Key: HeaderAttempts, Value: strconv.AppendInt(nil, int64(f.Attempts), 10)})
	}
	if f.Credential != "" {
		h = append(h, kgo.RecordHeader{Key: HeaderCredential, Value: []byte(clip(f.Credential))})
	}
	if f.SQLState != "" {
		h = append(h, kgo.RecordHeader{Key: HeaderSQLState, Value: []byte(clip(f.SQLState))})
	}
	return h
}

// describe is an error's innermost type, its text, and the chain of what it wraps, one line each: Go errors have no
// stack, their chain tells the way.
func describe(err error) (exception, message, trace string) {
	if err == nil {
		return "", "", ""
	}
	var lines []string
	for e := err; e != nil; e = errors.Unwrap(e) {
		exception = fmt.Sprintf("%T", e)
		lines = append(lines, clip(exception+": "+e.Error()))
	}
	return exception, clip(err.Error()), clip(strings.Join(lines, "\n"))
}

// clip shortens s to textLimit bytes of valid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= textLimit {
		return s
	}
	s = s[:textLimit]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// Info is what the headers of a dead letter say.
type Info struct {
	Topic      string
	Partition  int32
	Offset     int64
	Exception  string
	Message    string
	Stacktrace string
	Stage      string
	Attempts   int
	Credential string
	SQLState   string
}

// Parse reads a dead letter's headers; false where they do not name a source record.
func Parse(headers []kgo.RecordHeader) (Info, bool) {
	text := map[string]string{}
	for _, h := range headers {
		text[h.Key] = string(h.Value)
	}
	partition, errP := strconv.ParseInt(text[HeaderPartition], 10, 32)
	offset, errO := strconv.ParseInt(text[HeaderOffset], 10, 64)
	if text[HeaderTopic] == "" || errP != nil || errO != nil {
		return Info{}, false
	}
	attempts, err := strconv.Atoi(text[HeaderAttempts])
	if err != nil {
		attempts = 0
	}
	return Info{
		Topic: text[HeaderTopic], Partition: int32(partition), Offset: offset,
		Exception: text[HeaderException], Message: text[HeaderMessage], Stacktrace: text[HeaderStacktrace],
		Stage: text[HeaderStage], Attempts: attempts,
		Credential: text[HeaderCredential], SQLState: text[HeaderSQLState],
	}, true
}

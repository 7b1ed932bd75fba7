package streamtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/task"
)

// transcript is what happened, one line each.
type transcript struct{ b strings.Builder }

func (s *transcript) linef(format string, args ...any) {
	fmt.Fprintf(&s.b, format+"\n", args...)
}

// record writes a line like
//
//	> word-counts-0 "a"=0000000000000001 @0
//
// with topic and partition, key, value, time and headers; bytes that are no text are hexadecimal.
func (s *transcript) record(mark string, in task.Input) {
	fmt.Fprintf(&s.b, "%s %s-%d %s=%s @%d", mark, in.Topic, in.Partition, text(in.Key), text(in.Value), in.Time)
	for _, h := range in.Headers {
		fmt.Fprintf(&s.b, " %s=%s", h.Key, text(h.Value))
	}
	s.b.WriteByte('\n')
}

func text(b []byte) string {
	if b == nil {
		return "null"
	}
	if utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0 {
		return strconv.Quote(string(b))
	}
	return hex.EncodeToString(b)
}

// show is a record in a message.
func show[K, V any](r stream.Record[K, V]) string {
	key, value := fmt.Sprintf("%+v", r.Key), fmt.Sprintf("%+v", r.Value)
	if r.Keyless {
		key = "no key"
	}
	if r.Tombstone || null(r.Value) {
		value = "tombstone"
	}
	return "(" + key + ", " + value + ")"
}

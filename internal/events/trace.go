package events

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// TraceHeader is the HTTP and Kafka header that carries a trace (W3C Trace Context).
const TraceHeader = "traceparent"

// NewTrace begins a sampled trace: a traceparent with random ids.
func NewTrace() string {
	var b [24]byte
	rand.Read(b[:]) // never fails
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-01"
}

// Trace is header if it is a valid traceparent of version 00, and otherwise a new trace: a caller's nonsense must not
// reach records and logs.
func Trace(header string) string {
	if ValidTrace(header) {
		return header
	}
	return NewTrace()
}

// ValidTrace says whether s is a traceparent of version 00 with ids other than zero.
func ValidTrace(s string) bool {
	p := strings.Split(s, "-")
	if len(s) != 55 || len(p) != 4 || p[0] != "00" {
		return false
	}
	return lowerHex(p[1], 32) && lowerHex(p[2], 16) && lowerHex(p[3], 2) &&
		strings.Trim(p[1], "0") != "" && strings.Trim(p[2], "0") != ""
}

func lowerHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

package httpin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// kind is a class of problem: the same type, title and status every time (RFC 9457, section 3.1).
type kind struct {
	name   string // the last part of the type URI
	title  string
	status int
}

// The problems that the door answers with; docs/api.md lists them.
var (
	kindMalformed       = kind{"malformed", "The request is malformed", http.StatusBadRequest}
	kindDigest          = kind{"digest-mismatch", "The body does not match its Content-Digest", http.StatusBadRequest}
	kindNoKey           = kind{"unauthenticated", "A valid key is needed", http.StatusUnauthorized}
	kindForbidden       = kind{"forbidden", "The key does not allow this", http.StatusForbidden}
	kindNotFound        = kind{"not-found", "There is no such thing", http.StatusNotFound}
	kindMethod          = kind{"method-not-allowed", "The method is not allowed here", http.StatusMethodNotAllowed}
	kindTooSlow         = kind{"too-slow", "The body took too long", http.StatusRequestTimeout}
	kindNotArchived     = kind{"not-archived", "The image is not archived", http.StatusConflict}
	kindInFlight        = kind{"idempotency-key-in-flight", "A request with this Idempotency-Key is under way", http.StatusConflict}
	kindGone            = kind{"gone", "The image has expired", http.StatusGone}
	kindLengthRequired  = kind{"length-required", "The request has no body and no length", http.StatusLengthRequired}
	kindTooLarge        = kind{"too-large", "The request is too large", http.StatusRequestEntityTooLarge}
	kindUnsupported     = kind{"unsupported-media-type", "This is not an accepted image", http.StatusUnsupportedMediaType}
	kindRange           = kind{"range-not-satisfiable", "The range is outside the content", http.StatusRequestedRangeNotSatisfiable}
	kindUndecodable     = kind{"undecodable", "The image cannot be accepted", http.StatusUnprocessableEntity}
	kindUnprocessable   = kind{"unprocessable", "The content is not acceptable", http.StatusUnprocessableEntity}
	kindKeyReused       = kind{"idempotency-key-reused", "The Idempotency-Key belongs to another body", http.StatusUnprocessableEntity}
	kindTooManyRequests = kind{"too-many-requests", "Too much in too short a time", http.StatusTooManyRequests}
	kindInternal        = kind{"internal", "Something went wrong on our side", http.StatusInternalServerError}
	kindUnavailable     = kind{"unavailable", "A part behind the door is away", http.StatusServiceUnavailable}
)

// typeURI is what a kind is known by outside. The URN is a name, not a place: nothing is to be fetched there.
func (k kind) typeURI() string { return "urn:millrun:problem:" + k.name }

// problem is an answer that is an error. It is returned by handlers as an error and written in one place. Its Detail
// is for the caller and therefore never holds a cause from inside; the cause is for the log.
type problem struct {
	kind

	detail     string
	retryAfter time.Duration     // 0: none; told in whole seconds, at least 1
	header     map[string]string // further header fields, e.g. Allow
	members    map[string]any    // extension members
	cause      error             // for the log, nil when the caller alone is at fault
}

func (k kind) because(format string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(format, args...)}
}

func (p *problem) after(d time.Duration) *problem {
	p.retryAfter = d
	return p
}

func (p *problem) with(member string, value any) *problem {
	if p.members == nil {
		p.members = map[string]any{}
	}
	p.members[member] = value
	return p
}

func (p *problem) setHeader(name, value string) *problem {
	if p.header == nil {
		p.header = map[string]string{}
	}
	p.header[name] = value
	return p
}

func (p *problem) causedBy(err error) *problem {
	p.cause = err
	return p
}

// Error is what the log says.
func (p *problem) Error() string {
	if p.cause != nil {
		return "httpin: " + p.name + ": " + p.cause.Error()
	}
	return "httpin: " + p.name + ": " + p.detail
}

func (p *problem) Unwrap() error { return p.cause }

// retrySeconds is Retry-After in its delay form (RFC 9110, section 10.2.3); 0 means that there is none.
func (p *problem) retrySeconds() int {
	if p.retryAfter <= 0 {
		return 0
	}
	return int((p.retryAfter + time.Second - 1) / time.Second)
}

// object is the problem's JSON. instance and id are empty for a part of a multipart answer, whose envelope has them.
func (p *problem) object(instance, id string) map[string]any {
	o := map[string]any{"type": p.typeURI(), "title": p.title, "status": p.status, "detail": p.detail}
	maps.Copy(o, p.members)
	if instance != "" {
		o["instance"] = instance
	}
	if id != "" {
		o["request_id"] = id
	}
	if s := p.retrySeconds(); s > 0 {
		o["retry_after"] = s
	}
	return o
}

// answer is the problem as a whole response.
func (p *problem) answer(instance, id string) answer {
	body, err := json.Marshal(p.object(instance, id))
	if err != nil { // only strings, numbers and times go in
		body = []byte(`{"status":500}`)
	}
	h := map[string]string{"Content-Type": "application/problem+json"}
	maps.Copy(h, p.header)
	if s := p.retrySeconds(); s > 0 {
		h["Retry-After"] = strconv.Itoa(s)
	}
	return answer{status: p.status, header: h, body: append(body, '\n')}
}

// answer is a response that is held whole before it is sent, so that it can be kept for an Idempotency-Key.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

// jsonAnswer holds v as JSON.
func jsonAnswer(status int, v any) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("httpin: answer: %w", err)
	}
	return answer{status: status, header: map[string]string{"Content-Type": "application/json"}, body: append(body, '\n')}, nil
}

func (a answer) write(w http.ResponseWriter) error {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil {
		return fmt.Errorf("httpin: answer: %w", err)
	}
	return nil
}

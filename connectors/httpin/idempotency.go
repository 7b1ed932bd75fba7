package httpin

import (
	"container/list"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/millrun/millrun/internal/clock"
)

// keepAnswers is how long an Idempotency-Key keeps its answer, by the movable clock.
const keepAnswers = 24 * time.Hour

// mostAnswers and mostAnswerBytes bound what is kept; the oldest answers go first.
const (
	mostAnswers     = 20_000
	mostAnswerBytes = 32 << 20
)

// fingerprint tells one body from another.
type fingerprint [sha256.Size]byte

// answers keeps what was answered under an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the same
// key and body get the same answer again. It is kept by this process alone: behind several processes a repeated upload
// may be carried out twice, which the image's name makes harmless. Safe for concurrent use.
type answers struct {
	clock clock.Clock

	mu    sync.Mutex
	byKey map[string]*list.Element
	age   *list.List // of *kept, the oldest first
	bytes int
}

// kept is one key's place: in flight until done.
type kept struct {
	key   string
	done  bool
	body  fingerprint
	given answer
	until time.Time
}

func newAnswers(c clock.Clock) *answers {
	return &answers{clock: c, byKey: map[string]*list.Element{}, age: list.New()}
}

// claim is one request's hold on its key. The zero claim holds nothing and keeps nothing.
type claim struct {
	answers *answers
	place   *kept
	earlier *kept // an answer given before, nil when there is none
}

// claim takes the request's key, if it has one, in the name of account and route. Who gets a claim ends it by settle
// or drop.
func (a *answers) claim(r *http.Request, account, route string) (claim, *problem) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return claim{}, nil
	}
	if len(values) > 1 || !validKey(values[0]) {
		return claim{}, kindMalformed.because("Idempotency-Key must be one value of 1 to 255 printable ASCII characters.")
	}
	key := account + "\x00" + route + "\x00" + values[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	e, taken := a.byKey[key]
	if !taken {
		k := &kept{key: key}
		a.byKey[key] = a.age.PushBack(k)
		return claim{answers: a, place: k}, nil
	}
	k := e.Value.(*kept)
	if !k.done {
		return claim{}, kindInFlight.because("Wait for the first request to be answered.").after(time.Second)
	}
	return claim{answers: a, earlier: k}, nil
}

func validKey(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// repeat is the earlier answer when there is one: the same again for the same body, a refusal for another.
func (c claim) repeat(body fingerprint) (answer, bool, *problem) {
	if c.earlier == nil {
		return answer{}, false, nil
	}
	if c.earlier.body != body {
		return answer{}, false, kindKeyReused.because("The key was used for another body within the last 24 hours.")
	}
	return c.earlier.given, true, nil
}

// settle keeps the answer for the key.
func (c claim) settle(body fingerprint, given answer) {
	if c.place == nil {
		return
	}
	a := c.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	c.place.done, c.place.body, c.place.given = true, body, given
	c.place.until = a.clock.Now().Add(keepAnswers)
	a.bytes += len(given.body)
	a.forget()
}

// drop frees the key, so that the request may be made again; after settle it does nothing.
func (c claim) drop() {
	if c.place == nil {
		return
	}
	a := c.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.byKey[c.place.key]; ok && e.Value == c.place && !c.place.done {
		a.remove(e)
	}
}

// forget drops what is too old, and the oldest of too much. Requests in flight stay: the server bounds them.
func (a *answers) forget() {
	now := a.clock.Now()
	for e := a.age.Front(); e != nil; {
		next, k := e.Next(), e.Value.(*kept)
		tooMany := len(a.byKey) > mostAnswers || a.bytes > mostAnswerBytes
		switch {
		case !k.done && tooMany:
		case k.done && (tooMany || !k.until.After(now)):
			a.remove(e)
		default:
			return
		}
		e = next
	}
}

func (a *answers) remove(e *list.Element) {
	k := a.age.Remove(e).(*kept)
	delete(a.byKey, k.key)
	a.bytes -= len(k.given.body)
}

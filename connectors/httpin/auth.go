package httpin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Scopes of a key. A change topic has a scope of its own: ScopeChanges and the topic's name.
const (
	ScopeRead    = "images:read"
	ScopeWrite   = "images:write"
	ScopeChanges = "changes:"
	ScopeOperate = "operate"
	ScopeAdmin   = "admin"
)

// failuresPerMinute is how many wrong keys one client, and one beginning of a key, may present.
const failuresPerMinute = 10

// prefixLength is how much of a wrong key makes its guesses one series: enough to tell honest callers apart, too
// little to be worth anything.
const prefixLength = 8

// Key is a caller as the operator configured it. The key itself is never held: only its SHA-256, which is enough for
// keys that are drawn at random, as ours are.
type Key struct {
	Name   string   // for the log and the metrics
	Tenant string   // whose images it sees; empty for a team's or an operator's key
	Team   string   // whose change events it hands in; empty for a tenant's or an operator's key
	Scopes []string // see the constants
	SHA256 string   // 64 hexadecimal digits
}

// fault says what is wrong with a key's configuration, without the digest.
func (k Key) fault(tenants map[string]string) error {
	if b, err := hex.DecodeString(k.SHA256); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("httpin: key %q: its sha256 must be 64 hexadecimal digits", k.Name)
	}
	if k.Tenant != "" && k.Team != "" {
		return fmt.Errorf("httpin: key %q belongs to a tenant and to a team; give it one owner", k.Name)
	}
	if _, known := tenants[k.Tenant]; k.Tenant != "" && !known {
		return fmt.Errorf("httpin: key %q is of the unknown tenant %q; configure it under tenants", k.Name, k.Tenant)
	}
	for _, s := range k.Scopes {
		switch {
		case s == ScopeRead || s == ScopeWrite:
			if k.Tenant == "" {
				return fmt.Errorf("httpin: key %q has the scope %s but no tenant whose images it could see", k.Name, s)
			}
		case strings.HasPrefix(s, ScopeChanges):
			if k.Team == "" {
				return fmt.Errorf("httpin: key %q has the scope %s but no team", k.Name, s)
			}
		case s != ScopeOperate && s != ScopeAdmin:
			return fmt.Errorf("httpin: key %q has the unknown scope %q", k.Name, s)
		}
	}
	return nil
}

// principal is who makes a call. Immutable.
type principal struct {
	name   string
	tenant string
	team   string
	scopes []string
	digest [sha256.Size]byte
}

func (p *principal) may(scope string) bool { return slices.Contains(p.scopes, scope) }

// account is in whose name requests and bytes are counted: a tenant's keys share one, as do a team's.
func (p *principal) account() string {
	switch {
	case p.tenant != "":
		return "tenant:" + p.tenant
	case p.team != "":
		return "team:" + p.team
	}
	return "key:" + p.name
}

// authenticator tells callers by their keys and slows down guessing. Safe for concurrent use.
//
// Wrong keys are counted by client address and by their first characters. Beyond the limit nothing is verified any
// more, so that even the right guess would not be known, but for a pair of address and key that was right before: an
// honest caller is not locked out by a neighbour behind the same address.
type authenticator struct {
	keys     []*principal
	failures *windows
	known    *recentSet
}

func newAuthenticator(keys []Key, now func() time.Time) *authenticator {
	a := &authenticator{failures: newWindows(failuresPerMinute, 20_000, now), known: newRecentSet(20_000)}
	for _, k := range keys {
		p := &principal{name: k.Name, tenant: k.Tenant, team: k.Team, scopes: slices.Clone(k.Scopes)}
		if n, err := hex.Decode(p.digest[:], []byte(k.SHA256)); err != nil || n != sha256.Size {
			continue // Key.fault has refused it
		}
		a.keys = append(a.keys, p)
	}
	return a
}

// identify returns who makes the request.
func (a *authenticator) identify(r *http.Request) (*principal, *problem) {
	presented, p := presentedKey(r)
	if p != nil {
		return nil, p
	}
	digest := sha256.Sum256([]byte(presented))
	client := clientOf(r.RemoteAddr)
	seen := client + "\x00" + string(digest[:])
	series := []string{"address:" + client, "prefix:" + presented[:min(prefixLength, len(presented))]}
	if !a.known.has(seen) {
		for _, s := range series {
			if wait, full := a.failures.full(s); full {
				return nil, kindTooManyRequests.because("Too many wrong keys were presented.").after(wait)
			}
		}
	}
	who := a.find(digest)
	if who == nil {
		for _, s := range series {
			a.failures.charge(s, 1)
		}
		return nil, unauthenticated("The key is not known.")
	}
	a.known.add(seen)
	return who, nil
}

// find compares with every key, so that the time it takes says nothing about which one came close.
func (a *authenticator) find(digest [sha256.Size]byte) *principal {
	var found *principal
	for _, p := range a.keys {
		if subtle.ConstantTimeCompare(p.digest[:], digest[:]) == 1 {
			found = p
		}
	}
	return found
}

// presentedKey is the key of the request: X-API-Key, or Authorization: Bearer.
func presentedKey(r *http.Request) (string, *problem) {
	direct, bearer := r.Header.Values("X-Api-Key"), r.Header.Values("Authorization")
	if len(direct)+len(bearer) > 1 {
		return "", kindMalformed.because("Present one key, in X-API-Key or in Authorization.")
	}
	key := ""
	if len(direct) == 1 {
		key = strings.TrimSpace(direct[0])
	}
	if len(bearer) == 1 {
		scheme, token, _ := strings.Cut(bearer[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", unauthenticated("Authorization must be of the scheme Bearer.")
		}
		key = strings.TrimSpace(token)
	}
	if key == "" {
		return "", unauthenticated("Present a key as Authorization: Bearer KEY or X-API-Key: KEY.")
	}
	return key, nil
}

func unauthenticated(detail string) *problem {
	return kindNoKey.because("%s", detail).setHeader("WWW-Authenticate", `Bearer realm="millrun"`)
}

// clientOf is the network a client is counted by: its IPv4 address, or the /64 that one IPv6 subscriber has.
func clientOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}

// recentSet remembers names, the latest ones when there are too many. Safe for concurrent use.
type recentSet struct {
	most int

	mu       sync.Mutex
	now, old map[string]struct{} // two generations: when now is full it becomes old, and old is forgotten
}

func newRecentSet(most int) *recentSet {
	return &recentSet{most: most, now: map[string]struct{}{}}
}

func (r *recentSet) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, inNow := r.now[name]
	_, inOld := r.old[name]
	return inNow || inOld
}

func (r *recentSet) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.now) >= r.most/2 {
		r.old, r.now = r.now, map[string]struct{}{}
	}
	r.now[name] = struct{}{}
}

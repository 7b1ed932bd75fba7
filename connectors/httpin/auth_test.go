package httpin

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/events"
)

func TestKeyIsTakenFromEitherHeader(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	for _, row := range []struct {
		name   string
		header []string
		status int
	}{
		{"X-API-Key", []string{"X-Api-Key", demoKey}, 200},
		{"Bearer", []string{"Authorization", "Bearer " + demoKey}, 200},
		{"bearer in lower case", []string{"Authorization", "bearer " + demoKey}, 200},
		{"Basic", []string{"Authorization", "Basic " + demoKey}, 401},
		{"both", []string{"Authorization", "Bearer " + demoKey, "X-Api-Key", demoKey}, 400},
		{"an empty one", []string{"Authorization", "Bearer "}, 401},
		{"the digest itself", []string{"X-Api-Key", digestOf(demoKey)}, 401},
		{"a key cut short", []string{"X-Api-Key", demoKey[:len(demoKey)-1]}, 401},
	} {
		r := d.do("GET", "/v1/images", "", nil, row.header...)
		if r.status != row.status {
			t.Errorf("%s: %d, want %d", row.name, r.status, row.status)
		}
		if (r.header.Get("WWW-Authenticate") != "") != (row.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", row.name, r.header.Get("WWW-Authenticate"))
		}
	}
	if strings.Contains(d.log.String(), demoKey) {
		t.Error("a key is in the log")
	}
}

func TestMissingScopeIsNamed(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	r := d.do("POST", "/v1/images", readKey, bytes.NewReader(picture(1)), "Content-Type", "image/png")
	if p := r.json(t); r.status != 403 || p["scope"] != "images:write" || !strings.Contains(fmt.Sprint(p["detail"]), "images:write") {
		t.Errorf("%d %v", r.status, p)
	}
}

// identifyAs asks an authenticator for a key from an address.
func identifyAs(a *authenticator, address, key string) *problem {
	r, err := http.NewRequest(http.MethodGet, "/", http.NoBody)
	if err != nil {
		panic(err)
	}
	r.RemoteAddr = address
	r.Header.Set("X-Api-Key", key)
	_, p := a.identify(r)
	return p
}

func TestGuessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAuthenticator(testKeys(), func() time.Time { return now })
	if p := identifyAs(a, "192.0.2.1:1000", demoKey); p != nil {
		t.Fatal(p)
	}
	count := map[int]int{}
	for i := range 100 {
		p := identifyAs(a, fmt.Sprintf("192.0.2.1:%d", i), fmt.Sprintf("guess%d", rand.Int64()))
		count[p.status]++
	}
	if count[401] != failuresPerMinute || count[429] != 90 {
		t.Errorf("100 guesses from one address: %v", count)
	}
	if p := identifyAs(a, "192.0.2.1:9", otherKey); p == nil || p.status != 429 || p.retryAfter <= 0 {
		t.Errorf("the right guess behind too many wrong ones: %v", p)
	}
	if p := identifyAs(a, "192.0.2.1:9", demoKey); p != nil {
		t.Errorf("a caller known at this address is locked out by its neighbour: %v", p)
	}
	if p := identifyAs(a, "192.0.2.2:9", otherKey); p != nil {
		t.Errorf("another address is locked out: %v", p)
	}
	now = now.Add(62 * time.Second)
	if p := identifyAs(a, "192.0.2.1:9", otherKey); p != nil {
		t.Errorf("a minute later: %v", p)
	}
}

func TestGuessingOneKeyFromManyAddressesIsSlowedDown(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAuthenticator(testKeys(), func() time.Time { return now })
	count := map[int]int{}
	for i := range 100 {
		count[identifyAs(a, fmt.Sprintf("[2001:db8:%x::1]:1", i), fmt.Sprintf("mr_demo-%d", i)).status]++
	}
	if count[401] != failuresPerMinute || count[429] != 90 {
		t.Errorf("100 guesses at one series from as many networks: %v", count)
	}
}

func TestClientsAreCountedByNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "@",
	} {
		if got := clientOf(remote); got != want {
			t.Errorf("%s is counted as %s, want %s", remote, got, want)
		}
	}
}

func TestKeysAreCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	good := digestOf("k")
	for want, k := range map[string]Key{
		"64 hexadecimal":         {Name: "a", Tenant: "demo", SHA256: "abc"},
		"a tenant and to a team": {Name: "a", Tenant: "demo", Team: "sales", SHA256: good},
		"unknown tenant":         {Name: "a", Tenant: "nobody", SHA256: good},
		"no tenant":              {Name: "a", Team: "sales", Scopes: []string{ScopeRead}, SHA256: good},
		"no team":                {Name: "a", Tenant: "demo", Scopes: []string{"changes:orders.placed"}, SHA256: good},
		"unknown scope":          {Name: "a", Tenant: "demo", Scopes: []string{"everything"}, SHA256: good},
	} {
		_, err := New(Config{Keys: []Key{k}, Tenants: map[string]string{"demo": ""}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Archive is required") {
			t.Errorf("%+v: %v, want a fault about %q among all others", k, err, want)
		}
	}
}

// TestTwoTenantsNeverSeeEachOther makes random calls with two keys on the images of both.
func TestTwoTenantsNeverSeeEachOther(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.RequestsPerMinute = 1 << 30 })
	tenants := map[string]string{"demo": demoKey, "other": otherKey}
	owner, ids := map[string]string{}, []string{}
	for n := range 20 {
		for tenant := range tenants {
			i := d.archived(tenant, picture(n%15))
			if owner[i.ImageID] == "" {
				owner[i.ImageID] = tenant
				ids = append(ids, i.ImageID)
				d.say(i)
			}
		}
	}
	d.until("all are seen", func() bool { return d.server.view.size() == len(ids) })
	random := rand.New(rand.NewPCG(1, 2))
	calls, seen := 0, 0
	for range 3000 {
		id := ids[random.IntN(len(ids))]
		tenant := []string{"demo", "other"}[random.IntN(2)]
		path := []string{"", "/content", "/derivatives/thumbnail"}[random.IntN(3)]
		r := d.do("GET", "/v1/images/"+id+path, tenants[tenant], nil)
		calls++
		switch mine := owner[id] == tenant; {
		case mine && r.status == 200:
			seen++
		case !mine && r.status == 404:
		default:
			t.Fatalf("%s of %s as %s: %d", path, owner[id], tenant, r.status)
		}
	}
	if seen < calls/4 {
		t.Errorf("only %d of %d calls saw anything: the test shows too little", seen, calls)
	}
	if got := events.ImageID("demo", [32]byte{}); got == events.ImageID("other", [32]byte{}) {
		t.Error("two tenants share a name")
	}
}

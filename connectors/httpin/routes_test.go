package httpin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestOpenAPIDescribesExactlyTheRoutesThatExist(t *testing.T) {
	t.Parallel()
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Scope       string                     `json:"x-scope"`
			Security    []map[string][]string      `json:"security"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	described, operations := map[string]bool{}, map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			described[strings.ToUpper(method)+" "+path+" "+op.Scope] = true
			if operations[op.OperationID] || op.OperationID == "" {
				t.Errorf("%s %s: operationId %q is missing or taken", method, path, op.OperationID)
			}
			operations[op.OperationID] = true
			if (op.Scope == "") != (len(op.Security) == 0) {
				t.Errorf("%s %s: scope %q and security %v disagree", method, path, op.Scope, op.Security)
			}
			if len(op.Responses) == 0 {
				t.Errorf("%s %s: no responses", method, path)
			}
		}
	}
	existing := map[string]bool{}
	for _, rt := range routes() {
		existing[rt.method+" "+rt.pattern+" "+rt.scope] = true
	}
	if !maps.Equal(described, existing) {
		t.Errorf("described:\n%s\nexisting:\n%s", lines(described), lines(existing))
	}
}

func lines(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), "\n")
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	t.Parallel()
	var doc map[string]any
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
}

// TestEveryRouteAsksForItsScope is the matrix of routes and callers, made from the table itself: who lacks a scope is
// refused, whatever else the request holds.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	callers := map[string]string{
		"nobody": "", "unknown": nobodyKey, "demo": demoKey, "reader": readKey, "sales": salesKey, "lost": lostKey, "stray": strayKey, "operator": operKey,
	}
	scopes := map[string][]string{}
	for _, k := range testKeys() {
		scopes[k.Name] = k.Scopes
	}
	paths := strings.NewReplacer("{id}", "img_aaaaaaaaaaaaaaaaaaaaaaaaaa", "{name}", "thumb", "{topic}", "items.changes")
	for _, rt := range routes() {
		for caller, key := range callers {
			got := d.do(rt.method, paths.Replace(rt.pattern), key, nil).status
			name := fmt.Sprintf("%s %s as %s: %d", rt.method, rt.pattern, caller, got)
			may := slices.Contains(scopes[caller], paths.Replace(rt.scope))
			switch {
			case rt.scope == "":
				if got != 200 {
					t.Errorf("%s, want 200: it is open", name)
				}
			case caller == "nobody" || caller == "unknown":
				if got != 401 && got != 429 {
					t.Errorf("%s, want 401", name)
				}
			case may && (got == 401 || got == 403):
				t.Errorf("%s: the key has the scope %s", name, rt.scope)
			case !may && got != 403:
				t.Errorf("%s, want 403", name)
			}
		}
	}
}

func TestWhatIsNotThereIsAProblemToo(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	rows := []struct {
		method, path string
		status       int
		kind, allow  string
	}{
		{"GET", "/", 404, "not-found", ""},
		{"GET", "/v1/imagesx", 404, "not-found", ""},
		{"GET", "/v1/uploads/", 404, "not-found", ""},
		{"GET", "/v1/images/../../metrics", 404, "not-found", ""},
		{"GET", "/v1//images", 404, "not-found", ""},
		{"GET", "/v1/images/%2e%2e/x", 404, "not-found", ""},
		{"PUT", "/v1/images", 405, "method-not-allowed", "GET, HEAD, POST"},
		{"DELETE", "/v1/images/img_aaaaaaaaaaaaaaaaaaaaaaaaaa", 405, "method-not-allowed", "GET, HEAD"},
		{"OPTIONS", "/v1/changes/items.changes", 405, "method-not-allowed", "POST"},
		{"POST", "/metrics", 405, "method-not-allowed", "GET, HEAD"},
	}
	for _, row := range rows {
		r := d.do(row.method, row.path, demoKey, nil)
		if r.status != row.status || r.header.Get("Allow") != row.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", row.method, row.path, r.status, r.header.Get("Allow"), row.status, row.allow)
			continue
		}
		if p := r.json(t); p["type"] != "urn:millrun:problem:"+row.kind {
			t.Errorf("%s %s: %v", row.method, row.path, p)
		}
	}
}

func TestEveryAnswerCarriesSafeHeaders(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	for _, path := range []string{"/healthz", "/nowhere", "/v1/images"} {
		h := d.do("GET", path, demoKey, nil).header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
	}
	if id := d.do("GET", "/healthz", "", nil, "X-Request-ID", "abc-1.2_3").header.Get("X-Request-ID"); id != "abc-1.2_3" {
		t.Errorf("request id %q was not kept", id)
	}
	if id := d.do("GET", "/healthz", "", nil, "X-Request-ID", "a b\"c").header.Get("X-Request-ID"); id == "" || strings.ContainsAny(id, " \"") {
		t.Errorf("a harmful request id became %q", id)
	}
}

func TestHealthPagesNameEachDependency(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	ready := d.do("GET", "/readyz", "", nil)
	if ready.status != http.StatusOK || !strings.Contains(string(ready.body), `{"name":"kafka","ready":true}`) {
		t.Errorf("%d %s", ready.status, ready.body)
	}
	d.kafka.Close()
	d.until("readyz says that Kafka is away", func() bool {
		r := d.do("GET", "/readyz", "", nil)
		return r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), `{"name":"kafka","ready":false}`)
	})
	if alive := d.do("GET", "/healthz", "", nil); alive.status != http.StatusOK {
		t.Errorf("healthz: %d", alive.status)
	}
	if m := d.do("GET", "/metrics", "", nil); !strings.Contains(string(m.body), `millrun_http_requests_total{method="GET",route="/readyz",status="503"}`) {
		t.Errorf("the metrics do not count requests:\n%s", m.body)
	}
}

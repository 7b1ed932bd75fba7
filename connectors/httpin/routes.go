package httpin

import (
	"net/http"
	"path"
	"slices"
	"strings"
)

// route is one line of the door's table. The table is what the router, the OpenAPI description and the tests of who may
// do what are checked against.
type route struct {
	method  string
	pattern string // of http.ServeMux
	scope   string // what a key needs; "" means open to everybody; scopeTopic means the scope of the topic in the path
	do      func(*Server, *call) error
}

// scopeTopic stands for ScopeChanges and the topic of the request.
const scopeTopic = "changes:{topic}"

// routes are all that exist.
func routes() []*route {
	return []*route{
		{http.MethodPost, "/v1/images", ScopeWrite, (*Server).upload},
		{http.MethodGet, "/v1/images", ScopeRead, (*Server).list},
		{http.MethodGet, "/v1/images/{id}", ScopeRead, (*Server).status},
		{http.MethodGet, "/v1/images/{id}/content", ScopeRead, (*Server).content},
		{http.MethodGet, "/v1/images/{id}/derivatives/{name}", ScopeRead, (*Server).derivative},
		{http.MethodPost, "/v1/changes/{topic}", scopeTopic, (*Server).change},
		{http.MethodGet, "/healthz", "", (*Server).healthz},
		{http.MethodGet, "/readyz", "", (*Server).readyz},
		{http.MethodGet, "/metrics", "", (*Server).metricsPage},
		{http.MethodGet, "/openapi.json", "", (*Server).openAPI},
	}
}

// router serves the table; whatever is not in it is a problem too.
func (s *Server) router(table []*route) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range table {
		mux.Handle(rt.method+" "+rt.pattern, s.handle(rt))
		methods[rt.pattern] = append(methods[rt.pattern], rt.method)
		if rt.method == http.MethodGet {
			methods[rt.pattern] = append(methods[rt.pattern], http.MethodHead)
		}
	}
	for pattern, allowed := range methods {
		slices.Sort(allowed)
		mux.Handle(pattern, s.handle(&route{method: "other", pattern: pattern, do: notAllowed(strings.Join(allowed, ", "))}))
	}
	nowhere := s.handle(&route{method: "other", pattern: "other", do: nowhere})
	mux.Handle("/", nowhere)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path.Clean(r.URL.Path) { // the mux would redirect, and a path with dots is nobody's
			nowhere.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func notAllowed(allowed string) func(*Server, *call) error {
	return func(_ *Server, c *call) error {
		return kindMethod.because("%s is not possible here; %s is.", c.r.Method, allowed).setHeader("Allow", allowed)
	}
}

func nowhere(*Server, *call) error { return kindNotFound.because("There is no such path.") }

// admit lets a call in whose caller is known, has requests left, and may.
func (s *Server) admit(c *call) *problem {
	if c.route.scope == "" {
		return nil
	}
	who, p := s.auth.identify(c.r)
	if p != nil {
		s.metrics.refused.WithLabelValues(p.name).Inc()
		return p
	}
	c.who = who
	if wait, ok := s.requests.take(who.account(), 1); !ok {
		s.metrics.refused.WithLabelValues("requests").Inc()
		return kindTooManyRequests.because("At most %d requests a minute.", s.cfg.Limits.RequestsPerMinute).after(wait)
	}
	scope := c.route.scope
	if scope == scopeTopic {
		return nil // which scope that is, and whether there is such a topic, is the handler's to say
	}
	return who.need(scope)
}

func (p *principal) need(scope string) *problem {
	if p.may(scope) {
		return nil
	}
	return kindForbidden.because("The key lacks the scope %s.", scope).with("scope", scope)
}

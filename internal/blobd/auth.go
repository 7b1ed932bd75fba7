package blobd

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// grant is what a request's credential allows.
type grant struct {
	all       bool   // the account's key
	perms     string // letters of a signature
	types     string // resource types of an account signature
	service   bool   // a signature for one container or blob; scope says which
	scope     sasScope
	principal *Principal
}

// allows says that one of the letters is granted.
func (g grant) allows(anyOf string) bool {
	return g.all || anyOf == "" || strings.ContainsAny(g.perms, anyOf)
}

// maxSkew is how far x-ms-date may be from the machine's time (Azure: 15 minutes).
const maxSkew = 15 * time.Minute

// authenticate finds out who asks. Every refusal looks the same to a client that guesses.
func (c *call) authenticate(ctx context.Context) error {
	header := c.header("Authorization")
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "SharedKey"):
		return c.sharedKey(rest)
	case strings.EqualFold(scheme, "Bearer"):
		return c.bearer(ctx, strings.TrimSpace(rest))
	case header != "":
		return badRequest(codeInvalidAuthInfo, "The authentication information was not provided in the correct format.")
	case c.query.Has("sig"):
		return c.sharedAccess()
	}
	e := fail(http.StatusUnauthorized, codeNoAuth, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")
	e.header = http.Header{"Www-Authenticate": {"Bearer"}}
	return e
}

func authFailed(why string) *apiError {
	return forbidden(codeAuthFailed, "Server failed to authenticate the request. %s", why)
}

// authorize compares what the credential allows with what the operation needs.
func (c *call) authorize() error {
	g := c.auth
	if g.all {
		return nil
	}
	if g.types != "" && !strings.ContainsRune(g.types, rune(c.op.resource)) {
		return forbidden(codeAuthzResourceType, "This request is not authorized to perform this operation using this resource type.")
	}
	if g.service {
		if err := g.scope.covers(c); err != nil {
			return err
		}
	}
	if !g.allows(c.op.perms(c)) {
		return errPermission()
	}
	return nil
}

func errPermission() *apiError {
	return forbidden(codeAuthzPermission, "This request is not authorized to perform this operation using this permission.")
}

// need refuses a request whose credential has none of the letters.
func (c *call) need(anyOf string) error {
	if c.auth.allows(anyOf) {
		return nil
	}
	return errPermission()
}

func (c *call) bearer(ctx context.Context, token string) error {
	refused := fail(http.StatusUnauthorized, codeInvalidAuthInfo, "Server failed to authenticate the request. The access token is not accepted.")
	refused.header = http.Header{"Www-Authenticate": {"Bearer"}}
	if c.s.cfg.VerifyBearer == nil || token == "" {
		return refused
	}
	p, err := c.s.cfg.VerifyBearer(ctx, token)
	if err != nil {
		return refused
	}
	c.auth = grant{perms: p.Permissions, principal: &p}
	return nil
}

// sharedKey verifies the signature of the whole request with the account's key.
func (c *call) sharedKey(credential string) error {
	account, signature, ok := strings.Cut(credential, ":")
	if !ok || account != c.s.cfg.Account {
		return authFailed("Make sure the value of Authorization header is formed correctly including the signature.")
	}
	date := c.header("x-ms-date")
	if date == "" {
		date = c.header("Date")
	}
	at, err := time.Parse(time.RFC1123, date)
	if err != nil || time.Since(at).Abs() > maxSkew {
		return authFailed("The date header in the request is missing, malformed, or too far from the server's time.")
	}
	if !c.s.signed(c.stringToSign(), signature) {
		return authFailed("Make sure the value of Authorization header is formed correctly including the signature.")
	}
	c.auth = grant{all: true}
	return nil
}

// signed compares a signature in constant time.
func (s *Server) signed(text, signature string) bool { return signedWith(s.key, text, signature) }

func signedWith(key []byte, text, signature string) bool {
	got, err := base64.StdEncoding.DecodeString(signature)
	return err == nil && hmac.Equal(got, mac(key, text))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// stringToSign is what a SharedKey signature covers
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func (c *call) stringToSign() string {
	h := c.r.Header
	length := h.Get("Content-Length")
	if length == "" && c.r.ContentLength > 0 {
		length = decimal(c.r.ContentLength)
	}
	if length == "0" {
		length = ""
	}
	date := h.Get("Date")
	if h.Get("X-Ms-Date") != "" {
		date = ""
	}
	parts := []string{
		c.r.Method, h.Get("Content-Encoding"), h.Get("Content-Language"), length, h.Get("Content-MD5"),
		h.Get("Content-Type"), date, h.Get("If-Modified-Since"), h.Get("If-Match"), h.Get("If-None-Match"),
		h.Get("If-Unmodified-Since"), h.Get("Range"),
	}
	parts = append(parts, canonicalHeaders(h)...)
	return strings.Join(append(parts, c.canonicalResource()), "\n")
}

// canonicalHeaders are the x-ms-* headers as lines in the order that the service sorts them in.
func canonicalHeaders(h http.Header) []string {
	var names []string
	byName := map[string]string{}
	for k, v := range h {
		name := strings.ToLower(k)
		if strings.HasPrefix(name, "x-ms-") {
			names = append(names, name)
			byName[name] = strings.TrimSpace(strings.Join(v, ","))
		}
	}
	slices.SortFunc(names, compareHeaderNames)
	for i, name := range names {
		names[i] = name + ":" + byName[name]
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// compareHeaderNames orders header names as the service's culture-aware comparison does: hyphens count only when all
// else is equal, and then the name whose hyphen comes first sorts last; underscores come before digits, digits before
// letters.
func compareHeaderNames(a, b string) int {
	x, y := strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", "")
	for i := 0; i < len(x) && i < len(y); i++ {
		if d := headerWeight(x[i]) - headerWeight(y[i]); d != 0 {
			return d
		}
	}
	if d := len(x) - len(y); d != 0 {
		return d
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			if a[i] == '-' {
				return 1
			}
			return -1
		}
	}
	return 0
}

func headerWeight(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return 0x200 + int(c)
	case c >= 'a' && c <= 'z':
		return 0x400 + int(c)
	}
	return int(c)
}

// canonicalResource is the account, the path as it came and the sorted query.
func (c *call) canonicalResource() string {
	var b strings.Builder
	b.WriteString("/" + c.s.cfg.Account)
	if c.path == "" {
		b.WriteString("/")
	}
	b.WriteString(c.path)
	names := make([]string, 0, len(c.query))
	for name := range c.query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Sorted(slices.Values(c.query[name]))
		b.WriteString("\n" + name + ":" + strings.Join(values, ","))
	}
	return b.String()
}

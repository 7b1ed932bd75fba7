package blobd

import (
	"bytes"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// firstSAS is the oldest signature version whose string to sign is known here: it brought the encryption scope.
const firstSAS = "2020-12-06"

// Versions from which a user delegation signature covers more fields.
const (
	sasWithDelegatedUser  = "2025-07-05"
	sasWithSignedRequests = "2026-04-06"
)

// sasScope is what a service signature is good for.
type sasScope struct {
	resource  string // c, b, bv or bs
	container string
	blob      string
	moment    string // the version or snapshot
}

// covers says whether the request stays inside the scope.
func (s sasScope) covers(c *call) error {
	outside := authFailed("Signature did not match the resource.")
	switch {
	case c.container != s.container:
		return outside
	case c.blob == "":
		if s.resource == "c" && (c.op.name == "ListBlobs" || c.op.name == "BatchContainer" || c.op.name == "GetAccountInfo") {
			return nil
		}
		return forbidden(codeAuthzFailure, "This request is not authorized to perform this operation.")
	case s.resource == "c":
		return nil
	case c.blob != s.blob:
		return outside
	case s.resource == "bv" && c.query.Get("versionid") != s.moment:
		return outside
	case s.resource == "bs" && c.query.Get("snapshot") != s.moment:
		return outside
	}
	return nil
}

// sharedAccess verifies a shared access signature: of the account, of a service resource, or by a user delegation key
// (https://learn.microsoft.com/rest/api/storageservices/delegate-access-with-shared-access-signature).
func (c *call) sharedAccess() error {
	q := c.query
	for _, name := range []string{"sv", "sig", "sp", "se", "sr", "ss", "srt", "st", "spr", "sip", "si", "skoid"} {
		if len(q[name]) > 1 {
			return authFailed("A parameter of the signature is given twice.")
		}
	}
	if q.Get("sv") < firstSAS || q.Get("si") != "" {
		return authFailed("The signature's version is older than " + firstSAS + ", or it names a stored access policy, which this server has none of.")
	}
	var g grant
	var err error
	switch {
	case q.Has("ss") || q.Has("srt"):
		g, err = c.accountSAS()
	case q.Get("skoid") != "":
		g, err = c.delegationSAS()
	default:
		g, err = c.serviceSAS()
	}
	if err != nil {
		return err
	}
	if err := c.checkSASLimits(); err != nil {
		return err
	}
	g.perms = q.Get("sp")
	c.auth = g
	return nil
}

const sigMismatch = "Signature did not match."

func (c *call) accountSAS() (grant, error) {
	q := c.query
	text := strings.Join([]string{
		c.s.cfg.Account, q.Get("sp"), q.Get("ss"), q.Get("srt"), q.Get("st"), q.Get("se"), q.Get("sip"), q.Get("spr"),
		q.Get("sv"), q.Get("ses"), "",
	}, "\n")
	if !c.s.signed(text, q.Get("sig")) {
		return grant{}, authFailed(sigMismatch)
	}
	if !strings.Contains(q.Get("ss"), "b") {
		return grant{}, forbidden(codeAuthzService, "This request is not authorized to perform this operation using this service.")
	}
	if q.Get("srt") == "" {
		return grant{}, authFailed("The signature names no resource type.")
	}
	return grant{types: q.Get("srt")}, nil
}

// target is the canonical name that a service signature covers, and the scope that it opens.
func (c *call) target() (string, sasScope, error) {
	scope := sasScope{resource: c.query.Get("sr"), container: c.container}
	name := "/blob/" + c.s.cfg.Account + "/" + c.container
	switch scope.resource {
	case "c":
		return name, scope, nil
	case "b", "bs", "bv":
	default:
		return "", scope, authFailed("The signed resource is not supported: use c, b, bs or bv.")
	}
	scope.blob = c.blob
	switch scope.resource {
	case "bs":
		scope.moment = c.query.Get("snapshot")
	case "bv":
		scope.moment = c.query.Get("versionid")
	}
	return name + "/" + strings.ReplaceAll(c.blob, `\`, "/"), scope, nil
}

// overrides are the response headers that a signature may set.
func (c *call) overrides() []string {
	q := c.query
	return []string{q.Get("rscc"), q.Get("rscd"), q.Get("rsce"), q.Get("rscl"), q.Get("rsct")}
}

func (c *call) serviceSAS() (grant, error) {
	q := c.query
	name, scope, err := c.target()
	if err != nil {
		return grant{}, err
	}
	parts := []string{
		q.Get("sp"), q.Get("st"), q.Get("se"), name, "", q.Get("sip"), q.Get("spr"), q.Get("sv"), q.Get("sr"),
		scope.moment, q.Get("ses"),
	}
	if !c.s.signed(strings.Join(append(parts, c.overrides()...), "\n"), q.Get("sig")) {
		return grant{}, authFailed(sigMismatch)
	}
	return grant{service: true, scope: scope}, nil
}

func (c *call) delegationSAS() (grant, error) {
	q := c.query
	name, scope, err := c.target()
	if err != nil {
		return grant{}, err
	}
	key := c.s.delegationKey(q.Get("skoid"), q.Get("sktid"), q.Get("skt"), q.Get("ske"), q.Get("sks"), q.Get("skv"))
	parts := []string{
		q.Get("sp"), q.Get("st"), q.Get("se"), name, q.Get("skoid"), q.Get("sktid"), q.Get("skt"), q.Get("ske"),
		q.Get("sks"), q.Get("skv"), q.Get("saoid"), q.Get("suoid"), q.Get("scid"),
	}
	if q.Get("sv") >= sasWithDelegatedUser {
		parts = append(parts, q.Get("skdutid"), q.Get("sduoid"))
	}
	parts = append(parts, q.Get("sip"), q.Get("spr"), q.Get("sv"), q.Get("sr"), scope.moment, q.Get("ses"))
	if q.Get("sv") >= sasWithSignedRequests {
		parts = append(parts, c.signedHeaders(), c.signedQuery())
	}
	if !signedWith(key, strings.Join(append(parts, c.overrides()...), "\n"), q.Get("sig")) {
		return grant{}, authFailed(sigMismatch)
	}
	for _, bound := range []struct {
		text  string
		after bool
	}{{q.Get("skt"), true}, {q.Get("ske"), false}} {
		at, ok := sasTime(bound.text)
		if !ok || c.now.Before(at) == bound.after {
			return grant{}, authFailed("The user delegation key is not valid at this time.")
		}
	}
	return grant{service: true, scope: scope}, nil
}

func (c *call) signedHeaders() string {
	var b strings.Builder
	for name := range strings.SplitSeq(c.query.Get("srh"), ",") {
		if name != "" {
			b.WriteString(name + ":" + c.r.Header.Get(name) + "\n")
		}
	}
	return b.String()
}

func (c *call) signedQuery() string {
	var b strings.Builder
	for name := range strings.SplitSeq(c.query.Get("srq"), ",") {
		if name != "" {
			b.WriteString("\n" + name + ":" + c.query.Get(strings.ToLower(name)))
		}
	}
	return b.String()
}

// delegationKey derives the key that Get User Delegation Key hands out, so that nothing of it has to be kept.
func (s *Server) delegationKey(oid, tid, start, expiry, service, version string) []byte {
	return mac(s.key, strings.Join([]string{"user-delegation-key", oid, tid, start, expiry, service, version}, "\n"))
}

// checkSASLimits applies the signature's times by the server's clock, its addresses and its protocol.
func (c *call) checkSASLimits() error {
	q := c.query
	expiry, ok := sasTime(q.Get("se"))
	if !ok || !c.now.Before(expiry) {
		return authFailed("Signature not valid in the specified time frame.")
	}
	if start := q.Get("st"); start != "" {
		if at, ok := sasTime(start); !ok || c.now.Before(at) {
			return authFailed("Signature not valid in the specified time frame.")
		}
	}
	if q.Get("spr") == "https" && c.r.TLS == nil {
		return forbidden(codeAuthzProtocol, "This request is not authorized to perform this operation using this protocol.")
	}
	if sip := q.Get("sip"); sip != "" && !inRange(c.r.RemoteAddr, sip) {
		return forbidden(codeAuthzSourceIP, "This request is not authorized to perform this operation using this source IP.")
	}
	return nil
}

// sasTime reads the forms of ISO 8601 that a signature may use.
func sasTime(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.0000000Z", "2006-01-02T15:04:05Z", "2006-01-02T15:04Z", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// inRange says whether the peer's address lies in "from" or "from-to".
func inRange(remote, addresses string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	from, to, ranged := strings.Cut(addresses, "-")
	if !ranged {
		to = from
	}
	peer, low, high := net.ParseIP(host).To16(), net.ParseIP(from).To16(), net.ParseIP(to).To16()
	if peer == nil || low == nil || high == nil {
		return false
	}
	return bytes.Compare(peer, low) >= 0 && bytes.Compare(peer, high) <= 0
}

// userDelegationKeyRequest is the body of Get User Delegation Key.
type userDelegationKeyRequest struct {
	Start  string
	Expiry string
}

// getUserDelegationKey hands out a key for the caller behind a bearer token, for at most seven days.
func (c *call) getUserDelegationKey() error {
	if c.auth.principal == nil {
		return forbidden(codeAuthFailed, "Server failed to authenticate the request. Only a bearer token can ask for a user delegation key.")
	}
	var in userDelegationKeyRequest
	if err := c.readXML(&in); err != nil {
		return err
	}
	start, ok1 := sasTime(in.Start)
	expiry, ok2 := sasTime(in.Expiry)
	if in.Start == "" {
		start, ok1 = c.now, true
	}
	if !ok1 || !ok2 || !expiry.After(start) || expiry.Sub(c.now) > 7*day+maxSkew {
		return badRequest(codeInvalidXML, "The expiry must lie after the start and within seven days.")
	}
	const layout = "2006-01-02T15:04:05Z"
	from, to := start.UTC().Format(layout), expiry.UTC().Format(layout)
	p := c.auth.principal
	key := c.s.delegationKey(p.ObjectID, p.TenantID, from, to, "b", apiVersion)
	var x xmlWriter
	x.open("UserDelegationKey")
	for _, f := range slices.Collect(slices.Chunk([]string{
		"SignedOid", p.ObjectID, "SignedTid", p.TenantID, "SignedStart", from, "SignedExpiry", to,
		"SignedService", "b", "SignedVersion", apiVersion, "Value", base64.StdEncoding.EncodeToString(key),
	}, 2)) {
		x.leaf(f[0], f[1])
	}
	x.close("UserDelegationKey")
	return c.xml(http.StatusOK, x.bytes())
}

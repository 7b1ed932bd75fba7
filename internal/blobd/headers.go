package blobd

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const metaPrefix = "X-Ms-Meta-"

// metadata reads x-ms-meta-*. Names come out in lower case: net/http does not keep the client's.
func (c *call) metadata() (map[string]string, error) {
	var out map[string]string
	total := 0
	for k, v := range c.r.Header {
		name, ok := strings.CutPrefix(k, metaPrefix)
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		value := strings.TrimSpace(strings.Join(v, ","))
		if name == "" {
			return nil, badRequest(codeEmptyMetadataKey, "The key for one of the metadata key-value pairs is empty.")
		}
		if !isIdentifier(name) {
			return nil, badRequest(codeInvalidMetadata, "The metadata specified is invalid. It has characters that are not permitted.")
		}
		if total += len(name) + len(value); total > maxMetadata {
			return nil, badRequest(codeMetadataTooLarge, "The metadata specified exceeds the maximum permissible limit (8 KB).")
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// isIdentifier is Azure's rule for metadata names: those of C# identifiers.
func isIdentifier(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return true
}

// blobContent reads the x-ms-blob-* properties; Put Blob falls back to the plain headers for those that have one.
func (c *call) blobContent(fallback bool) (content, error) {
	get := func(name, plain string) string {
		if v := c.header(name); v != "" || !fallback {
			return v
		}
		return c.header(plain)
	}
	out := content{
		Type:         get("x-ms-blob-content-type", "Content-Type"),
		Encoding:     get("x-ms-blob-content-encoding", "Content-Encoding"),
		Language:     get("x-ms-blob-content-language", "Content-Language"),
		CacheControl: get("x-ms-blob-cache-control", "Cache-Control"),
		Disposition:  c.header("x-ms-blob-content-disposition"),
		MD5:          c.header("x-ms-blob-content-md5"),
	}
	if _, err := md5Value(out.MD5); err != nil {
		return out, err
	}
	return out, nil
}

// md5Value decodes an MD5 header; empty gives nil.
func md5Value(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) != 16 {
		return nil, badRequest(codeInvalidMD5, "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64-encoded.")
	}
	return sum, nil
}

// requestTags reads x-ms-tags, a query string of at most ten pairs.
func (c *call) requestTags() (map[string]string, error) {
	text := c.header("x-ms-tags")
	if text == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(text)
	if err != nil || len(values) > maxTags {
		return nil, badRequest(codeInvalidHeader, "The value for the HTTP header x-ms-tags is not in the correct format.")
	}
	if err := c.need("t"); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(values))
	for k, v := range values {
		out[k] = v[0]
	}
	return out, nil
}

// writeVersionHeaders sets what every write answers about the version it made.
func (c *call) writeVersionHeaders(v *version, versioned bool) {
	h := c.w.Header()
	h.Set("ETag", v.ETag.quoted())
	h.Set("Last-Modified", httpTime(v.Modified))
	h.Set("X-Ms-Request-Server-Encrypted", "false")
	if versioned && v.ID != 0 {
		h.Set("X-Ms-Version-Id", v.ID.String())
	}
}

// describe sets the headers of Get Blob and Get Blob Properties, without those of the body.
func (c *call) describe(v *version, current bool) {
	h := c.w.Header()
	h.Set("ETag", v.ETag.quoted())
	h.Set("Last-Modified", httpTime(v.Modified))
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Ms-Blob-Type", "BlockBlob")
	h.Set("X-Ms-Server-Encrypted", "false")
	h.Set("X-Ms-Creation-Time", httpTime(v.Created))
	if v.Snapshot == 0 {
		h.Set("X-Ms-Lease-State", "available")
		h.Set("X-Ms-Lease-Status", "unlocked")
	}
	c.describeContent(v)
	h.Set("X-Ms-Access-Tier", tierOf(v))
	if v.Tier == "" {
		h.Set("X-Ms-Access-Tier-Inferred", "true")
	} else {
		h.Set("X-Ms-Access-Tier-Change-Time", httpTime(v.TierSet))
	}
	if v.ID != 0 && v.Snapshot == 0 {
		h.Set("X-Ms-Version-Id", v.ID.String())
		if current {
			h.Set("X-Ms-Is-Current-Version", "true")
		}
	}
	if v.Policy != nil {
		h.Set("X-Ms-Immutability-Policy-Until-Date", httpTime(v.Policy.Until))
		h.Set("X-Ms-Immutability-Policy-Mode", v.Policy.mode())
	}
	if v.Hold {
		h.Set("X-Ms-Legal-Hold", "true")
	}
	if len(v.Tags) > 0 {
		h.Set("X-Ms-Tag-Count", strconv.Itoa(len(v.Tags)))
	}
	for k, value := range v.Meta {
		h.Set(metaPrefix+k, value)
	}
}

// describeContent sets the client's own headers, as a signature may override them.
func (c *call) describeContent(v *version) {
	over := c.overrides()
	for i, f := range []struct{ header, value string }{
		{"Cache-Control", v.Content.CacheControl},
		{"Content-Disposition", v.Content.Disposition},
		{"Content-Encoding", v.Content.Encoding},
		{"Content-Language", v.Content.Language},
		{"Content-Type", v.Content.Type},
	} {
		if c.auth.service && over[i] != "" {
			f.value = over[i]
		}
		c.set(f.header, f.value)
	}
}

// tierOf is the access tier; one that was never set is the account's, which is Hot.
func tierOf(v *version) string {
	if v.Tier == "" {
		return "Hot"
	}
	return v.Tier
}

// parseUntil reads x-ms-immutability-policy-until-date, which must lie ahead.
func (c *call) parseUntil() (time.Time, error) {
	text := c.header("x-ms-immutability-policy-until-date")
	until, err := http.ParseTime(text)
	if err != nil || !until.After(c.now) {
		return time.Time{}, badRequest(codeInvalidHeader,
			"The value for the HTTP header x-ms-immutability-policy-until-date is not in the correct format or lies in the past.")
	}
	return until.UTC(), nil
}

// parseLocked reads x-ms-immutability-policy-mode; absent means unlocked.
func (c *call) parseLocked() (bool, error) {
	switch strings.ToLower(c.header("x-ms-immutability-policy-mode")) {
	case "", "unlocked":
		return false, nil
	case "locked":
		return true, nil
	}
	return false, badRequest(codeInvalidHeader, "The value for the HTTP header x-ms-immutability-policy-mode is not in the correct format.")
}

// protectionOf reads what a write asks for its version: a policy and hold of its own, or else the container's
// default policy counted from now.
func (c *call) protectionOf(rec *containerRecord) (*policy, bool, error) {
	asksPolicy := c.header("x-ms-immutability-policy-until-date") != "" || c.header("x-ms-immutability-policy-mode") != ""
	hold, err := c.parseHold()
	if err != nil {
		return nil, false, err
	}
	if asksPolicy || hold {
		if err := c.need("i"); err != nil {
			return nil, false, err
		}
		if !rec.Immutable {
			return nil, false, errNotImmutable()
		}
	}
	if !asksPolicy {
		return defaultPolicy(rec, c.now), hold, nil
	}
	until, err := c.parseUntil()
	if err != nil {
		return nil, false, err
	}
	locked, err := c.parseLocked()
	if err != nil {
		return nil, false, err
	}
	return &policy{Until: until, Locked: locked}, hold, nil
}

func (c *call) parseHold() (bool, error) {
	switch strings.ToLower(c.header("x-ms-legal-hold")) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, badRequest(codeInvalidHeader, "The value for the HTTP header x-ms-legal-hold is not in the correct format.")
}

// defaultPolicy is the container's for a version made at now, in whole seconds rounded up; nil when it has none.
func defaultPolicy(rec *containerRecord, now time.Time) *policy {
	if rec.DefaultDays == 0 {
		return nil
	}
	until := now.Add(time.Duration(rec.DefaultDays) * day)
	if whole := until.Truncate(time.Second); whole.Before(until) {
		until = whole.Add(time.Second)
	}
	return &policy{Until: until, Locked: rec.DefaultLocked}
}

func errNotImmutable() *apiError {
	return conflict(codeFeatureMissing, "The container does not have version-level immutability enabled.")
}

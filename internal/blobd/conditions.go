package blobd

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// etag is the entity tag of a stamp, without quotes as lists show it.
func (s stamp) etag() string { return fmt.Sprintf("0x%X", int64(s)) }

func (s stamp) quoted() string { return `"` + s.etag() + `"` }

// matches says whether a conditional header names the tag.
func (s stamp) matches(header string) bool {
	if header == "*" {
		return true
	}
	for tag := range strings.SplitSeq(header, ",") {
		if strings.Trim(strings.TrimSpace(tag), `"`) == s.etag() {
			return true
		}
	}
	return false
}

// conditions are the request's conditional headers.
type conditions struct {
	match, noneMatch          string
	modifiedSince, unmodified time.Time
}

func (c *call) conditions() (conditions, error) {
	out := conditions{match: c.header("If-Match"), noneMatch: c.header("If-None-Match")}
	for _, f := range []struct {
		name string
		to   *time.Time
	}{{"If-Modified-Since", &out.modifiedSince}, {"If-Unmodified-Since", &out.unmodified}} {
		text := c.header(f.name)
		if text == "" {
			continue
		}
		at, err := http.ParseTime(text)
		if err != nil {
			return out, badRequest(codeInvalidHeader, "The value for the HTTP header %s is not in the correct format.", f.name)
		}
		*f.to = at
	}
	return out, nil
}

// checkRead judges a read of what exists: 412 where the client wanted another state, 304 where it has this one
// (https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations).
func (q conditions) checkRead(tag stamp, modified time.Time) error {
	if q.match != "" && !tag.matches(q.match) {
		return errConditionNotMet()
	}
	if !q.unmodified.IsZero() && modified.Truncate(time.Second).After(q.unmodified) {
		return errConditionNotMet()
	}
	unchanged := q.noneMatch != "" && tag.matches(q.noneMatch)
	if q.noneMatch == "" && !q.modifiedSince.IsZero() {
		unchanged = !modified.Truncate(time.Second).After(q.modifiedSince)
	}
	if unchanged {
		e := fail(http.StatusNotModified, codeConditionNotMet, "The condition specified using HTTP conditional header(s) is not met.")
		e.header = http.Header{"Etag": {tag.quoted()}}
		return e
	}
	return nil
}

// checkWrite judges a write over v, which is nil when there is nothing yet.
func (q conditions) checkWrite(v *version) error {
	if v == nil {
		if q.match != "" {
			return errConditionNotMet()
		}
		return nil
	}
	switch {
	case q.noneMatch == "*":
		return conflict(codeBlobExists, "The specified blob already exists.")
	case q.noneMatch != "" && v.ETag.matches(q.noneMatch),
		q.match != "" && !v.ETag.matches(q.match),
		!q.modifiedSince.IsZero() && !v.Modified.Truncate(time.Second).After(q.modifiedSince),
		!q.unmodified.IsZero() && v.Modified.Truncate(time.Second).After(q.unmodified):
		return errConditionNotMet()
	}
	return nil
}

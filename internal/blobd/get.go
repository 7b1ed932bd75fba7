package blobd

import (
	"encoding/base64"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxRangeMD5 is the longest range for which the service computes an MD5.
const maxRangeMD5 = 4 << 20

// pick is the version that the query names (versionid, snapshot) or the current one, and whether it is current.
func (c *call) pick(st *state) (*version, bool, error) {
	if st == nil {
		return nil, false, errBlobNotFound()
	}
	id, snap := c.query.Get("versionid"), c.query.Get("snapshot")
	if id == "" && snap == "" {
		if st.Current == nil {
			return nil, false, errBlobNotFound()
		}
		return st.Current, true, nil
	}
	text := id + snap
	at, ok := parseStamp(text)
	if !ok || (id != "" && snap != "") {
		return nil, false, badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid.")
	}
	if id != "" && st.Current != nil && st.Current.ID == at {
		return st.Current, true, nil
	}
	if v := st.lookup(at, snap != ""); v != nil && v.Deleted.IsZero() {
		return v, false, nil
	}
	return nil, false, errBlobNotFound()
}

// lookup is the previous version or snapshot with that stamp, soft-deleted or not.
func (s *state) lookup(at stamp, snapshot bool) *version {
	list, key := s.Previous, func(v *version) stamp { return v.ID }
	if snapshot {
		list, key = s.Snapshots, func(v *version) stamp { return v.Snapshot }
	}
	for _, v := range list {
		if key(v) == at {
			return v
		}
	}
	return nil
}

// readTarget finds what a read is about and judges its conditions.
func (c *call) readTarget() (*blob, *version, bool, error) {
	k, err := c.theContainer()
	if err != nil {
		return nil, nil, false, err
	}
	b, st := k.find(c.blob, c.now)
	v, current, err := c.pick(st)
	if err != nil {
		return nil, nil, false, err
	}
	q, err := c.conditions()
	if err != nil {
		return nil, nil, false, err
	}
	return b, v, current, q.checkRead(v.ETag, v.Modified)
}

// getBlob is Get Blob and, for HEAD, Get Blob Properties.
func (c *call) getBlob() error {
	b, v, current, err := c.readTarget()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		c.describe(v, current)
		c.set("Content-MD5", v.Content.MD5)
		c.w.Header().Set("Content-Length", decimal(v.Size))
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	from, size, partial, err := c.byteRange(v.Size)
	if err != nil {
		return err
	}
	if err := c.rangeDigest(b, v, from, size, partial); err != nil {
		return err
	}
	body, err := c.s.disk.open(b.dir, v.Segments, from, size)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was only read
	c.describe(v, current)
	h := c.w.Header()
	h.Set("Content-Length", decimal(size))
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+decimal(from)+"-"+decimal(from+size-1)+"/"+decimal(v.Size))
		c.set("x-ms-blob-content-md5", v.Content.MD5)
	} else {
		c.set("Content-MD5", v.Content.MD5)
	}
	c.w.WriteHeader(status)
	return c.copyOut(body)
}

// byteRange reads x-ms-range or Range: bytes=from- or bytes=from-to. Anything else is not a range the service knows,
// and the whole blob is answered, as HTTP says.
func (c *call) byteRange(total int64) (from, size int64, partial bool, err error) {
	text := c.header("x-ms-range")
	if text == "" {
		text = c.header("Range")
	}
	from, to, ok := parseRange(text)
	if !ok {
		return 0, total, false, nil
	}
	to = min(to, total-1)
	if from >= total {
		e := fail(http.StatusRequestedRangeNotSatisfiable, codeInvalidRange, "The range specified is invalid for the current size of the resource.")
		e.header = http.Header{"Content-Range": {"bytes */" + decimal(total)}}
		return 0, 0, false, e
	}
	return from, to - from + 1, true, nil
}

// parseRange reads bytes=from-to and bytes=from-, whose end is as far away as can be.
func parseRange(text string) (from, to int64, ok bool) {
	spec, isBytes := strings.CutPrefix(text, "bytes=")
	first, last, isRange := strings.Cut(spec, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !isBytes || !isRange || err != nil {
		return 0, 0, false
	}
	to = math.MaxInt64
	if last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return from, to, from >= 0 && to >= from
}

// rangeDigest answers x-ms-range-get-content-md5, for which a range of at most 4 MiB is read twice.
func (c *call) rangeDigest(b *blob, v *version, from, size int64, partial bool) error {
	if !strings.EqualFold(c.header("x-ms-range-get-content-md5"), "true") {
		return nil
	}
	if !partial || size > maxRangeMD5 {
		return badRequest(codeOutOfRangeInput, "An MD5 of a range needs a range of at most 4 MiB.")
	}
	body, err := c.s.disk.open(b.dir, v.Segments, from, size)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was only read
	sum := newMD5()
	if _, err := io.Copy(sum, body); err != nil {
		return err
	}
	c.set("Content-MD5", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	return nil
}

// getMetadata is Get Blob Metadata.
func (c *call) getMetadata() error {
	_, v, current, err := c.readTarget()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", v.ETag.quoted())
	h.Set("Last-Modified", httpTime(v.Modified))
	if v.ID != 0 && current {
		h.Set("X-Ms-Version-Id", v.ID.String())
	}
	for k, value := range v.Meta {
		h.Set(metaPrefix+k, value)
	}
	return c.done(http.StatusOK)
}

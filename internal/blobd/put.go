package blobd

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// crcTable is Azure's CRC-64 (polynomial 0x9A6C9329AC4BC9B5, little-endian on the wire).
var crcTable = crc64.MakeTable(0x9A6C9329AC4BC9B5)

// upload is a request body that lies in a temporary file, synced and verified.
type upload struct {
	tmp  string
	size int64
	md5  []byte
	crc  []byte
}

// receive streams the body to disk with constant memory and compares the digests that the client sent.
func (c *call) receive(limit int64) (*upload, error) {
	if c.r.ContentLength < 0 {
		return nil, fail(http.StatusLengthRequired, codeMissingLength, "The content length for the request was not specified.")
	}
	if c.r.ContentLength > limit {
		return nil, fail(http.StatusRequestEntityTooLarge, codeRequestTooLarge,
			"The request body is too large: at most %d bytes are permitted.", limit)
	}
	want, err := md5Value(c.header("Content-MD5"))
	if err != nil {
		return nil, err
	}
	f, tmp, err := c.s.disk.temp()
	if err != nil {
		return nil, err
	}
	u, err := c.fill(f, tmp)
	if err == nil && want != nil && !bytes.Equal(want, u.md5) {
		err = badRequest(codeMD5Mismatch, "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
	}
	if err == nil && c.header("x-ms-content-crc64") != "" && c.header("x-ms-content-crc64") != base64.StdEncoding.EncodeToString(u.crc) {
		err = badRequest(codeCRC64Mismatch, "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.")
	}
	if err != nil {
		c.s.disk.discard(tmp)
		return nil, err
	}
	return u, nil
}

// fill copies the body into f, which it closes.
func (c *call) fill(f *os.File, tmp string) (*upload, error) {
	sum, crc := newMD5(), crc64.New(crcTable)
	body := &bodyReader{r: io.LimitReader(c.r.Body, c.r.ContentLength)}
	n, err := io.Copy(io.MultiWriter(f, sum, crc), body)
	switch {
	case body.err != nil || (err == nil && n != c.r.ContentLength):
		return nil, errors.Join(badRequest(codeInvalidInput, "The request body ended before its declared length."), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("blobd: %w", err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	return &upload{tmp: tmp, size: n, md5: sum.Sum(nil), crc: binary.LittleEndian.AppendUint64(nil, crc.Sum64())}, nil
}

// bodyReader remembers the client's failure, to tell it from the disk's.
type bodyReader struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// putBlob is Put Blob for block blobs.
func (c *call) putBlob() error {
	switch kind := c.header("x-ms-blob-type"); {
	case kind == "":
		return badRequest(codeMissingHeader, "An HTTP header that's mandatory for this request is not specified: x-ms-blob-type.")
	case !strings.EqualFold(kind, "BlockBlob"):
		return badRequest(codeInvalidBlobType, "The blob type is invalid for this operation: this server keeps block blobs.")
	case c.header("x-ms-copy-source") != "":
		return fail(http.StatusNotImplemented, codeNotImplemented, "Copies from a URL are not offered.")
	}
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	nv, err := c.newVersion(k, true)
	if err != nil {
		return err
	}
	if err := c.quickWriteCheck(k); err != nil {
		return err
	}
	u, err := c.receive(c.s.cfg.MaxBlobBytes)
	if err != nil {
		return err
	}
	defer c.s.disk.discard(u.tmp)
	computed := base64.StdEncoding.EncodeToString(u.md5)
	if nv.Content.MD5 != "" && nv.Content.MD5 != computed {
		return badRequest(codeMD5Mismatch, "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
	}
	nv.Content.MD5, nv.Size = computed, u.size
	err = c.change(k, true, func(b *blob, st *state) (*state, error) {
		if err := c.mayWrite(st); err != nil {
			return nil, err
		}
		at := c.s.store.stamp(c.now)
		g := segment{File: putBlobFile(at), Size: u.size}
		if err := c.s.store.adopt(b, u.tmp, g); err != nil {
			return nil, err
		}
		nv.Segments = []segment{g}
		return c.replaceCurrent(k, st, nv, at), nil
	})
	if err != nil {
		return err
	}
	c.set("Content-MD5", computed)
	c.set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(u.crc))
	c.writeVersionHeaders(nv, c.s.versioned(k))
	return c.done(http.StatusCreated)
}

// newVersion reads from the headers what Put Blob and Put Block List have in common.
func (c *call) newVersion(k *container, fallback bool) (*version, error) {
	props, err := c.blobContent(fallback)
	if err != nil {
		return nil, err
	}
	if props.Type == "" {
		props.Type = "application/octet-stream"
	}
	meta, err := c.metadata()
	if err != nil {
		return nil, err
	}
	tags, err := c.requestTags()
	if err != nil {
		return nil, err
	}
	pol, hold, err := c.protectionOf(k.rec.Load())
	if err != nil {
		return nil, err
	}
	nv := &version{Content: props, Meta: meta, Tags: tags, Policy: pol, Hold: hold}
	if tier := c.header("x-ms-access-tier"); tier != "" {
		if nv.Tier, err = parseTier(tier); err != nil {
			return nil, err
		}
		nv.TierSet = c.now
	}
	return nv, nil
}

// quickWriteCheck spares a client the transfer of a body that would be refused anyway. What counts is the same check
// under the blob's lock.
func (c *call) quickWriteCheck(k *container) error {
	_, st := k.find(c.blob, c.now)
	if st == nil {
		st = &state{}
	}
	return c.mayWrite(st)
}

// mayWrite checks conditions and, for a credential that may only create, that nothing is there.
func (c *call) mayWrite(st *state) error {
	q, err := c.conditions()
	if err != nil {
		return err
	}
	if err := q.checkWrite(st.Current); err != nil {
		return err
	}
	if st.Current != nil && !c.auth.allows("w") {
		return forbidden(codeUnauthOverwrite, "This request is not authorized to perform blob overwrites.")
	}
	return nil
}

// change runs f under the blob's lock and commits the state that it returns. With create unset a name without
// current state of any kind is BlobNotFound before f runs.
func (c *call) change(k *container, create bool, f func(*blob, *state) (*state, error)) error {
	k.life.RLock()
	defer k.life.RUnlock()
	if k.gone {
		return errContainerNotFound()
	}
	b := k.acquire(c.blob)
	defer k.release(b)
	st := b.state.Load().expire(c.now)
	if !create && st.empty() {
		return errBlobNotFound()
	}
	next, err := f(b, st)
	if err != nil || next == nil {
		return err
	}
	return c.s.store.commit(b, next)
}

// replaceCurrent is st with nv as the current version. What was current stays as a version, as a soft-deleted
// snapshot, or goes, as versioning and soft delete say. Uncommitted blocks become void.
func (c *call) replaceCurrent(k *container, st *state, nv *version, at stamp) *state {
	next := st.clone()
	next.Epoch++
	next.Gone = nil
	nv.ETag, nv.Created, nv.Modified = at, c.now, c.now
	versioned := c.s.versioned(k)
	if versioned {
		nv.ID = at
	}
	keep := c.s.softDelete()
	for _, old := range []*version{st.Gone, st.Current} {
		switch {
		case old == nil:
		case versioned && old == st.Current:
			next.Previous = append(next.Previous, asPrevious(old))
		case keep > 0:
			next.Snapshots = append(next.Snapshots, c.asDeletedSnapshot(old, keep))
		}
	}
	next.Current = nv
	return next
}

// asPrevious is v as a previous version; one from before versioning gets its id now.
func asPrevious(v *version) *version {
	if v.ID != 0 {
		return v
	}
	w := v.clone()
	w.ID = v.ETag
	return w
}

// asDeletedSnapshot is v as soft delete keeps what was overwritten.
func (c *call) asDeletedSnapshot(v *version, keep time.Duration) *version {
	w := v.clone()
	w.Snapshot = c.s.store.stamp(c.now)
	if w.Deleted.IsZero() {
		w.Deleted, w.Keep = c.now, keep
	}
	return w
}

package blobd

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	apiVersion  = "2026-12-06"
	maxNameLen  = 1024
	maxXMLBytes = 8 << 20
	// patience is how long one read or write on a connection may take before the client is given up. It is real
	// time: it protects the server from stalled clients and has nothing to do with retention.
	patience = time.Minute
)

// call is one request on its way through the server. Owned by the goroutine that serves it.
type call struct {
	s   *Server
	w   http.ResponseWriter
	r   *http.Request
	now time.Time

	path      string // as it came over the wire, for signatures
	container string
	blob      string
	query     url.Values // keys in lower case
	op        *operation
	auth      grant
}

// ServeHTTP answers one request of the Blob REST protocol; after Close, that the server is busy.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.serving.TryRLock() {
		writeError(w, r.Method, fail(http.StatusServiceUnavailable, codeServerBusy, "The server is closing."))
		return
	}
	defer s.serving.RUnlock()
	s.answer(w, r)
}

// answer is ServeHTTP for who holds serving already.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, now: s.now()}
	h := w.Header()
	h.Set("Server", "Millrun-Blob/1.0")
	h.Set("X-Ms-Request-Id", uuid.NewString())
	h.Set("X-Ms-Version", version1(r.Header.Get("X-Ms-Version")))
	h.Set("Date", c.now.Format(http.TimeFormat))
	if id := r.Header.Get("X-Ms-Client-Request-Id"); id != "" && len(id) <= maxNameLen {
		h.Set("X-Ms-Client-Request-Id", id)
	}
	r.Body = &patientBody{ReadCloser: r.Body, ctl: http.NewResponseController(w)}
	if err := c.serve(r.Context()); err != nil {
		e := asAPIError(err)
		if e.status >= http.StatusInternalServerError {
			s.cfg.Log.Error("blob request failed", "op", c.opName(), "err", err)
		} else {
			s.cfg.Log.Debug("blob request refused", "op", c.opName(), "status", e.status, "code", string(e.code))
		}
		c.drain()
		writeError(w, r.Method, e)
	}
}

// drain reads what is left of a refused request's body: a client that is still sending when the connection closes sees
// a broken pipe instead of the answer, and tries again. Whom we do not know, who asked for leave to send, and who sends
// more than is ever accepted gets no such patience.
func (c *call) drain() {
	known := c.auth.all || c.auth.perms != ""
	if known && c.header("Expect") == "" && c.r.ContentLength <= c.s.cfg.MaxBlobBytes {
		_, _ = io.Copy(io.Discard, c.r.Body)
	}
}

// version1 is the version that the answer carries: the client's, when it sent one.
func version1(asked string) string {
	if asked == "" || len(asked) > len(apiVersion) {
		return apiVersion
	}
	return asked
}

func (c *call) opName() string {
	if c.op == nil {
		return "unknown"
	}
	return c.op.name
}

func (c *call) serve(ctx context.Context) error {
	if err := c.parse(); err != nil {
		return err
	}
	op, err := c.route()
	if err != nil {
		return err
	}
	c.op = op
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	if err := c.authorize(); err != nil {
		return err
	}
	for _, name := range []string{"x-ms-if-tags", "x-ms-structured-body", "x-ms-encryption-key", "x-ms-encryption-scope"} {
		if c.r.Header.Get(name) != "" {
			return badRequest(codeUnsupportedHeader, "The header %s is not supported by this server.", name)
		}
	}
	if c.blob != "" && c.r.Header.Get("X-Ms-Lease-Id") != "" {
		return fail(http.StatusPreconditionFailed, codeLeaseNotPresent, "There is currently no lease on the blob.")
	}
	return op.handle(c)
}

// parse splits the URL: /{account}/{container}/{blob…}, or /{container}/{blob…} at a host that begins with the
// account's name. Nothing is cleaned: dots and slashes inside a blob's name are part of the name.
func (c *call) parse() error {
	c.path, _, _ = strings.Cut(c.r.RequestURI, "?")
	if i := strings.Index(c.path, "://"); i >= 0 { // absolute form, as a proxy sends it
		rest := c.path[i+3:]
		c.path = "/" + strings.TrimPrefix(rest[max(strings.IndexByte(rest, '/'), 0):], "/")
	}
	rest := strings.TrimPrefix(c.path, "/")
	if !c.hostStyle() {
		account, after, _ := strings.Cut(rest, "/")
		if account != c.s.cfg.Account {
			return fail(http.StatusNotFound, codeResourceNotFound, "The specified resource does not exist.")
		}
		rest = after
	}
	container, blob, _ := strings.Cut(rest, "/")
	var err1, err2 error
	c.container, err1 = url.PathUnescape(container)
	c.blob, err2 = url.PathUnescape(blob)
	query, err3 := url.ParseQuery(c.r.URL.RawQuery)
	if errors.Join(err1, err2, err3) != nil {
		return badRequest(codeInvalidURI, "The requested URI does not represent any resource on the server.")
	}
	c.query = make(url.Values, len(query))
	for k, v := range query {
		k = strings.ToLower(k)
		c.query[k] = append(c.query[k], v...)
	}
	return c.checkNames()
}

func (c *call) hostStyle() bool {
	host := c.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.HasPrefix(strings.ToLower(host), c.s.cfg.Account+".")
}

func (c *call) checkNames() error {
	if c.container != "" && !validContainerName(c.container) {
		return badRequest(codeInvalidName, "The specified resource name contains invalid characters.")
	}
	if !utf8.ValidString(c.blob) || strings.ContainsRune(c.blob, 0) {
		return badRequest(codeInvalidURI, "The requested URI does not represent any resource on the server.")
	}
	if utf8.RuneCountInString(c.blob) > maxNameLen {
		return badRequest(codeOutOfRangeInput, "The specified resource name length is not within the permissible limits.")
	}
	return nil
}

// theContainer is the container that the URL names.
func (c *call) theContainer() (*container, error) {
	if k := c.s.store.container(c.container); k != nil {
		return k, nil
	}
	return nil, errContainerNotFound()
}

// header is a request header without surrounding space.
func (c *call) header(name string) string { return strings.TrimSpace(c.r.Header.Get(name)) }

func (c *call) set(name, value string) {
	if value != "" {
		c.w.Header().Set(name, value)
	}
}

// done answers without a body.
func (c *call) done(status int) error {
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(status)
	return nil
}

// xml answers with a document that begins at the root element.
func (c *call) xml(status int, doc []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(xml.Header)+len(doc)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = io.WriteString(c.w, xml.Header) // a client that has gone cannot be told
		_, _ = c.w.Write(doc)
	}
	return nil
}

// readXML decodes a bounded request body.
func (c *call) readXML(v any) error {
	body := http.MaxBytesReader(c.w, c.r.Body, maxXMLBytes)
	if err := xml.NewDecoder(bufio.NewReader(body)).Decode(v); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return err
		}
		return badRequest(codeInvalidXML, "The specified XML is not syntactically valid.")
	}
	return nil
}

// httpTime is Azure's form of a time in a header.
func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// patientBody gives every read of a request body its own deadline, so that a slow upload of any length passes and a
// stalled one does not.
type patientBody struct {
	io.ReadCloser

	ctl *http.ResponseController
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.ctl.SetReadDeadline(time.Now().Add(patience)) // unsupported outside a real connection
	return b.ReadCloser.Read(p)
}

// send writes to the client and says whether it is still there.
func (c *call) send(p []byte) bool {
	_, err := c.w.Write(p)
	return err == nil
}

// copyOut streams r to the client, each write with its own deadline.
func (c *call) copyOut(r io.Reader) error {
	ctl := http.NewResponseController(c.w)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			_ = ctl.SetWriteDeadline(time.Now().Add(patience)) // unsupported outside a real connection
			if !c.send(buf[:n]) {
				return nil // the client has gone and cannot be told
			}
		}
		if errors.Is(err, io.EOF) {
			_ = ctl.SetWriteDeadline(time.Time{})
			return nil
		}
		if err != nil {
			// The status is sent already; cutting the connection is the only way to say that the body is not whole.
			c.s.cfg.Log.Error("blob body cut off", "op", c.opName(), "err", err)
			panic(http.ErrAbortHandler)
		}
	}
}

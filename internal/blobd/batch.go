package blobd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20
)

// batch is Blob Batch: up to 256 deletes or tier changes, each with an authorization and an answer of its own
// (https://learn.microsoft.com/rest/api/storageservices/blob-batch).
func (c *call) batch() error {
	_, params, err := mime.ParseMediaType(c.header("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return badRequest(codeInvalidHeader, "The value for the HTTP header Content-Type is not in the correct format.")
	}
	parts, err := c.batchParts(params["boundary"])
	if err != nil {
		return err
	}
	var body bytes.Buffer
	boundary := "batchresponse_" + uuid.NewString()
	for _, p := range parts {
		fmt.Fprintf(&body, "--%s\r\nContent-Type: application/http\r\n", boundary)
		if p.id != "" {
			fmt.Fprintf(&body, "Content-ID: %s\r\n", p.id)
		}
		body.WriteString("\r\n")
		c.subRequest(p.request).writeTo(&body)
	}
	fmt.Fprintf(&body, "--%s--\r\n", boundary)
	h := c.w.Header()
	h.Set("Content-Type", "multipart/mixed; boundary="+boundary)
	h.Set("Content-Length", decimal(int64(body.Len())))
	c.w.WriteHeader(http.StatusAccepted)
	_, _ = c.w.Write(body.Bytes()) // a client that has gone cannot be told
	return nil
}

// batchPart is one request inside a batch.
type batchPart struct {
	id      string
	request *http.Request
}

func (c *call) batchParts(boundary string) ([]batchPart, error) {
	invalid := badRequest(codeInvalidInput, "One of the request inputs is not valid: the batch is no multipart/mixed body of requests.")
	reader := multipart.NewReader(http.MaxBytesReader(c.w, c.r.Body, maxBatchBytes), boundary)
	var out []batchPart
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, invalid
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			return nil, invalid
		}
		req, err := c.parseSubRequest(raw)
		if err != nil {
			return nil, invalid
		}
		out = append(out, batchPart{id: strings.TrimSpace(part.Header.Get("Content-ID")), request: req})
	}
	if len(out) == 0 || len(out) > maxBatch {
		return nil, badRequest("ExceedsMaxBatchRequestCount", "A batch holds 1 to 256 requests.")
	}
	return out, nil
}

func (c *call) parseSubRequest(raw []byte) (*http.Request, error) {
	head := append(bytes.TrimRight(raw, "\r\n"), "\r\n\r\n"...)
	// The host is the batch's own; a request of HTTP/1.1 without one would not be read.
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	head = append(append(append([]byte{}, line...), ("\r\nHost: "+c.r.Host+"\r\n")...), rest...)
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	req.Body = http.NoBody
	req.RemoteAddr, req.TLS = c.r.RemoteAddr, c.r.TLS
	return req.WithContext(c.r.Context()), nil
}

// subAnswer collects the answer to one request of a batch.
type subAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *subAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *subAnswer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *subAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }

// subRequest answers one request; whatever is neither a delete nor a tier change is refused.
func (c *call) subRequest(req *http.Request) *subAnswer {
	a := &subAnswer{header: http.Header{}, status: http.StatusOK}
	query, err := url.ParseQuery(req.URL.RawQuery)
	tier := req.Method == http.MethodPut && strings.EqualFold(query.Get("comp"), "tier")
	if err != nil || (req.Method != http.MethodDelete && !tier) {
		writeError(a, req.Method, badRequest(codeInvalidInput, "A batch takes Delete Blob and Set Blob Tier only."))
		return a
	}
	c.s.answer(a, req)
	return a
}

func (a *subAnswer) writeTo(w *bytes.Buffer) {
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	_ = a.header.Write(w) // a Buffer never fails
	w.WriteString("\r\n")
	w.Write(a.body.Bytes())
	w.WriteString("\r\n")
}

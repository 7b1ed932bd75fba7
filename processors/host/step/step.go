// Package step is the other end of package host: what a step program in Go needs. A program in another language speaks
// the same frames; docs/processors.md describes them.
//
// A frame is a 4-byte big-endian length, that many bytes of JSON (the header), another such length, and that many bytes
// (the body). A step reads one request frame from its standard input, answers with one frame on its standard output,
// and so on until its input ends; then it exits. What it writes to its standard error goes to the worker's log.
package step

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// HeaderLimit bounds a frame's header, in bytes.
const HeaderLimit = 1 << 20

// Request is the header of a request; the body is the image as it was received.
type Request struct {
	ID          uint64 `json:"id"` // to be repeated in the response
	Step        string `json:"step"`
	Version     string `json:"version"`
	ImageID     string `json:"image_id"`
	ContentType string `json:"content_type"`
	Format      string `json:"format"` // jpeg, png, gif or webp
	Width       int    `json:"width"`
	Height      int    `json:"height"`
}

// Response is the header of a response; the body is the derivatives' bytes one after the other.
type Response struct {
	ID          uint64        `json:"id"`
	Derivatives []Derivative  `json:"derivatives,omitempty"`
	Error       *RefusalError `json:"error,omitempty"`
}

// Derivative announces one derivative.
type Derivative struct {
	Name        string `json:"name"` // a-z, 0-9, '-', '_', '.'; unique within the response
	ContentType string `json:"content_type"`
	Bytes       int64  `json:"bytes"`
	Width       int    `json:"width,omitempty"` // where it is a picture
	Height      int    `json:"height,omitempty"`
}

// RefusalError is a step's verdict that it can do nothing with an image. The image becomes a dead letter of the step, and
// goes on without it. Trying again would not help, so it is not done.
type RefusalError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is the verdict in words.
func (r *RefusalError) Error() string { return r.Code + ": " + r.Message }

// Output is a derivative with its bytes.
type Output struct {
	Name          string
	ContentType   string
	Width, Height int
	Bytes         []byte
}

// Serve answers requests from os.Stdin on os.Stdout until the input ends. f's error is told to the worker as a RefusalError.
// While Serve runs, os.Stdout belongs to it; prints go to os.Stderr.
func Serve(f func(Request, []byte) ([]Output, error)) error {
	return serve(os.Stdin, os.Stdout, f)
}

func serve(in io.Reader, out io.Writer, f func(Request, []byte) ([]Output, error)) error {
	r, w := bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)
	for {
		var q Request
		image, err := ReadFrame(r, &q, 1<<40)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		outputs, err := f(q, image)
		if err := answer(w, q.ID, outputs, err); err != nil {
			return err
		}
	}
}

func answer(w *bufio.Writer, id uint64, outputs []Output, failure error) error {
	a := Response{ID: id}
	var body [][]byte
	if failure != nil {
		if !errors.As(failure, &a.Error) {
			a.Error = &RefusalError{Code: "failed", Message: failure.Error()}
		}
		outputs = nil
	}
	for _, o := range outputs {
		a.Derivatives = append(a.Derivatives, Derivative{Name: o.Name, ContentType: o.ContentType, Bytes: int64(len(o.Bytes)), Width: o.Width, Height: o.Height})
		body = append(body, o.Bytes)
	}
	if err := WriteFrame(w, a, body...); err != nil {
		return err
	}
	return w.Flush()
}

// ReadFrame reads one frame: its header into header, its body of at most limit bytes. io.EOF means that there is none,
// io.ErrUnexpectedEOF that it is cut off.
func ReadFrame(r io.Reader, header any, limit int64) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	if n > HeaderLimit {
		return nil, fmt.Errorf("step: a header of %d bytes, at most %d", n, HeaderLimit)
	}
	head := make([]byte, n)
	if err := readFull(r, head); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(head, header); err != nil {
		return nil, fmt.Errorf("step: the header is not the expected JSON: %w", err)
	}
	m, err := readLength(r)
	if err != nil {
		return nil, unexpected(err)
	}
	if int64(m) > limit {
		return nil, fmt.Errorf("step: a body of %d bytes, at most %d", m, limit)
	}
	body := make([]byte, m)
	return body, readFull(r, body)
}

// WriteFrame writes one frame whose body is the parts one after the other.
func WriteFrame(w io.Writer, header any, body ...[]byte) error {
	head, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("step: header: %w", err)
	}
	total := 0
	for _, b := range body {
		total += len(b)
	}
	if len(head) > HeaderLimit || int64(total) > 1<<32-1 {
		return fmt.Errorf("step: a frame of %d and %d bytes is too large", len(head), total)
	}
	prefix := append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...)
	for _, b := range append([][]byte{binary.BigEndian.AppendUint32(prefix, uint32(total))}, body...) {
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("step: %w", err)
		}
	}
	return nil
}

func readLength(r io.Reader) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b[:]), nil
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	return unexpected(err)
}

// unexpected says that an end in the middle of a frame is not the end of the conversation.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

package step

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestServeAnswersUntilTheInputEnds(t *testing.T) {
	t.Parallel()
	var in, out bytes.Buffer
	for id := range uint64(3) {
		if err := WriteFrame(&in, Request{ID: id, ImageID: "img_a"}, []byte("a"), []byte("bc")); err != nil {
			t.Fatal(err)
		}
	}
	err := serve(&in, &out, func(q Request, image []byte) ([]Output, error) {
		switch q.ID {
		case 0:
			return []Output{{Name: "x", ContentType: "text/plain", Bytes: image}, {Name: "y", ContentType: "text/plain", Bytes: []byte("!")}}, nil
		case 1:
			return []Output{{Name: "x"}}, &RefusalError{Code: "too_dark", Message: "m"}
		default:
			return nil, errors.New("no luck")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		var a Response
		body, err := ReadFrame(&out, &a, 100)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line := string(body)
		if a.Error != nil {
			line += a.Error.Error()
		}
		got = append(got, line)
	}
	if want := []string{"abc!", "too_dark: m", "failed: no luck"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
}

func TestFrameThatIsCutOffIsNotTheEnd(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteFrame(&b, Request{ID: 7}, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for n := 1; n < len(whole); n++ {
		var q Request
		if _, err := ReadFrame(bytes.NewReader(whole[:n]), &q, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestFrameBeyondItsBoundsIsRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	var q Request
	if _, err := ReadFrame(strings.NewReader("\xff\xff\xff\xff"), &q, 100); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a header of 4 GiB: %v", err)
	}
	if _, err := ReadFrame(strings.NewReader("\x00\x00\x00\x02{}\xff\xff\xff\xff"), &q, 100); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body of 4 GiB: %v", err)
	}
	if _, err := ReadFrame(strings.NewReader("\x00\x00\x00\x02[]\x00\x00\x00\x00"), &q, 100); err == nil {
		t.Error("a header that is an array was taken")
	}
}

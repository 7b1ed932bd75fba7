package unheard

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(key kmsg.Key, id uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 10)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(binary.BigEndian.AppendUint32(b, id), "ab"...)
}

func answer(id uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, id), body...)
}

func TestAnAnswerIsLostOnceTheRequestIsDone(t *testing.T) {
	t.Parallel()
	client, broker := net.Pipe()
	done := make(chan uint32, 3)
	go func() {
		defer close(done)
		for range 3 {
			var b [14]byte
			if _, err := io.ReadFull(broker, b[:]); err != nil {
				return
			}
			id := binary.BigEndian.Uint32(b[8:])
			done <- id
			if _, err := broker.Write(answer(id, "what was asked for")); err != nil {
				return
			}
		}
	}()
	c := New(client, func(key kmsg.Key) bool { return key == kmsg.EndTxn })
	want := answer(7, "what was asked for")
	ask := func(key kmsg.Key, id uint32) (string, error) {
		if _, err := c.Write(request(key, id)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		_, err := io.ReadFull(iotest.OneByteReader(c), got)
		return string(got), err
	}
	if got, err := ask(kmsg.Produce, 7); err != nil || got != string(want) {
		t.Errorf("the first answer is %q, %v", got, err)
	}
	if got, err := ask(kmsg.EndTxn, 8); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the second answer is %q, %v", got, err)
	}
	if _, err := c.Write(request(kmsg.Produce, 9)); err == nil {
		t.Error("the connection is still there")
	}
	_ = broker.Close()
	var ids []uint32
	for id := range done {
		ids = append(ids, id)
	}
	if len(ids) != 2 {
		t.Errorf("the broker did %v", ids)
	}
}

func TestWhatIsNoRequestOrAnswerIsAnError(t *testing.T) {
	t.Parallel()
	client, broker := net.Pipe()
	c := New(client, func(kmsg.Key) bool { return false })
	if _, err := c.Write([]byte("part")); err == nil {
		t.Error("a part of a request was sent")
	}
	go func() { _, _ = broker.Write([]byte("HTTP/1.1 400 Bad Request")) }()
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("read %d bytes of what is no answer", n)
	}
	_, _ = client.Close(), broker.Close()
}

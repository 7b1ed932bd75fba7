package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestATerminalsTableIsRedrawnInPlace(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	b := newBoard(&screen, true, "weights")
	at := time.Unix(100, 0)
	b.show(at, "b", "2", 1000)
	b.show(at, "a", "1", 2000) // too soon after the first picture: held back
	b.draw(at)
	want := "weights\nkey  time                      value\nb    1970-01-01T00:00:01.000Z  2\n" +
		"\x1b[3F\x1b[J" +
		"weights\nkey  time                      value\na    1970-01-01T00:00:02.000Z  1\nb    1970-01-01T00:00:01.000Z  2\n"
	if screen.String() != want {
		t.Errorf("got\n%q\nwant\n%q", screen.String(), want)
	}
	screen.Reset()
	b.draw(at)
	if screen.Len() > 0 {
		t.Errorf("drawn again without a change: %q", screen.String())
	}
	b.hide(at.Add(time.Second), "b")
	if !strings.HasPrefix(screen.String(), "\x1b[4F\x1b[J") || strings.Contains(screen.String(), "\nb ") {
		t.Errorf("a deleted row stays: %q", screen.String())
	}
}

func TestATerminalsTableKeepsTheRowsThatChangedLast(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	b := newBoard(&screen, true, "many")
	at := time.Unix(0, 0)
	for i := range 30 {
		at = at.Add(time.Second)
		b.show(at, fmt.Sprintf("k%02d", i), "v", 0)
		b.show(at, "k00", "again", 0)
	}
	b.draw(at)
	last := screen.String()[strings.LastIndex(screen.String(), "many\n"):]
	if strings.Contains(last, "k05") || !strings.Contains(last, "k00") || !strings.Contains(last, "k29") || !strings.Contains(last, "did not change lately") {
		t.Errorf("got\n%s", last)
	}
	if n := strings.Count(last, "\n"); n != boardRows+3 {
		t.Errorf("%d lines", n)
	}
}

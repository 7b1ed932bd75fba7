package host

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
)

// What a step may say on its standard error: so many bytes a line, so many lines a minute. More is dropped, and how
// much is said.
const (
	lineLimit      = 2 << 10
	linesPerMinute = 120
)

// copyLog copies a step's standard error to the log until it ends, then closes r and done.
func copyLog(log *slog.Logger, r *os.File, done chan<- struct{}) {
	defer close(done)
	defer func() { _ = r.Close() }() // only read from
	lines := bufio.NewReaderSize(r, lineLimit)
	minute, said, dropped := time.Now(), 0, 0
	for {
		line, err := nextLine(lines)
		if now := time.Now(); now.Sub(minute) > time.Minute {
			minute, said = now, 0
		}
		switch {
		case line == "":
		case said >= linesPerMinute:
			dropped++
		default:
			said++
			if dropped > 0 {
				log.Warn("a step said too much", "lines_dropped", dropped)
				dropped = 0
			}
			log.Info("step says", "line", line)
		}
		if err != nil {
			if dropped > 0 {
				log.Warn("a step said too much", "lines_dropped", dropped)
			}
			return
		}
	}
}

// nextLine reads a line and cuts it to the limit; what is not printable becomes a replacement character, so that a step
// cannot forge or garble the log.
func nextLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	text := string(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err == nil || errors.Is(err, io.EOF) {
		text = strings.TrimRight(text, "\r\n")
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) || c == '\t' {
			return c
		}
		return unicode.ReplacementChar
	}, text), err
}

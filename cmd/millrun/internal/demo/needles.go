package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// needleSize is how many bytes of each needle are indexed; shorter ones are not taken.
const needleSize = 16

// needles finds any of many byte strings in one pass: it looks every window of needleSize bytes up in a map and
// compares the rest where one is known.
type needles struct {
	by   map[[needleSize]byte][]needle
	many int
}

type needle struct {
	bytes []byte
	what  string
}

func newNeedles() *needles { return &needles{by: map[[needleSize]byte][]needle{}} }

func (n *needles) add(b []byte, what string) {
	if len(b) < needleSize {
		return
	}
	key := [needleSize]byte(b)
	n.by[key] = append(n.by[key], needle{bytes: bytes.Clone(b), what: what})
	n.many++
}

func (n *needles) count() int { return n.many }

// in says what was found in b, or "".
func (n *needles) in(b []byte) string {
	for i := 0; i+needleSize <= len(b); i++ {
		for _, candidate := range n.by[[needleSize]byte(b[i:])] {
			if bytes.HasPrefix(b[i:], candidate.bytes) {
				return candidate.what
			}
		}
	}
	return ""
}

// searchDir reads every file below dir; one that vanishes meanwhile is gone, which is what is wanted.
func (n *needles) searchDir(dir string) (int, error) {
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		if what := n.in(b); what != "" {
			rel, _ := filepath.Rel(dir, path)
			return fmt.Errorf("%s holds the %s", rel, what)
		}
		return nil
	})
	return files, err
}

// telling is a piece of 32 bytes from the middle of a content that is unlikely to occur elsewhere: it has at least
// sixteen different bytes. It is nil where there is none.
func telling(b []byte) []byte {
	for start := len(b) / 2; start+32 <= len(b); start += 32 {
		piece := b[start : start+32]
		seen := map[byte]bool{}
		for _, c := range piece {
			seen[c] = true
		}
		if len(seen) >= 16 {
			return piece
		}
	}
	return nil
}

package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Check is one thing that was looked at in what storage, broker and database really hold.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// report collects checks, prints a line for each and can be written as JSON. One goroutine uses it.
type report struct {
	out    io.Writer
	Checks []Check        `json:"checks"`
	Counts map[string]int `json:"counts"`
}

func newReport(out io.Writer) *report { return &report{out: out, Counts: map[string]int{}} }

// step begins a chapter.
func (r *report) step(n int, title string) { fmt.Fprintf(r.out, "\n%d. %s\n", n, title) }

// check runs look and notes what came of it: nil is a check that held, and detail is shown beside it.
func (r *report) check(name string, look func() (detail string, err error)) {
	detail, err := look()
	c := Check{Name: name, OK: err == nil, Detail: detail}
	mark := "ok  "
	if err != nil {
		mark, c.Detail = "FAIL", err.Error()
	}
	r.Checks = append(r.Checks, c)
	if c.Detail != "" {
		fmt.Fprintf(r.out, "   %s %s (%s)\n", mark, name, c.Detail)
		return
	}
	fmt.Fprintf(r.out, "   %s %s\n", mark, name)
}

// failed is how many checks did not hold.
func (r *report) failed() int {
	n := 0
	for _, c := range r.Checks {
		if !c.OK {
			n++
		}
	}
	return n
}

// last is the line that a script reads.
func (r *report) last() string {
	return fmt.Sprintf("demo: %d checks passed, %d failed", len(r.Checks)-r.failed(), r.failed())
}

// write stores the report as JSON.
func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

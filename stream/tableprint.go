package stream

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Print shows the table as it changes, on standard output or where Output says: on a terminal the rows that changed last,
// redrawn in place; elsewhere a line for each change. It is for looking, not for programs: rows are shown as fmt prints
// them, and what cannot be written is lost without an error. All tasks of the application share the picture.
func (t KTable[K, V]) Print(opts ...Printed) {
	var set opt.Settings
	for _, o := range opts {
		o.PrintedOption(opt.Seal{}, &set)
	}
	m := t.t.b.at("Print")
	n := m.node(plan.Processor, t.t.b.graph.Named(set.Name, "KTABLE-PRINTER-"), t.t.n)
	var w io.Writer = os.Stdout
	if set.Output != nil {
		w = set.Output
	}
	n.Body = tablePrintBody[K, V](newBoard(w, terminal(w), n.Name))
}

func tablePrintBody[K, V any](b *board) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		a.OnInit(n, func() error {
			a.Task.Schedule(n.Index, boardPause, task.WallClock, func(now time.Time) error {
				b.draw(now)
				return nil
			})
			return nil
		})
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			now := a.Task.Now()
			if c.hasNew {
				b.show(now, fmt.Sprint(k), fmt.Sprint(c.new), r.Time)
			} else {
				b.hide(now, fmt.Sprint(k))
			}
			return nil
		}
	})
}

// terminal says whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}

const (
	boardRows  = 20                     // as many as fit most terminals
	boardPause = 100 * time.Millisecond // between two pictures
)

// board is the picture of a table. Tasks of several threads draw on it.
type board struct {
	mu    sync.Mutex
	w     io.Writer
	live  bool // redrawn in place
	title string
	rows  []boardRow // by key, at most twice boardRows: the oldest go first
	gone  int        // rows that had to go
	lines int        // of the picture that stands
	drawn time.Time
	stale bool // the picture is not what the rows are
}

type boardRow struct {
	key, value string
	time       int64
	turn       int64 // the change that made it
}

func newBoard(w io.Writer, live bool, title string) *board {
	return &board{w: w, live: live, title: title}
}

// show notes a row's value.
func (b *board) show(now time.Time, key, value string, at int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.live {
		fmt.Fprintf(b.w, "[%s] %s = %s @%s\n", b.title, key, value, stamp(at))
		return
	}
	i, ok := b.find(key)
	if !ok {
		b.rows = slices.Insert(b.rows, i, boardRow{key: key})
	}
	b.rows[i] = boardRow{key, value, at, b.turn()}
	b.shrink()
	b.changed(now)
}

// hide notes that a row is gone.
func (b *board) hide(now time.Time, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.live {
		fmt.Fprintf(b.w, "[%s] %s deleted\n", b.title, key)
		return
	}
	if i, ok := b.find(key); ok {
		b.rows = slices.Delete(b.rows, i, i+1)
		b.changed(now)
	}
}

func (b *board) find(key string) (int, bool) {
	return slices.BinarySearchFunc(b.rows, key, func(r boardRow, k string) int { return strings.Compare(r.key, k) })
}

// turn numbers the changes.
func (b *board) turn() (n int64) {
	for _, r := range b.rows {
		n = max(n, r.turn)
	}
	return n + 1
}

// shrink lets the rows go that have not changed for the longest time.
func (b *board) shrink() {
	for len(b.rows) > boardRows {
		oldest := 0
		for i, r := range b.rows {
			if r.turn < b.rows[oldest].turn {
				oldest = i
			}
		}
		b.rows = slices.Delete(b.rows, oldest, oldest+1)
		b.gone++
	}
}

func (b *board) changed(now time.Time) {
	b.stale = true
	if now.Sub(b.drawn) >= boardPause {
		b.paint(now)
	}
}

// draw brings the picture up to date.
func (b *board) draw(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale {
		b.paint(now)
	}
}

// paint draws over the picture that stands.
func (b *board) paint(now time.Time) {
	b.drawn, b.stale = now, false
	var out strings.Builder
	if b.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dF\x1b[J", b.lines) // up to its first line, and clear from there
	}
	wide := len("key")
	for _, r := range b.rows {
		wide = max(wide, len(r.key))
	}
	fmt.Fprintf(&out, "%s\n%-*s  %-24s  value\n", b.title, wide, "key", "time")
	for _, r := range b.rows {
		fmt.Fprintf(&out, "%-*s  %-24s  %s\n", wide, r.key, stamp(r.time), strings.ReplaceAll(r.value, "\n", " "))
	}
	b.lines = len(b.rows) + 2
	if b.gone > 0 {
		fmt.Fprintf(&out, "and rows that did not change lately\n")
		b.lines++
	}
	_, _ = io.WriteString(b.w, out.String()) // for looking: see Print
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// Command check recomputes what the crash rig's worker should have put out, and compares. It shares no code with the library nor
// with the rig: it reads the topics itself, by another client's word for their ends, and counts in maps.
//
// It prints one line of JSON and exits with 1 if anything was lost, doubled or strange.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"
)

// settings are the command line.
type settings struct {
	App       string        `help:"Prefix of all topics." required:""`
	Broker    string        `help:"Address of the broker." required:""`
	Guarantee string        `enum:"at_least_once,exactly_once,exact_state" help:"at_least_once, exactly_once or exact_state." required:""`
	Left      int64         `default:"-1" help:"How many records the left topic must have."`
	Right     int64         `default:"-1" help:"How many records the right topic must have."`
	Window    time.Duration `default:"10s" help:"Size of the windows."`
	Within    time.Duration `default:"30s" help:"How far apart joined records may be."`
	Patience  time.Duration `default:"2m" help:"How long reading may take."`
}

// verdict is what is printed.
type verdict struct {
	Left      int64    `json:"left"`
	Right     int64    `json:"right"`
	Counts    tally    `json:"counts"`
	Windows   tally    `json:"windows"`
	Joined    tally    `json:"joined"`
	Lost      int64    `json:"lost"`
	Doubled   int64    `json:"doubled"`
	Strange   int64    `json:"strange"`
	Complaint []string `json:"complaints"`
}

// tally is one output topic. Excess is how much more than once records took effect, in percent of what was expected: under
// exactly-once it is a fault, under at-least-once a figure, and with exact state a fault of counts and a figure of pairs.
type tally struct {
	Keys     int     `json:"keys"`
	Expected int64   `json:"expected"`
	Records  int64   `json:"records"`
	Lost     int64   `json:"lost"`
	Doubled  int64   `json:"doubled"`
	Fell     int64   `json:"fell"` // without transactions: how often a count was followed by a smaller one
	Excess   float64 `json:"excess_percent"`
}

func main() {
	var s settings
	kong.Parse(&s)
	v, err := s.run(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil || v.Lost+v.Doubled+v.Strange > 0 {
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) (*verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	r, err := newReader(s.Broker)
	if err != nil {
		return nil, err
	}
	defer r.close()
	want, err := s.recompute(ctx, r)
	if err != nil {
		return nil, err
	}
	v := &verdict{Left: want.left, Right: want.right, Complaint: []string{}}
	v.inputs(s)
	committed := s.Guarantee == exactlyOnce
	for _, t := range []struct {
		topic  string
		expect map[string]int64
		tally  *tally
	}{{"counts", want.words, &v.Counts}, {"windows", want.windows, &v.Windows}, {"joined", want.pairs, &v.Joined}} {
		l := newLedger(t.topic, t.expect, s.Guarantee)
		each := l.count
		if t.topic == "joined" {
			each = l.pair
		}
		if err := r.read(ctx, s.App+"-"+t.topic, committed, each); err != nil {
			return nil, err
		}
		l.close()
		*t.tally = l.tally
		v.add(l)
	}
	return v, nil
}

// inputs compares how much there is with how much was sent.
func (v *verdict) inputs(s *settings) {
	for _, x := range []struct {
		name      string
		got, want int64
	}{{"left", v.Left, s.Left}, {"right", v.Right, s.Right}} {
		if x.want >= 0 && x.got < x.want {
			v.Strange++
			v.Complaint = append(v.Complaint, fmt.Sprintf("%s has %d records, but %d were acknowledged", x.name, x.got, x.want))
		}
	}
}

func (v *verdict) add(l *ledger) {
	v.Lost += l.Lost
	v.Doubled += l.Doubled
	v.Strange += l.strange
	v.Complaint = append(v.Complaint, l.complaints...)
}

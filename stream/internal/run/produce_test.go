package run

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/task"
)

// TestNothingIsSentBehindARefusedRecord: under exact state, readers take what comes later for what is behind it.
func TestNothingIsSentBehindARefusedRecord(t *testing.T) {
	t.Parallel()
	e := &Engine{o: Options{Program: &task.Program{}}}
	p := &producer{e: e} // without a client: whatever it would send is a panic
	b := &batch{p: p, records: make([]kgo.Record, 1), sources: make([]*task.Input, 1), nodes: []string{"to"}}
	b.records[0].Topic = "hop"
	b.done(&b.records[0], kerr.InvalidRecord)
	for range 2 {
		err := p.send(t.Context(), task.ID{}, []task.Output{{Topic: "hop"}})
		if failed, ok := errors.AsType[*task.Error](err); !ok || failed.Node != "to" || !errors.Is(err, kerr.InvalidRecord) {
			t.Errorf("got %v", err)
		}
	}
}

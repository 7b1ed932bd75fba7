package stream_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

func TestALimitedTableForgetsTheRowUsedLongestAgo(t *testing.T) {
	t.Parallel()
	few := state.TimestampedKeyValue[string, string]("few", state.LRU(2))
	b := stream.NewBuilder()
	table := b.Table(rights1, stream.Into(few))
	b.Stream(texts).JoinTable(table, join2).To(outs)
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1, CommitInterval: time.Hour}))
	rows, in, out := d.Input(rights1), d.Input(texts), d.Output(outs)
	rows.Pipe("a", "1")
	rows.Pipe("b", "2")
	in.Pipe("a", "uses")
	rows.Pipe("c", "3")
	in.Pipe("b", "is gone")
	out.Want(out.R("a", "uses+1"))
	logged(t, d, "few", `"a"="1"`, `"b"="2"`, `"b"=null`, `"c"="3"`)
	d.Commit()
	d.Crash()
	rows.Pipe("d", "4") // the order of uses is now that of the writes
	rows.Delete("c")
	rows.Pipe("e", "5")
	var keys []string
	all := d.Store(few).All()
	for k := range all.All() {
		keys = append(keys, k)
	}
	if !slices.Equal(keys, []string{"d", "e"}) || all.Err() != nil {
		t.Errorf("%q are left (%v)", keys, all.Err())
	}
	logged(t, d, "few", `"a"="1"`, `"b"="2"`, `"b"=null`, `"c"="3"`, `"a"=null`, `"d"="4"`, `"c"=null`, `"e"="5"`)
}

// logged compares what was sent to a store's changelog.
func logged(t *testing.T, d *streamtest.Driver, store string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(d.Transcript()) {
		if row, ok := strings.CutPrefix(line, ". test-"+store+"-changelog-0 "); ok {
			got = append(got, row[:strings.LastIndex(row, " @")])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the changelog has %q, want %q", got, want)
	}
}

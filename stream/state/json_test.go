package state_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// exampleT is the testing.TB of an example, which has none.
type exampleT struct{ testing.TB }

func (exampleT) Helper()           {}
func (exampleT) Cleanup(func())    {}
func (exampleT) Output() io.Writer { return os.Stderr }

type broken struct{}

var errFull = errors.New("full")

func (broken) Write([]byte) (int, error) { return 0, errFull }

func counts(t testing.TB) state.TimestampedKeyValueStore[string, int64] {
	h := state.TimestampedKeyValue[string, int64]("counts")
	b := stream.NewBuilder()
	b.Stream[string, string]("in").GroupByKey().Count(stream.Into(h))
	d := streamtest.New(t, b)
	for _, k := range []string{"b", "a", "<b>"} {
		d.Input[string, string]("in").PipeAt(time.UnixMilli(1), k, "v")
	}
	return d.Store(h)
}

func TestJSONLinesEndAtTheFirstError(t *testing.T) {
	t.Parallel()
	if err := state.WriteJSON(broken{}, counts(t).All()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

// A store as JSON lines.
func ExampleWriteJSON() {
	if err := state.WriteJSON(os.Stdout, counts(exampleT{}).All()); err != nil {
		panic(err)
	}
	// Output:
	// {"key":"<b>","value":1}
	// {"key":"a","value":1}
	// {"key":"b","value":1}
}

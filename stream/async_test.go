package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

var errOdd = errors.New("odd")

// upper is slow work that refuses what begins with "bad".
func upper(_ context.Context, _, v string) (string, error) {
	if strings.HasPrefix(v, "bad") {
		return "", errOdd
	}
	return strings.ToUpper(v), nil
}

func TestSlowWorkGoesOnAsItsRecord(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	done, failed := b.Stream[string, string]("in").MapAsync(upper)
	done.To("out")
	failed.To("dlq")
	d := streamtest.New(t, b)
	in, out := d.Input[string, string]("in"), d.Output[string, string]("out")
	in.Pipe("a", "x")
	in.Pipe("b", "bad")
	in.Pipe("a", "y")
	out.Want(out.R("a", "X"), out.R("a", "Y"))
	dead := d.Output[[]byte, stream.Failure]("dlq").ReadAll()
	if len(dead) != 1 || string(dead[0].Key) != "b" || string(dead[0].Value.Value) != "bad" || dead[0].Value.Offset != 1 {
		t.Fatalf("dead letters: %+v", dead)
	}
}

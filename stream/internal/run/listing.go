package run

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// listPatience is how long a partition may say that it has no leader yet, or another one. A topic that was just made says
// so for a moment, and the client may hold on to what it knew for some seconds.
const listPatience = 15 * time.Second

// listPause is the time between two questions.
const listPause = 100 * time.Millisecond

// list asks for offsets, and asks again while a partition answers with an error that passes by itself. What is returned
// after listPatience holds that error.
func list(ctx context.Context, topics []string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
	for end := time.Now().Add(listPatience); ; {
		listed, err := ask(ctx, topics...)
		if err != nil || !kerr.IsRetriable(listed.Error()) || time.Now().After(end) {
			return listed, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(listPause):
		}
	}
}

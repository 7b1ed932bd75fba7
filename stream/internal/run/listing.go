package run

import (
	"context"
	"errors"
	"fmt"
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
		if err != nil {
			return listed, away(err)
		}
		if !kerr.IsRetriable(listed.Error()) || time.Now().After(end) {
			return listed, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(listPause):
		}
	}
}

// unanswered is what the brokers did not answer, and may answer later: asking again is all that is to be done about it.
type unanswered struct{ err error }

// Error is the cause's.
func (e *unanswered) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *unanswered) Unwrap() error { return e.err }

// away marks an error of a request as unanswered, unless it is a broker's final answer.
func away(err error) error {
	if refusal, ok := errors.AsType[*kerr.Error](err); err == nil || ok && !refusal.Retriable {
		return err
	}
	return &unanswered{err}
}

// patient passes on what a question came to, but for one that was not answered, as long as that does not last longer than
// limit since the time in since, which is zero as long as all is answered.
func patient(err error, since *time.Time, limit time.Duration) (answered bool, _ error) {
	if err == nil {
		*since = time.Time{}
		return true, nil
	}
	if _, ok := errors.AsType[*unanswered](err); !ok {
		return true, err
	}
	if since.IsZero() {
		*since = time.Now()
	}
	if lasts := time.Since(*since); lasts > limit {
		return false, fmt.Errorf("stream: the brokers have not answered for %s (Config.TaskTimeout is %s): %w", lasts.Round(time.Second), limit, err)
	}
	return false, nil
}

package patience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errAway = errors.New("away")
	errNo   = errors.New("no")
)

func mends(err error) bool { return errors.Is(err, errAway) }

func quiet(waited func()) *Patience { return New(slog.New(slog.DiscardHandler), waited) }

func TestPersistWaitsUntilItIsBackAndPassesAnswersOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits, tries, start := 0, 0, time.Now()
		p := quiet(func() { waits++ })
		answers := []error{errAway, errAway, errAway, errAway, errAway, errAway, errAway, errNo}
		err := p.Persist(t.Context(), "fetch", mends, func() error { tries++; return answers[tries-1] })
		if !errors.Is(err, errNo) || waits != 7 {
			t.Errorf("%v after %d waits", err, waits)
		}
		if took := time.Since(start); took != 100*63*time.Millisecond+5*time.Second {
			t.Errorf("pauses of %s in all", took)
		}
	})
}

func TestAttemptEndsAfterItsNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		if err := quiet(func() {}).Attempt(t.Context(), "delete", 3, func() error { tries++; return errAway }); !errors.Is(err, errAway) || tries != 3 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

// A task's context does not end with the role; waiting must.
func TestRoleThatEndsIsNotHeldByAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := quiet(func() {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := p.Run(ctx, 10*time.Second, func(context.Context) error {
			return p.Persist(context.Background(), "fetch", mends, func() error { return errAway })
		})
		if err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestCallsHaveGraceWhenTheRoleEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := quiet(func() {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := p.Run(ctx, 10*time.Second, func(context.Context) error {
			call, done := p.Scope(context.Background())
			defer done()
			<-call.Done()
			return context.Cause(call)
		})
		if err != nil || time.Since(start) != 70*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestFailureOfTheRoleIsNotHidden(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if err := quiet(func() {}).Run(ctx, 0, func(context.Context) error { return errNo }); !errors.Is(err, errNo) {
		t.Errorf("while it runs: %v", err)
	}
	cancel()
	if err := quiet(func() {}).Run(ctx, 0, func(ctx context.Context) error { return fmt.Errorf("commit: %w", ctx.Err()) }); err != nil {
		t.Errorf("the end itself is taken for a failure: %v", err)
	}
	if err := quiet(func() {}).Run(ctx, 0, func(context.Context) error { return errNo }); !errors.Is(err, errNo) {
		t.Errorf("while it stops: %v", err)
	}
}

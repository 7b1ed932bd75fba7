package run

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// answers is a cluster whose partition answers so, one after the other, and then stays with the last.
func answers(errs ...error) (ask func(context.Context, ...string) (kadm.ListedOffsets, error), asked *int) {
	asked = new(int)
	return func(context.Context, ...string) (kadm.ListedOffsets, error) {
		err := errs[min(*asked, len(errs)-1)]
		*asked++
		return kadm.ListedOffsets{"t": {0: {Topic: "t", Offset: 7, Err: err}}}, nil
	}, asked
}

func TestListingWaitsForALeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ask, asked := answers(kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, nil)
		listed, err := list(t.Context(), []string{"t"}, ask)
		if o, ok := listed.Lookup("t", 0); err != nil || !ok || o.Err != nil || o.Offset != 7 || *asked != 3 {
			t.Errorf("after %d questions: %+v %v", *asked, listed, err)
		}
	})
}

func TestListingGivesUpOnWhatDoesNotPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ask, asked := answers(kerr.TopicAuthorizationFailed)
		if listed, err := list(t.Context(), nil, ask); err != nil || *asked != 1 || !errors.Is(listed.Error(), kerr.TopicAuthorizationFailed) {
			t.Errorf("after %d questions: %+v %v", *asked, listed, err)
		}
		begun := time.Now()
		ask, _ = answers(kerr.NotLeaderForPartition)
		if listed, err := list(t.Context(), nil, ask); err != nil || !errors.Is(listed.Error(), kerr.NotLeaderForPartition) || time.Since(begun) < listPatience {
			t.Errorf("after %s: %+v %v", time.Since(begun), listed, err)
		}
	})
}

func TestListingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ask, _ := answers(kerr.NotLeaderForPartition)
	if _, err := list(ctx, nil, ask); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

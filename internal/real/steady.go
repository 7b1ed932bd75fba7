package real

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Steady waits until a classic group of so many members, each with a share of the partitions, shares nothing out any more: for
// tests that depend on who works on what.
func Steady(ctx context.Context, tb testing.TB, admin *kadm.Client, group string, members int) {
	tb.Helper()
	for same, last := 0, []string(nil); same < 5; {
		described, err := admin.DescribeGroups(ctx, group)
		if err != nil && !kerr.IsRetriable(err) && ctx.Err() == nil {
			tb.Fatal(err)
		}
		g := described[group] // nothing, while there is no coordinator
		now := []string{g.State}
		for _, m := range g.Members {
			mine, _ := m.Assigned.AsConsumer()
			if mine == nil || len(mine.Topics) == 0 {
				same = -1 // it waits for its share
				continue
			}
			now = append(now, fmt.Sprint(m.MemberID, mine.Topics))
		}
		if same++; !slices.Equal(now, last) || g.State != "Stable" || len(g.Members) != members {
			same = 0
		}
		last = now
		select {
		case <-ctx.Done():
			tb.Fatalf("group %s is %s with %d members", group, g.State, len(g.Members))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

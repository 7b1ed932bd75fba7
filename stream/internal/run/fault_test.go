package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTheErrorTable says what follows from each error, at each step, under both guarantees.
func TestTheErrorTable(t *testing.T) {
	t.Parallel()
	all := []step{sending, flushing, committing, concluding}
	for _, c := range []struct {
		err            error
		at             []step
		once, leastOne verdict
	}{
		{kerr.TopicAuthorizationFailed, all, final, final},
		{kerr.GroupAuthorizationFailed, all, final, final},
		{kerr.ClusterAuthorizationFailed, all, final, final},
		{kerr.TransactionalIDAuthorizationFailed, all, final, final},
		{kerr.SaslAuthenticationFailed, all, final, final},
		{kerr.UnsupportedVersion, all, final, final},
		{kerr.InvalidTopicException, all, final, final},
		{kerr.OffsetMetadataTooLarge, all, final, final},
		{kerr.InvalidTransactionTimeout, all, final, final},
		{kerr.ProducerFenced, all, fenced, fenced},
		{kerr.InvalidProducerEpoch, all, undone, fenced},
		{kerr.InvalidProducerIDMapping, all, undone, fenced},
		{kerr.OutOfOrderSequenceNumber, all, undone, fenced},
		{kerr.UnknownProducerID, all, undone, fenced},
		{kerr.IllegalGeneration, all, moved, moved},
		{kerr.UnknownMemberID, all, moved, moved},
		{kerr.FencedInstanceID, all, final, final},
		{kerr.StaleMemberEpoch, all, moved, moved},
		{kerr.FencedMemberEpoch, all, moved, moved},
		{errMoved, all, moved, moved},
		{kerr.RebalanceInProgress, all, again, again},
		{kerr.MessageTooLarge, []step{sending}, final, final},
		{kerr.InvalidRecord, []step{sending}, final, final},
		{kerr.InvalidTimestamp, []step{sending}, final, final},
		{kerr.PolicyViolation, []step{sending}, final, final},
		{kerr.TransactionAbortable, all[1:], undone, final},
		{kerr.OperationNotAttempted, all[1:], undone, final},
		{kerr.InvalidTxnState, all[1:], undone, final},
		{kerr.UnknownServerError, all[1:], undone, final},
		{kerr.CoordinatorNotAvailable, all[1:], undone, again},
		{kerr.CoordinatorLoadInProgress, all[1:], undone, again},
		{kerr.NotCoordinator, all[1:], undone, again},
		{kerr.ConcurrentTransactions, all[1:], undone, final},
		{kerr.UnknownTopicOrPartition, all[1:], undone, again},
		{context.DeadlineExceeded, all[1:], undone, again},
		{io.EOF, all[1:], undone, again},
		{kerr.CoordinatorNotAvailable, []step{sending}, undone, final},
		{io.EOF, []step{sending}, undone, fenced},
		{context.DeadlineExceeded, []step{sending}, undone, fenced},
		{kgo.ErrRecordTimeout, []step{sending}, undone, fenced},
		{kgo.ErrAborting, []step{sending}, undone, fenced},
		{kgo.ErrClientClosed, all, final, final},
	} {
		for _, at := range c.at {
			err := fmt.Errorf("wrapped: %w", c.err)
			if got := judge(at, err, true); got != c.once {
				t.Errorf("%v at %q, exactly once: %s, want %s", c.err, at, got, c.once)
			}
			if got := judge(at, err, false); got != c.leastOne {
				t.Errorf("%v at %q, at least once: %s, want %s", c.err, at, got, c.leastOne)
			}
		}
	}
}

// TestErrorsOfUsersAreNoTrouble: a processor may well fail with an error of Kafka's.
func TestErrorsOfUsersAreNoTrouble(t *testing.T) {
	t.Parallel()
	var th thread
	if err := th.settle(t.Context(), kerr.UnknownMemberID); !errors.Is(err, kerr.UnknownMemberID) {
		t.Errorf("got %v", err)
	}
}

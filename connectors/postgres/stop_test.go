package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

func TestStopDoesNotWaitForKafka(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	k.send(changes.MembersChanges, join("a"))
	stop := start(t, k, s, changes.MembersChanges)
	eventually(t, "1", func() string { return s.text(members) })
	k.client.Close()
	k.cluster.Close() // the brokers are gone for good
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- stop() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("Run has not returned after 20 s")
	}
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/internal/topics"
)

// parts checks that what the story stands on is as declared.
func (s *story) parts(ctx context.Context) error {
	s.rep.check("topics are as deploy/topics.yaml declares them", func() (string, error) {
		spec, err := topics.Load("")
		if err != nil {
			return "", err
		}
		found, err := topics.Drift(ctx, kadm.NewClient(s.kafka), spec, topics.Options{Replication: s.in.Config.Kafka.Replication})
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return "", fmt.Errorf("%d differences, the first: %v", len(found), found[0])
		}
		return "", nil
	})
	s.rep.check("every login can do what is declared and nothing more", func() (string, error) {
		policy, err := access.Load("")
		if err != nil {
			return "", err
		}
		r, err := access.Verify(ctx, policy, install.AccessOptions(s.in.Config, s.o.Log))
		if err != nil {
			return "", err
		}
		if !r.OK() {
			return "", fmt.Errorf("%s", r)
		}
		return fmt.Sprintf("%d cases tried by logging in", len(r.Results)), nil
	})
	s.rep.check("the archive promises immutability", func() (string, error) {
		p, err := s.blobs.container(s.in.Config.Blob.Containers.Archive).GetProperties(ctx, nil)
		if err != nil {
			return "", err
		}
		if p.IsImmutableStorageWithVersioningEnabled == nil || !*p.IsImmutableStorageWithVersioningEnabled {
			return "", errors.New("the container has no version-level immutability")
		}
		return "", nil
	})
	s.rep.check("the API is ready, with each dependency by name", func() (string, error) {
		return "", await(ctx, 30*time.Second, func() error {
			ans, err := s.api.get(ctx, "/readyz")
			if err != nil {
				return err
			}
			return ans.want(http.StatusOK)
		})
	})
	return ctx.Err()
}

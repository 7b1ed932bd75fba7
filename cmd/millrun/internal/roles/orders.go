package roles

import (
	"context"
	"time"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
)

// orders has one applier for each change topic, each with the login of the team that owns the topic.
func (s *Set) orders(context.Context) ([]role, error) {
	var roles []role
	for _, topic := range changes.Topics() {
		owner, _ := changes.Owner(topic)
		cred := s.Config.Database.Credentials[string(owner)]
		dsn, err := access.LoginURL(s.Config.Database.URL, cred.User, cred.Password)
		if err != nil {
			return nil, err
		}
		a, err := postgres.NewApplier(postgres.Config{
			Topic: topic, Kafka: s.kafka(), DSN: dsn, InstanceID: s.instance(topic), Clock: s.Clock, Stamp: s.stamp(), Metrics: s.metrics, Log: s.Log,
		})
		if err != nil {
			return nil, err
		}
		s.depend("orders "+topic, func(context.Context) error { return a.Ready() })
		roles = append(roles, role{name: topic, run: func(ctx context.Context, ready func()) error {
			return whileReadying(ctx, a.Run, a.Ready, ready)
		}})
	}
	return roles, nil
}

// whileReadying runs something that tells by asking whether it is at work, and asks until it is.
func whileReadying(ctx context.Context, run func(context.Context) error, ask func() error, ready func()) error {
	asking, stop := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ask() != nil {
			select {
			case <-asking.Done():
				return
			case <-tick.C:
			}
		}
		ready()
	}()
	defer func() { stop(); <-asked }()
	return run(ctx)
}

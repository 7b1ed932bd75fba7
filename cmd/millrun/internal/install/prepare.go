package install

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/internal/config"
	"github.com/millrun/millrun/internal/loopback"
	"github.com/millrun/millrun/internal/topics"
)

// prepare applies topics and access, as an operator does elsewhere by the commands of these names.
func (i *Installation) prepare(ctx context.Context, log *slog.Logger) error {
	if err := applyTopics(ctx, i.Config); err != nil {
		return err
	}
	policy, err := access.Load("")
	if err != nil {
		return err
	}
	if _, err := access.Apply(ctx, policy, AccessOptions(i.Config, log)); err != nil {
		return fmt.Errorf("install: access: %w", err)
	}
	return nil
}

// AccessOptions are the options of package access that a configuration stands for.
func AccessOptions(c *config.Config, log *slog.Logger) access.Options {
	passwords := map[string]string{}
	for _, cred := range c.Database.Credentials {
		passwords[cred.User] = cred.Password
	}
	return access.Options{AdminURL: c.Database.Admin, Passwords: passwords, Currency: c.Shop.Currency, Log: log}
}

func applyTopics(ctx context.Context, c *config.Config) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...))
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	defer cl.Close()
	spec, err := topics.Load("")
	if err != nil {
		return err
	}
	admin := kadm.NewClient(cl)
	plan, err := topics.MakePlan(ctx, admin, spec, topics.Options{Replication: c.Kafka.Replication})
	if err != nil {
		return err
	}
	return topics.Apply(ctx, admin, plan)
}

// freeAddr is a loopback address with the port, or with a free one. The port is free at this moment; who listens on it
// later may find it taken, and says so.
func freeAddr(port int) (string, error) {
	if port == 0 {
		ports, err := loopback.FreePorts(1)
		if err != nil {
			return "", fmt.Errorf("install: %w", err)
		}
		port = ports[0]
	}
	return loopback.Addr(port), nil
}

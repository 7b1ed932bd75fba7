package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/config"
	"github.com/millrun/millrun/internal/topics"
)

// topicsCommand keeps Kafka's topics as the file says.
type topicsCommand struct {
	Plan  topicsPlan  `cmd:"" help:"Show what apply would change."`
	Apply topicsApply `cmd:"" help:"Make topics and configurations as the file says."`
	Drift topicsDrift `cmd:"" help:"Show what differs; exit code 1 if anything does."`
}

// Help is the example of --help.
func (topicsCommand) Help() string { return "Example:\n  millrun topics apply --dir .millrun" }

// topicsFlags are those of all three.
type topicsFlags struct {
	inDir

	File        string `help:"Topics as YAML. Default: deploy/topics.yaml as built in." placeholder:"FILE" type:"existingfile"`
	Replication int    `help:"Bound on the replication factor, for clusters with fewer brokers than the file asks for." placeholder:"N"`
}

// with calls f with a client of the configured cluster.
func (t topicsFlags) with(c *cli, f func(*kadm.Client, topics.Spec, topics.Options) error) error {
	cfg, err := c.load(t.Dir)
	if err != nil {
		return err
	}
	if err := cfg.Require(config.PartKafka); err != nil {
		return err
	}
	spec, err := topics.Load(t.File)
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Kafka.Brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	o := topics.Options{Replication: cfg.Kafka.Replication}
	if t.Replication > 0 {
		o.Replication = t.Replication
	}
	return f(kadm.NewClient(cl), spec, o)
}

// topicsPlan shows a plan.
type topicsPlan struct{ topicsFlags }

// Run prints the plan.
func (t *topicsPlan) Run(ctx context.Context, c *cli) error {
	return t.with(c, func(cl *kadm.Client, spec topics.Spec, o topics.Options) error {
		p, err := topics.MakePlan(ctx, cl, spec, o)
		if err != nil {
			return err
		}
		fmt.Print(p)
		return nil
	})
}

// topicsApply carries a plan out.
type topicsApply struct{ topicsFlags }

// Run prints the plan and applies it.
func (t *topicsApply) Run(ctx context.Context, c *cli) error {
	return t.with(c, func(cl *kadm.Client, spec topics.Spec, o topics.Options) error {
		p, err := topics.MakePlan(ctx, cl, spec, o)
		if err != nil {
			return err
		}
		fmt.Print(p)
		return topics.Apply(ctx, cl, p)
	})
}

// topicsDrift compares.
type topicsDrift struct{ topicsFlags }

// Run prints the differences.
func (t *topicsDrift) Run(ctx context.Context, c *cli) error {
	return t.with(c, func(cl *kadm.Client, spec topics.Spec, o topics.Options) error {
		differences, err := topics.Drift(ctx, cl, spec, o)
		if err != nil {
			return err
		}
		for _, d := range differences {
			fmt.Println(d)
		}
		if len(differences) > 0 {
			return errors.New("the cluster differs from the file; millrun topics plan shows the way back")
		}
		return nil
	})
}

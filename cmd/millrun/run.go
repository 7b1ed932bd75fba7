package main

import (
	"context"

	"github.com/millrun/millrun/cmd/millrun/internal/roles"
)

// runCommand is one process of the pipeline.
type runCommand struct {
	inDir

	Roles               []string `arg:"" enum:"api,feed,worker,archive,purge,analytics,orders" help:"Roles to run: ${enum}."`
	AllowMutableArchive bool     `help:"Accept an archive container that cannot promise immutability."`
}

// Help is the example of --help.
func (runCommand) Help() string {
	return "Example:\n  millrun run worker archive --config /etc/millrun/config.yaml"
}

// Run works until it is interrupted, then drains.
func (r *runCommand) Run(ctx context.Context, c *cli) error {
	cfg, err := c.load(r.Dir)
	if err != nil {
		return err
	}
	cfg.Blob.AllowMutable = cfg.Blob.AllowMutable || r.AllowMutableArchive
	clk, err := clockOf(cfg)
	if err != nil {
		return err
	}
	set := &roles.Set{Config: cfg, Clock: clk, Log: c.log()}
	return set.Run(ctx, r.Roles, nil)
}

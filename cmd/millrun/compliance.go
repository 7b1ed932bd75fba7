package main

import (
	"context"
	"fmt"

	"github.com/millrun/millrun/cmd/millrun/internal/roles"
)

// complianceCommand proves the purge.
type complianceCommand struct {
	Verify complianceVerify `cmd:"" help:"Check the ledger's chain against what the storage really holds."`
}

// Help is the example of --help.
func (complianceCommand) Help() string { return "Example:\n  millrun compliance verify --dir .millrun" }

// complianceVerify checks once.
type complianceVerify struct{ inDir }

// Run prints the counts; a broken chain, or an image that is still there, makes the exit code 1.
func (v *complianceVerify) Run(ctx context.Context, c *cli) error {
	cfg, err := c.load(v.Dir)
	if err != nil {
		return err
	}
	clk, err := clockOf(cfg)
	if err != nil {
		return err
	}
	r, err := roles.VerifyCompliance(ctx, cfg, clk)
	fmt.Printf("ledger lines %d, stored %d, purged %d, on hold %d, still open %d, overdue %d\n", r.Lines, r.Stored, r.Purged, r.Held, r.Open, r.Overdue)
	return err
}

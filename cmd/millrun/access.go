package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/internal/config"
)

// accessCommand keeps the database's rights as the file says.
type accessCommand struct {
	Plan   accessPlan   `cmd:"" help:"Show the SQL that apply would run."`
	Apply  accessApply  `cmd:"" help:"Make schema, roles, logins and rights as the file says."`
	Verify accessVerify `cmd:"" help:"Log in as every role and try what it may do and what it may not."`
	Matrix accessMatrix `cmd:"" help:"Print who may do what, as Markdown, from the database's catalogue."`
}

// Help is the example of --help.
func (accessCommand) Help() string { return "Example:\n  millrun access verify --dir .millrun" }

// accessFlags are those of all four.
type accessFlags struct {
	inDir

	File string `help:"Access as YAML. Default: deploy/access.yaml as built in." placeholder:"FILE" type:"existingfile"`
}

// open reads the policy and how to reach the database as its superuser.
func (a accessFlags) open(c *cli) (*access.Policy, access.Options, error) {
	cfg, err := c.load(a.Dir)
	if err != nil {
		return nil, access.Options{}, err
	}
	if err := cfg.Require(config.PartAdmin); err != nil {
		return nil, access.Options{}, err
	}
	p, err := access.Load(a.File)
	if err != nil {
		return nil, access.Options{}, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	return p, install.AccessOptions(cfg, c.log()), nil
}

// accessPlan shows SQL.
type accessPlan struct{ accessFlags }

// Run prints the statements.
func (a *accessPlan) Run(ctx context.Context, c *cli) error {
	p, o, err := a.open(c)
	if err != nil {
		return err
	}
	changes, err := access.Plan(ctx, p, o)
	if err != nil {
		return err
	}
	fmt.Print(changes)
	return nil
}

// accessApply runs SQL.
type accessApply struct{ accessFlags }

// Run applies the policy and prints what it did.
func (a *accessApply) Run(ctx context.Context, c *cli) error {
	p, o, err := a.open(c)
	if err != nil {
		return err
	}
	changes, err := access.Apply(ctx, p, o)
	if err != nil {
		return err
	}
	fmt.Print(changes)
	return nil
}

// accessVerify proves the rights.
type accessVerify struct{ accessFlags }

// Run prints a line for each case; one that fails makes the exit code 1.
func (a *accessVerify) Run(ctx context.Context, c *cli) error {
	p, o, err := a.open(c)
	if err != nil {
		return err
	}
	report, err := access.Verify(ctx, p, o)
	if err != nil {
		return err
	}
	fmt.Print(report)
	if !report.OK() {
		return errors.New("access differs from what is declared")
	}
	return nil
}

// accessMatrix prints the rights.
type accessMatrix struct{ accessFlags }

// Run prints the matrix.
func (a *accessMatrix) Run(ctx context.Context, c *cli) error {
	p, o, err := a.open(c)
	if err != nil {
		return err
	}
	text, err := access.Matrix(ctx, p, o)
	if err != nil {
		return err
	}
	fmt.Print(text)
	return nil
}

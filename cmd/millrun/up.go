package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/cmd/millrun/internal/roles"
)

// upCommand is an installation on a laptop.
type upCommand struct {
	Dir          string `default:".millrun" help:"Folder that keeps everything." placeholder:"DIR" type:"path"`
	HTTPPort     int    `help:"Port of the API. Default: a free one." placeholder:"PORT"`
	KafkaPort    int    `help:"Port of embedded Kafka. Default: a free one." placeholder:"PORT"`
	BlobPort     int    `help:"Port of embedded Blob storage. Default: a free one." placeholder:"PORT"`
	PostgresPort int    `help:"Port of embedded PostgreSQL. Default: a free one." placeholder:"PORT"`
}

// Help is the example of --help.
func (upCommand) Help() string {
	return "Example:\n  millrun up --dir .millrun\n\nOther commands then take --dir .millrun, or --config .millrun/config.yaml."
}

// Run keeps everything up until it is interrupted.
func (u *upCommand) Run(ctx context.Context, c *cli) error {
	log := c.log()
	i, err := install.Start(ctx, install.Options{
		Dir: u.Dir, Tenants: []string{"demo", "other"}, Log: log,
		HTTPPort: u.HTTPPort, KafkaPort: u.KafkaPort, BlobPort: u.BlobPort, PostgresPort: u.PostgresPort,
		Sample: true,
	})
	if err != nil {
		return err
	}
	set := &roles.Set{Config: i.Config, Clock: i.Clock, Log: log}
	err = set.Run(ctx, roles.All(), func() error {
		if err := i.WriteConnection(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "ready: %s, details in %s/%s, Ctrl-C stops\n", i.Connection.HTTPURL, i.Dir, install.ConnectionFile)
		return nil
	})
	return errors.Join(err, i.Close())
}

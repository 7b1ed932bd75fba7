package main

import (
	"context"
	"fmt"
	"os"

	"github.com/millrun/millrun/cmd/millrun/internal/demo"
	"github.com/millrun/millrun/internal/config"
)

// demoCommand tells the story.
type demoCommand struct {
	Once   bool     `help:"Exit after the story: 0 if every check held, else 1."`
	Images []string `help:"Folder with pictures; may be given several times. Default: drawn ones." placeholder:"DIR" type:"existingdir"`
	Real   bool     `help:"Use the brokers and the database of the configuration, such as those of make real."`
	Report string   `help:"Write the checks and counts as JSON." placeholder:"FILE" type:"path"`
	Dir    string   `default:".millrun-demo" help:"The demo's own folder; it is emptied at start." placeholder:"DIR" type:"path"`
}

// Help is the example of --help.
func (demoCommand) Help() string { return "Example:\n  millrun demo --once --images ~/Pictures" }

// Run tells the story on stdout; the log of the roles goes to stderr.
func (d *demoCommand) Run(ctx context.Context, c *cli) error {
	o := demo.Options{Dir: d.Dir, Images: d.Images, Once: d.Once, Report: d.Report, Out: os.Stdout, Log: c.log()}
	if d.Real {
		cfg, err := c.load("")
		if err != nil {
			return err
		}
		if err := cfg.Require(config.PartKafka, config.PartAdmin); err != nil {
			return fmt.Errorf("--real: %w", err)
		}
		o.Real = cfg
	}
	return demo.Run(ctx, o)
}

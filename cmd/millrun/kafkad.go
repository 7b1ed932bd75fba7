package main

import (
	"context"
	"fmt"
	"os"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/kafkad"
)

// kafkadCommand is embedded Kafka on its own.
type kafkadCommand struct {
	Data string `help:"Folder that keeps records and offsets. Default: none, everything is in memory." placeholder:"DIR" type:"path"`
	Port int    `default:"9092" help:"Port on loopback; 0 takes a free one."`
}

// Help is the example of --help, and what embedded Kafka is not.
func (kafkadCommand) Help() string {
	return "Example:\n  millrun kafkad --data .kafka --port 9092\n\n" + kafkad.Limits()
}

// Run serves until it is interrupted.
func (k *kafkadCommand) Run(ctx context.Context, c *cli) error {
	s, err := kafkad.Start(ctx, kafkad.Config{Dir: k.Data, Port: k.Port, Clock: clock.System{}, Log: c.log()})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "ready: Kafka on %v, Ctrl-C stops\n", s.Brokers())
	<-ctx.Done()
	return s.Close()
}

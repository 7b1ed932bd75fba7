// Command millrun is the image and order pipeline: its roles, its embedded parts and its tools in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/millrun/millrun/internal/config"
)

// version is set by the linker.
var version = "unknown"

// cli is the command line. Every command is a type of its own with a Run method, in a file named after it.
type cli struct {
	Config    string `env:"MILLRUN_CONFIG" help:"YAML file with the configuration." placeholder:"FILE" short:"c" type:"path"`
	LogFormat string `default:"text" enum:"text,json" env:"MILLRUN_LOG_FORMAT" help:"Format of the log on stderr: ${enum}."`
	LogLevel  string `default:"info" enum:"debug,info,warn,error" env:"MILLRUN_LOG_LEVEL" help:"Lowest level that is logged: ${enum}."`

	Demo       demoCommand       `cmd:"" help:"Tell the whole story on embedded parts and check each step."`
	Up         upCommand         `cmd:"" help:"Keep all embedded parts and all roles running on this machine."`
	Run        runCommand        `cmd:"" help:"Run one or more roles."`
	Clock      clockCommand      `cmd:"" help:"Show or move the clock of an installation on embedded parts."`
	Blobd      blobdCommand      `cmd:"" help:"Serve the embedded Blob storage alone."`
	Kafkad     kafkadCommand     `cmd:"" help:"Serve the embedded Kafka alone."`
	Topics     topicsCommand     `cmd:"" help:"Compare Kafka's topics with deploy/topics.yaml, or make them so."`
	Access     accessCommand     `cmd:"" help:"Compare database access with deploy/access.yaml, make it so, or prove it."`
	Compliance complianceCommand `cmd:"" help:"Prove that what had to go is gone."`
	Upload     uploadCommand     `cmd:"" help:"Send images to the API."`
	Changes    changesCommand    `cmd:"" help:"Publish change events under a team's credentials."`
	Step       stepCommand       `cmd:"" help:"Sample of a processing step, run by the worker as a process of its own." hidden:""`
	Version    versionCommand    `cmd:"" help:"Show version, commit and Go version."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run is main with an exit code: 0 done, 1 failed, 2 wrong usage or configuration.
func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("millrun"), kong.Description("Kafka Streams for Go, and an image and order pipeline built with it."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Summary: true}), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(os.Stderr, "millrun:", err)
		return 1
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "millrun: %v\nSee millrun --help.\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	return exitCode(k.Run(&c))
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, config.ErrInvalid), errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "millrun:", err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "millrun:", strings.TrimSpace(err.Error()))
		return 1
	}
}

// errUsage is behind errors of the command line that the parser cannot see.
var errUsage = errors.New("wrong usage")

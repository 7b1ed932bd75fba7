// Command real starts and stops the real components that Millrun is tested against: Apache Kafka, Azurite, PostgreSQL.
//
//	real start  --dir .millrun-real [--parts kafka,azurite,postgres]
//	real status --dir .millrun-real
//	real stop   --dir .millrun-real
//	real test -- go test ./...
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/millrun/millrun/internal/real"
)

// commands are what the program does; each is a method Run.
type commands struct {
	Start  startCommand  `cmd:"" help:"Start the components in the background; writes DIR/real.json and DIR/config.yaml."`
	Stop   stopCommand   `cmd:"" help:"Stop the components of DIR; their data stay."`
	Status statusCommand `cmd:"" help:"Show the components of DIR; exit 1 when none run."`
	Test   testCommand   `cmd:"" help:"Run a test command with shared components, and stop them at its end."`

	Supervise superviseCommand `cmd:"" help:"Own the components until told to stop." hidden:""`
}

type dirFlag struct {
	Dir string `default:".millrun-real" help:"Folder for data, logs and configuration."`
}

type startCommand struct {
	dirFlag

	Parts string `help:"Comma-separated parts. Default: all."`
}

// Run starts the stack.
func (c *startCommand) Run(ctx context.Context, log *slog.Logger) error {
	parts, err := real.ParseParts(c.Parts)
	if err != nil {
		return err
	}
	s, err := real.Start(ctx, real.Options{Dir: c.Dir, Parts: parts, Log: log})
	if err != nil {
		return err
	}
	show(c.Dir, s)
	return nil
}

type stopCommand struct{ dirFlag }

// Run stops the stack.
func (c *stopCommand) Run(ctx context.Context) error { return real.Stop(ctx, c.Dir) }

type statusCommand struct{ dirFlag }

// Run shows the stack.
func (c *statusCommand) Run() error {
	s, err := real.Status(c.Dir)
	if err != nil {
		return err
	}
	show(c.Dir, s)
	return nil
}

type testCommand struct {
	Command []string `arg:"" help:"The command, after --." passthrough:""`
}

// Run runs the tests.
func (c *testCommand) Run(ctx context.Context) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	return real.RunTests(ctx, command, os.Stderr)
}

type superviseCommand struct {
	dirFlag

	Parts  string `help:"Comma-separated parts."`
	Leased bool   `help:"End when no process holds a lease."`
}

// Run owns the stack until a signal.
func (c *superviseCommand) Run(ctx context.Context, log *slog.Logger) error {
	parts, err := real.ParseParts(c.Parts)
	if err != nil {
		return err
	}
	return real.Supervise(ctx, c.Dir, parts, c.Leased, log)
}

// show names what runs; the database's URL holds a password and is therefore not shown.
func show(dir string, s *real.Stack) {
	for _, p := range real.Parts() {
		e, ok := s.Parts[p]
		if !ok {
			continue
		}
		where := strings.Join(e.Brokers, ",")
		fmt.Printf("%-18s pid %d %s\n", p.Title(), e.PID, where)
	}
	fmt.Printf("configuration: %s/config.yaml\n", strings.TrimSuffix(dir, "/"))
}

func main() { os.Exit(run()) }

// run is main with an exit code; that of a test command is passed on.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(&c, kong.Description("The real components that Millrun is tested against, without Docker."))
	k.BindTo(ctx, (*context.Context)(nil))
	err := k.Run(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return 1
}

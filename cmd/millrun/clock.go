package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/internal/clock"
)

// clockCommand moves time for everything in an installation on embedded parts.
type clockCommand struct {
	Show    clockShow    `cmd:"" help:"Show the installation's time and how far it is ahead."`
	Advance clockAdvance `cmd:"" help:"Move the clock forward; what becomes due is done within 60 s."`
}

// Help is the example of --help.
func (clockCommand) Help() string {
	return "Example:\n  millrun clock advance 7d12h --dir .millrun"
}

// clockDir is the flag of both commands; only an installation has a clock that moves.
type clockDir struct {
	Dir string `default:".millrun" help:"Folder of the installation." placeholder:"DIR" type:"path"`
}

// open refuses a folder that millrun up or demo did not make: elsewhere nobody moves the time.
func (d clockDir) open() (*clock.File, error) {
	if _, err := os.Stat(filepath.Join(d.Dir, install.ConfigFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s holds no installation on embedded parts, and no other clock can be moved", errUsage, d.Dir)
	}
	return clock.OpenFile(filepath.Join(d.Dir, install.ClockFile))
}

// clockShow prints the time.
type clockShow struct{ clockDir }

// Run prints the time in UTC and the offset.
func (c *clockShow) Run() error {
	f, err := c.open()
	if err != nil {
		return err
	}
	fmt.Printf("%s (%s ahead)\n", f.Now().UTC().Format(time.RFC3339), f.Offset())
	return nil
}

// clockAdvance moves the time.
type clockAdvance struct {
	clockDir

	Duration string `arg:"" help:"How far, as 90m, 36h or 7d12h."`
}

// Run moves the clock and prints the new time.
func (c *clockAdvance) Run() error {
	d, err := parseDays(c.Duration)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	f, err := c.open()
	if err != nil {
		return err
	}
	if _, err := f.Advance(d); err != nil {
		return err
	}
	fmt.Printf("%s (%s ahead)\n", f.Now().UTC().Format(time.RFC3339), f.Offset())
	return nil
}

// parseDays is time.ParseDuration that also knows days, as a leading number and d.
func parseDays(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration; write 90m, 36h or 7d12h", s)
	}
	d := time.Duration(n * 24 * float64(time.Hour))
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}

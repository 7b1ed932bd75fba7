package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/config"
)

// inDir is the flag of every command that can work on an installation made by `millrun up`.
type inDir struct {
	Dir string `help:"Folder of an installation made by millrun up; its config.yaml is used." placeholder:"DIR" type:"path"`
}

// load reads the configuration that --config or --dir names, and the environment.
func (c *cli) load(dir string) (*config.Config, error) {
	path := c.Config
	if dir != "" {
		if path != "" {
			return nil, fmt.Errorf("%w: give --config or --dir, not both", errUsage)
		}
		path = filepath.Join(dir, install.ConfigFile)
	}
	return config.Load(path, os.Environ())
}

// log is the logger of the process, on stderr.
func (c *cli) log() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// clockOf is the installation's movable clock where the configuration belongs to one, else the machine's.
func clockOf(c *config.Config) (clock.Clock, error) {
	if c.Embedded.Dir == "" {
		return clock.System{}, nil
	}
	return clock.OpenFile(filepath.Join(c.Embedded.Dir, install.ClockFile))
}

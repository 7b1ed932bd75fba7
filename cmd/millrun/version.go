package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCommand says what this binary is.
type versionCommand struct{}

// Help is the example of --help.
func (versionCommand) Help() string { return "Example:\n  millrun version" }

// Run prints one fact a line.
func (versionCommand) Run() error {
	commit := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	fmt.Printf("millrun %s\ncommit  %s\ngo      %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

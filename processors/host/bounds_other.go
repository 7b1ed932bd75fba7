//go:build !linux

package host

import (
	"os"
	"os/exec"
)

// limitMemory does nothing here: only Linux can bound another process.
func limitMemory(int, int64) error { return nil }

// ownGroup does nothing here.
func ownGroup(*exec.Cmd) {}

// killGroup kills the program alone.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

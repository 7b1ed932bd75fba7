//go:build !linux

package child

import (
	"os/exec"
	"syscall"
)

// setDeathSignal does nothing here: only Linux ends a child with its parent.
func setDeathSignal(*exec.Cmd, syscall.Signal) {}

package host

import (
	"fmt"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitMemory bounds what a program may allocate (RLIMIT_DATA: private writable memory; the address space, of which Go
// and Java reserve much more than they use, is left alone). It is set right after the start, before the first image.
func limitMemory(pid int, bytes int64) error {
	if bytes < 0 {
		return nil
	}
	l := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &l, nil); err != nil {
		return fmt.Errorf("host: prlimit: %w", err)
	}
	return nil
}

// ownGroup puts a program and all it starts into a process group of their own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the group; one that is gone already is fine.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

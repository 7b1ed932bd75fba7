package pgd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopOrphan stops the server that a killed process of ours left running on data, and removes the note of its process
// id: PostgreSQL refuses to start when that id belongs to any living process, be it another program's by now.
// The caller holds the folder's lock, so no owner of such a server is alive.
func stopOrphan(ctx context.Context, data string) error {
	note := filepath.Join(data, "postmaster.pid")
	b, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return fmt.Errorf("pgd: %s holds no process id: %w", note, err)
	}
	if err := endOrphan(ctx, pid, data); err != nil {
		return err
	}
	if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgd: %w", err)
	}
	return nil
}

// endOrphan shuts the process down, at once when it does not listen.
func endOrphan(ctx context.Context, pid int, data string) error {
	ctx, cancel := context.WithTimeout(ctx, fastStop+hardStop)
	defer cancel()
	hurry := time.After(fastStop)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	signal := syscall.SIGINT
	for asked := false; servesData(pid, data); {
		if !asked {
			asked = true
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("pgd: stop the server that was left behind (process %d): %w", pid, err)
			}
		}
		select {
		case <-hurry:
			signal, asked = syscall.SIGQUIT, false
		case <-ctx.Done():
			return fmt.Errorf("pgd: the server that was left behind (process %d) does not stop: end it and start again", pid)
		case <-tick.C:
		}
	}
	return nil
}

// servesData says whether the process is a postmaster on data: it is a program called postgres that works in that folder.
func servesData(pid int, data string) bool {
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
		return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), data)
	}
	proc := "/proc/" + strconv.Itoa(pid)
	name, err := os.ReadFile(proc + "/comm")
	if err != nil || strings.TrimSpace(string(name)) != "postgres" {
		return false
	}
	here, err := os.Readlink(proc + "/cwd")
	return err == nil && here == data
}

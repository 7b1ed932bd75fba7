package child

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentEnv makes the test binary play a parent that starts one sleeping child, names it and waits to be killed.
const parentEnv = "MILLRUN_CHILD_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		playParent()
	}
	goleak.VerifyTestMain(m)
}

func playParent() {
	p, err := Start(exec.Command("sleep", "600"), syscall.SIGKILL)
	if err != nil {
		os.Exit(3)
	}
	os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
	<-p.Done()
	os.Exit(0)
}

func TestStopEndsTheChild(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.Command("sleep", "600"), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("the child is still there after Stop: %v", err)
	}
	if err := p.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatalf("a second Stop: %v", err)
	}
}

func TestStopKillsWhoDoesNotListen(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 600; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx, syscall.SIGTERM); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Stop of a deaf child: %v, want the deadline", err)
	}
}

func TestStartNamesAMissingProgram(t *testing.T) {
	t.Parallel()
	_, err := Start(exec.Command(filepath.Join(t.TempDir(), "nosuch")), syscall.SIGKILL)
	if err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Fatalf("error %v does not name the program", err)
	}
}

func TestChildDiesWithAKilledParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed: the exit code says nothing
	awaitGone(t, pid)
}

// awaitGone waits until no live process has the id; an unreaped one counts as gone, since init may be slow.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d outlived its killed parent", pid)
		}
	}
}

func TestExclusiveLockKeepsOthersOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "lock")
	a, err := TryLock(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path, true); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second holder: %v, want ErrLocked", err)
	}
	if err := a.Unlock(); err != nil {
		t.Fatal(err)
	}
	b, err := Lock(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := TryLock(path, true)
	if err != nil {
		t.Fatalf("two shared holders: %v", err)
	}
	if err := errors.Join(b.Unlock(), c.Unlock()); err != nil {
		t.Fatal(err)
	}
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	a, err := TryLock(path, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path, false); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want ErrLocked and the deadline", err)
	}
	if err := a.Unlock(); err != nil {
		t.Fatal(err)
	}
}

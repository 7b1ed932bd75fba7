package statedir_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/internal/statedir"
)

func open(t *testing.T, root string) *statedir.Dir {
	t.Helper()
	d, err := statedir.Open(root, "app", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func shut(t *testing.T, d *statedir.Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func claim(t *testing.T, d *statedir.Dir, name string) *statedir.Task {
	t.Helper()
	c, err := d.Claim(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("row"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestAnInstanceKeepsItsIDOverRestarts(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	id := d.Process()
	shut(t, d)
	d = open(t, root)
	defer shut(t, d)
	if len(id) != 36 || d.Process() != id {
		t.Errorf("ids %q and %q", id, d.Process())
	}
	other := open(t, t.TempDir())
	defer shut(t, other)
	if other.Process() == id {
		t.Error("two directories have the same id")
	}
}

func TestASecondOpeningIsToldWhoHoldsTheDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	_, err := statedir.Open(root, "app", slog.New(slog.DiscardHandler))
	if !errors.Is(err, statedir.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("this process (%d)", os.Getpid())) || !strings.Contains(err.Error(), "Config.StateDir") {
		t.Errorf("got %v", err)
	}
	if err := statedir.Remove(root, "app", slog.New(slog.DiscardHandler)); !errors.Is(err, statedir.ErrInUse) {
		t.Errorf("a directory in use was removed: %v", err)
	}
	shut(t, d)
	shut(t, open(t, root))
}

func TestADirectoryIsFreeOnceItsProcessIsKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = statedir.Open(root, "app", slog.New(slog.DiscardHandler))
	if !errors.Is(err, statedir.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", cmd.Process.Pid)) {
		t.Errorf("got %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	shut(t, open(t, root))
}

func TestATaskHasOneOwner(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	defer shut(t, d)
	one := claim(t, d, "0_3")
	put(t, one.Path(), "file")
	if _, err := d.Claim("0_3"); !errors.Is(err, statedir.ErrHeld) {
		t.Errorf("a task was claimed twice: %v", err)
	}
	if left := d.Left(); len(left) != 0 {
		t.Errorf("left %v while it is held", left)
	}
	one.Release()
	if left := d.Left(); !slices.Equal(left, []string{"0_3"}) {
		t.Errorf("left %v", left)
	}
	two := claim(t, d, "0_3")
	one.Release() // again: it is not its task any more
	if _, err := d.Claim("0_3"); !errors.Is(err, statedir.ErrHeld) {
		t.Errorf("a task was released by who did not hold it: %v", err)
	}
	if !exists(filepath.Join(two.Path(), "file")) {
		t.Error("what the first owner left is not there")
	}
}

func TestDirectoriesOfDepartedTasksAreDeleted(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	gone, held := claim(t, d, "0_0"), claim(t, d, "0_1")
	gone.Release()
	if names, err := d.Clean(time.Hour); err != nil || len(names) != 0 {
		t.Errorf("cleaned %v too early: %v", names, err)
	}
	if names, err := d.Clean(0); err != nil || !slices.Equal(names, []string{"0_0"}) || exists(gone.Path()) || !exists(held.Path()) {
		t.Errorf("cleaned %v: %v", names, err)
	}
	if names, err := d.Clean(0); err != nil || len(names) != 0 {
		t.Errorf("cleaned %v once more: %v", names, err)
	}
	held.Release()
	shut(t, d)
	// A deletion that was cut short goes on at the next opening; what a task left before a restart is known.
	if err := os.Mkdir(filepath.Join(root, "app", "0_2.deleted"), 0o700); err != nil {
		t.Fatal(err)
	}
	d = open(t, root)
	defer shut(t, d)
	if exists(filepath.Join(root, "app", "0_2.deleted")) || !slices.Equal(d.Left(), []string{"0_1"}) {
		t.Errorf("left %v", d.Left())
	}
}

func TestWhatIsNotUnderstoodIsRefusedOrWiped(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, file, content string
		says                string // "" opens
	}{
		{"another layout", "process.json", `{"processId":"p","version":7}`, "layout 7"},
		{"more fields", "process.json", `{"processId":"p","version":1,"more":true}`, ""},
		{"damaged", "process.json", "\x00\x00\x00", ""},
		{"empty", "process.json", "", ""},
		{"Java's", "kafka-streams-process-metadata", `{"processId":"p"}`, "belongs to Kafka Streams in Java"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			row := filepath.Join(root, "app", "0_0", "row")
			if err := os.MkdirAll(filepath.Dir(row), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Dir(row), "row")
			put(t, filepath.Join(root, "app"), "own notes")
			if err := os.WriteFile(filepath.Join(root, "app", c.file), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			d, err := statedir.Open(root, "app", slog.New(slog.NewTextHandler(&log, nil)))
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || !exists(row) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			damaged := strings.Contains(log.String(), "damaged")
			if kept := strings.Contains(c.content, "more"); exists(row) != kept || damaged == kept || (d.Process() == "p") != kept {
				t.Errorf("row kept: %v, id %q, log %s", exists(row), d.Process(), &log)
			}
			shut(t, d)
			if err := statedir.Remove(root, "app", slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
			left, err := os.ReadDir(filepath.Join(root, "app"))
			if err != nil || len(left) != 1 || left[0].Name() != "own notes" {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	if err := statedir.Remove(root, "app", quiet); err != nil {
		t.Errorf("there was nothing to remove: %v", err)
	}
	d := open(t, root)
	id := d.Process()
	c := claim(t, d, "1_2")
	put(t, c.Path(), "row")
	c.Release()
	shut(t, d)
	if err := statedir.Remove(root, "app", quiet); err != nil || exists(filepath.Join(root, "app")) {
		t.Errorf("not removed: %v", err)
	}
	d = open(t, root)
	defer shut(t, d)
	if d.Process() == id || len(d.Left()) != 0 {
		t.Error("something was kept")
	}
}

func TestADirectoryThatMayNotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := statedir.Open(file, "app", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), filepath.Join(file, "app")) {
		t.Errorf("got %v", err)
	}
}

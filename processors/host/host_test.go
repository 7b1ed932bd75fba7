package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/processors/host/step"
)

// asStep makes this test binary a step program: what it does with an image is the image's text.
const asStep = "MILLRUN_TEST_STEP"

func TestMain(m *testing.M) {
	if os.Getenv(asStep) != "" {
		if err := step.Serve(behave); err != nil {
			os.Exit(9)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func behave(q step.Request, b []byte) ([]step.Output, error) {
	switch what, arg, _ := strings.Cut(string(b), " "); what {
	case "die":
		os.Exit(3)
	case "die-once": // arg: a file that remembers
		if _, err := os.Stat(arg); err != nil {
			_ = os.WriteFile(arg, nil, 0o600)
			os.Exit(3)
		}
	case "hang":
		<-time.After(time.Hour)
	case "refuse":
		return nil, &step.RefusalError{Code: "too_dark", Message: "nothing to see"}
	case "shout":
		for range 1000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("a", 5000)+"\x1b[31m")
		}
	case "env":
		return []step.Output{{Name: "env", ContentType: "text/plain", Bytes: []byte(strings.Join(os.Environ(), "\n"))}}, nil
	case "pid":
		return []step.Output{{Name: "pid", ContentType: "text/plain", Bytes: strconv.AppendInt(nil, int64(os.Getpid()), 10)}}, nil
	case "bad-name":
		return []step.Output{{Name: "../../etc/passwd", ContentType: "text/plain"}}, nil
	case "bad-type":
		return []step.Output{{Name: "a", ContentType: "text/plain\r\nX-Evil: 1"}}, nil
	case "twice":
		return []step.Output{{Name: "a", ContentType: "text/plain"}, {Name: "a", ContentType: "text/plain"}}, nil
	case "babble":
		fmt.Println("Hello, world!")
	case "big":
		n, _ := strconv.Atoi(arg)
		return []step.Output{{Name: "big", ContentType: "text/plain", Bytes: make([]byte, n)}}, nil
	}
	return []step.Output{
		{Name: "echo", ContentType: "text/plain", Bytes: b},
		{Name: "who", ContentType: "application/json", Width: 2, Height: 3, Bytes: []byte(q.ImageID + " " + q.Step + "@" + q.Version)},
	}, nil
}

func open(t *testing.T, change func(*Step)) *Host {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := Step{Name: "echo", Version: "1", Command: []string{self}, Env: []string{asStep + "=1"}, Timeout: 20 * time.Second}
	if change != nil {
		change(&s)
	}
	h, err := New(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func say(t *testing.T, h *Host, text string) ([]step.Output, error) {
	t.Helper()
	return h.Call(t.Context(), step.Request{ImageID: "img_a", Format: "jpeg"}, []byte(text))
}

// alive says that the host still works.
func alive(t *testing.T, h *Host) {
	t.Helper()
	out, err := say(t, h, "hello")
	if err != nil || len(out) != 2 || string(out[0].Bytes) != "hello" || string(out[1].Bytes) != "img_a echo@1" || out[1].Height != 3 {
		t.Fatalf("the step no longer answers: %v %v", out, err)
	}
}

func TestOneProcessAnswersManyImages(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	alive(t, h)
	first, err := say(t, h, "pid")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		alive(t, h)
	}
	last, err := say(t, h, "pid")
	if err != nil || !bytes.Equal(first[0].Bytes, last[0].Bytes) {
		t.Errorf("process %s became %s (%v)", first[0].Bytes, last[0].Bytes, err)
	}
}

func TestPoisonCannotStopTheStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		image    string
		want     error
		attempts int
	}{
		{"die", ErrCrashed, 2},
		{"babble", ErrProtocol, 1},
		{"bad-name", ErrProtocol, 1},
		{"bad-type", ErrProtocol, 1},
		{"twice", ErrProtocol, 1},
		{"big 2000", ErrProtocol, 1},
	} {
		t.Run(strings.Fields(c.image)[0], func(t *testing.T) {
			t.Parallel()
			h := open(t, func(s *Step) { s.MaxOutput = 1000 })
			alive(t, h)
			_, err := say(t, h, c.image)
			var e *Error
			if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Attempts != c.attempts || e.Step != "echo@1" {
				t.Fatalf("%v (%+v)", err, e)
			}
			alive(t, h)
		})
	}
}

func TestStepThatHangsIsKilledAtItsDeadline(t *testing.T) {
	t.Parallel()
	h := open(t, func(s *Step) { s.Timeout = 300 * time.Millisecond })
	if _, err := say(t, h, "hang"); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	h2 := open(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("shutting down")
	time.AfterFunc(100*time.Millisecond, func() { cancel(gone) })
	_, err := h2.Call(ctx, step.Request{}, []byte("hang"))
	var e *Error
	if !errors.Is(err, gone) || errors.As(err, &e) {
		t.Errorf("a caller who leaves must not blame the step: %v", err)
	}
	alive(t, h2)
}

func TestCrashIsTriedAgainOnce(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	out, err := say(t, h, "die-once "+t.TempDir()+"/died")
	if err != nil || len(out) != 2 {
		t.Fatalf("%v %v", out, err)
	}
}

func TestRefusalIsNotTriedAgainAndKeepsTheProcess(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	before, err := say(t, h, "pid")
	if err != nil {
		t.Fatal(err)
	}
	_, err = say(t, h, "refuse")
	var e *Error
	var no *step.RefusalError
	if !errors.As(err, &e) || e.Attempts != 1 || !errors.As(err, &no) || no.Code != "too_dark" {
		t.Fatal(err)
	}
	after, err := say(t, h, "pid")
	if err != nil || !bytes.Equal(before[0].Bytes, after[0].Bytes) {
		t.Errorf("a refusal cost the process: %v", err)
	}
}

// The sample step is built for this test: the test binary itself would not do, since the race detector takes more memory
// than the bound.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "step-grayscale")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/step-grayscale").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := open(t, func(s *Step) { s.Command, s.MaxMemory = []string{program}, 64<<20 })
	photograph := func(side int) string {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	small := photograph(500)
	out, err := say(t, h, small)
	if err != nil || len(out) != 1 || out[0].Name != "grayscale" || out[0].Width != 500 {
		t.Fatalf("a small picture: %v %v", out, err)
	}
	if _, err := say(t, h, photograph(7_000)); !errors.Is(err, ErrCrashed) {
		t.Fatalf("98 MB of pixels in 64 MiB: %v", err)
	}
	if _, err := say(t, h, small); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

func TestStepSeesNothingOfTheWorkersEnvironment(t *testing.T) {
	// Not parallel: it changes the environment.
	t.Setenv("MILLRUN_BLOB_CONNECTION_STRING", "AccountKey=secret")
	h := open(t, func(s *Step) { s.Env = append(s.Env, "MODEL=7") })
	out, err := say(t, h, "env")
	if err != nil {
		t.Fatal(err)
	}
	if env := string(out[0].Bytes); strings.Contains(env, "secret") || !strings.Contains(env, "MODEL=7") || !strings.Contains(env, "PATH=") {
		t.Errorf("the step sees\n%s", env)
	}
}

func TestLogOfAStepIsBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	var b lockedBuffer
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Step{Name: "echo", Version: "1", Command: []string{self}, Env: []string{asStep + "=1"}}, slog.New(slog.NewTextHandler(&b, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := say(t, h, "shout"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if n := strings.Count(text, "step says"); n == 0 || n > linesPerMinute {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(text, "lines_dropped=88") /* 880, and what a build with coverage adds */ || strings.Contains(text, "\x1b") {
		t.Errorf("a log of %d bytes: %.300s", len(text), text)
	}
	for line := range strings.Lines(text) {
		if len(line) > lineLimit+300 {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
}

func TestCloseDrainsAndRefusesLaterCalls(t *testing.T) {
	t.Parallel()
	h := open(t, func(s *Step) { s.Processes = 3 })
	var calls sync.WaitGroup
	for range 9 {
		calls.Go(func() {
			if _, err := h.Call(context.Background(), step.Request{}, []byte("x")); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if _, err := say(t, h, "hello"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for range h.step.Processes { // the Cleanup's Close wants them back
		h.idle <- &process{step: h.step, log: h.log}
	}
}

func TestWrongStepIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for _, s := range []Step{
		{Version: "1", Command: []string{"true"}},
		{Name: "a/b", Version: "1", Command: []string{"true"}},
		{Name: "a", Version: "../1", Command: []string{"true"}},
		{Name: "a", Version: "1"},
		{Name: "a", Version: "1", Command: []string{"no-such-program-anywhere"}},
	} {
		if _, err := New(s, nil); err == nil {
			t.Errorf("%+v accepted", s)
		}
	}
}

// The program in docs/processors.md is run as it stands there.
func TestPythonStepOfTheDocumentation(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is missing")
		}
		t.Skip("python3 is missing")
	}
	doc, err := os.ReadFile("../../docs/processors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(doc), "```python\n")
	code, _, closed := strings.Cut(code, "```")
	if !found || !closed {
		t.Fatal("docs/processors.md holds no Python program")
	}
	h := open(t, func(s *Step) { s.Command = []string{python, "-c", code} })
	for range 3 {
		out, err := say(t, h, "hello")
		if err != nil || len(out) != 1 || out[0].Name != "facts" || !strings.Contains(string(out[0].Bytes), `"bytes": 5`) {
			t.Fatalf("%v %v", out, err)
		}
	}
	if _, err := say(t, h, ""); err == nil {
		t.Error("an empty image was taken")
	}
}

func FuzzOutputs(f *testing.F) {
	var b bytes.Buffer
	if err := step.WriteFrame(&b, step.Response{ID: 1, Derivatives: []step.Derivative{{Name: "a", ContentType: "text/plain", Bytes: 2}}}, []byte("hi")); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var a step.Response
		body, err := step.ReadFrame(bytes.NewReader(frame), &a, 1<<16)
		if err != nil {
			return
		}
		out, err := outputs(step.Request{ID: 1}, a, body)
		if err != nil {
			return
		}
		total := 0
		for _, o := range out {
			total += len(o.Bytes)
		}
		if total != len(body) {
			t.Fatalf("%d bytes of %d went into derivatives", total, len(body))
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

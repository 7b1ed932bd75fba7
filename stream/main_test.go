package stream_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/models"
	"github.com/millrun/millrun/stream"
)

// The variables by which a test starts its own binary as a second process that runs the word count.
const (
	workerEnv  = "MILLRUN_TEST_WORDCOUNT" // application id
	brokerEnv  = "MILLRUN_TEST_BROKER"
	linesEnv   = "MILLRUN_TEST_LINES"
	countsEnv  = "MILLRUN_TEST_COUNTS"
	threadsEnv = "MILLRUN_TEST_THREADS"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		os.Exit(worker())
	}
	models.Checks()
	goleak.VerifyTestMain(m)
}

// worker is the second process: the word count until SIGTERM. It says on standard output when it is running.
func worker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := stream.Config{ApplicationID: os.Getenv(workerEnv), Brokers: []string{os.Getenv(brokerEnv)}, CommitInterval: 200 * time.Millisecond,
		ClientOptions: []kgo.Opt{kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second)}} // the least a broker allows: a killed worker is missed sooner
	if _, err := fmt.Sscan(os.Getenv(threadsEnv), &cfg.Threads); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	app, err := stream.NewApp(countWords(stream.Topic[string, string](os.Getenv(linesEnv)), stream.Topic[string, int64](os.Getenv(countsEnv))), cfg)
	if err == nil {
		go func() {
			select {
			case <-app.Ready():
				fmt.Println("running")
			case <-ctx.Done():
			}
		}()
		err = app.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is a worker in the hands of a test.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan error
}

// process starts a worker and waits until it is running.
func (c *cluster) process(app, in, out string, threads int) *process {
	c.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+app, brokerEnv+"="+c.brokers[0], linesEnv+"="+in, countsEnv+"="+out,
		fmt.Sprintf("%s=%d", threadsEnv, threads))
	cmd.Stderr = c.t.Output()
	says, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{c.t, cmd, make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		var word string
		if _, err := fmt.Fscan(says, &word); err == nil {
			close(ready)
		}
		p.done <- cmd.Wait()
	}()
	c.t.Cleanup(p.stop)
	select {
	case <-ready:
	case err := <-p.done:
		p.done <- err
		c.t.Fatalf("the worker ended before it was running: %v", err)
	case <-time.After(patience):
		c.t.Fatalf("the worker is not running after %s", patience)
	}
	return p
}

// stop ends the worker as an operator does, and expects it to end well.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Logf("the worker is gone: %v", err)
	}
	if err := <-p.done; err != nil {
		p.t.Errorf("the worker ended with %v", err)
	}
	p.cmd = nil
}

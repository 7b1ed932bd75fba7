package real

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrun/millrun/internal/child"
)

// Part is one real component. Its value is the name on the command line.
type Part string

// The parts there are.
const (
	PartKafka    Part = "kafka"
	PartAzurite  Part = "azurite"
	PartPostgres Part = "postgres"
)

// Parts are all parts, in the order in which `make real` names them.
func Parts() []Part { return []Part{PartKafka, PartAzurite, PartPostgres} }

// Title is the part's name for people.
func (p Part) Title() string {
	switch p {
	case PartKafka:
		return "Apache Kafka " + KafkaVersion
	case PartAzurite:
		return "Azurite " + AzuriteVersion
	case PartPostgres:
		return "PostgreSQL"
	default:
		return string(p)
	}
}

// Missing says which tools of this machine the part lacks, "" when it has all.
func (p Part) Missing(ctx context.Context) string {
	var lacks []string
	for _, tool := range p.tools() {
		if _, err := exec.LookPath(tool); err != nil {
			lacks = append(lacks, tool+" not found")
		}
	}
	if len(lacks) == 0 && p == PartKafka {
		if v := javaVersion(ctx); v < kafkaJava {
			lacks = append(lacks, fmt.Sprintf("Java %d or newer needed, found %d", kafkaJava, v))
		}
	}
	return strings.Join(lacks, ", ")
}

func (p Part) tools() []string {
	switch p {
	case PartKafka:
		return []string{"java", "mvn"}
	case PartAzurite:
		return []string{"node", "npm"}
	default:
		return nil // PostgreSQL's binaries come without any tool
	}
}

var javaVersionLine = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// javaVersion is the major version of the java on PATH, 0 when it does not say.
func javaVersion(ctx context.Context) int {
	out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return 0
	}
	m := javaVersionLine.FindSubmatch(out)
	if m == nil {
		return 0
	}
	v, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return 0
	}
	return v
}

// instance is a started part. Its owner calls stop once.
type instance struct {
	endpoint Endpoint
	done     <-chan struct{} // closed when the part ended by itself
	stop     func(ctx context.Context) error
}

// startPart starts p with its data under dir, ready for use.
func startPart(ctx context.Context, p Part, dir string) (*instance, error) {
	switch p {
	case PartKafka:
		return startKafka(ctx, dir)
	case PartAzurite:
		return startAzurite(ctx, dir)
	case PartPostgres:
		return startPostgres(ctx, dir)
	default:
		return nil, fmt.Errorf("real: no part %q; there are %v", p, Parts())
	}
}

// program is a child process that logs into a file.
type program struct {
	*child.Process

	title, log string
}

// runProgram starts cmd with its output appended to the file log.
func runProgram(title string, cmd *exec.Cmd, log string) (*program, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("real: %s: %w", title, err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err := errors.Join(err, f.Close()); err != nil { // the child has its own descriptor
		return nil, fmt.Errorf("real: %s: %w", title, err)
	}
	return &program{Process: p, title: title, log: log}, nil
}

// awaitReady asks until it is answered without an error. When the program ends or ctx does, the program is stopped and
// the error carries the end of its log.
func (p *program) awaitReady(ctx context.Context, ask func(ctx context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ask(ctx); last == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("real: %s ended before it was ready (%w); its log ends:\n%s", p.title, p.Err(), tail(p.log))
		case <-ctx.Done():
			err := fmt.Errorf("real: %s is not ready: %w; its log ends:\n%s", p.title, last, tail(p.log))
			return errors.Join(err, p.Kill())
		case <-tick.C:
		}
	}
}

// end asks the program to stop, and kills it when ctx ends first.
func (p *program) end(ctx context.Context) error { return p.Stop(ctx, syscall.SIGTERM) }

// runTool runs a tool of preparation to its end; an error carries what it printed last.
func runTool(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		const most = 2000
		if len(out) > most {
			out = out[len(out)-most:]
		}
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

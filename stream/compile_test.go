package stream_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// program is what the wrong lines of testdata/compile stand in.
const program = `package main

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

type Order struct {
	Customer string
	Cents    int64
}

type Customer struct{ Name string }

const (
	orders    stream.Topic[string, Order]    = "orders"
	customers stream.Topic[string, Customer] = "customers"
	names     stream.Topic[string, string]   = "names"
)

var seen = state.KeyValue[string, int64]("seen")

// audit is a processor that forwards text.
type audit struct{}

func (*audit) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, Order]) error {
	return ctx.Emit(r.Key, r.Value.Customer)
}

func newAudit() *audit { return &audit{} }

// confused is a processor of something else than orders.
type confused struct{}

func (*confused) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, int]) error {
	return nil
}

func newConfused() *confused { return &confused{} }

func main() {
	b := stream.NewBuilder()
	_, _, _ = b, seen, names
`

// TestWrongUseDoesNotCompile shows what a user reads who puts something in the wrong place: the compiler's own words.
func TestWrongUseDoesNotCompile(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/compile", func(t *testing.T, path string) {
		t.Parallel()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "compile" {
				t.Fatalf("unknown command %q", d.Cmd)
			}
			return compile(t, d.Input)
		})
	})
}

// position is what the compiler puts before a message.
var position = regexp.MustCompile(`^.*main\.go:\d+:\d+: `)

// compile builds the program with some lines in it, in a package that is not on the disk, and returns what the compiler says.
func compile(t *testing.T, lines string) string {
	t.Helper()
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(source, []byte(program+lines+"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(here, "testdata", "wrong", "main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "-overlay", overlay, "./testdata/wrong").CombinedOutput()
	if err == nil {
		return "it compiles\n"
	}
	var said []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			said = append(said, position.ReplaceAllString(line, ""))
		}
	}
	return strings.Join(said, "")
}

// Command bench fills topics, runs stream processing libraries on the same work, and checks that each result is exact.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrun/millrun/bench/internal/gokapeer"
	"github.com/millrun/millrun/bench/internal/millrunpeer"
	"github.com/millrun/millrun/bench/internal/rawpeer"
)

const usage = `usage: bench COMMAND [flags]
  load     fill the input topics of the named workloads
  run      run peers on workloads, print a table, append to results/raw.jsonl
  table    print the table of a results file
  targets  print what the targets ask for and what a results file shows
  verify   check an output topic against the expected result
  raw      peer: plain franz-go loop           (W1 W2 W5 W6)
  goka     peer: lovoo/goka                    (W1 W2 W6)
  millrun  peer: this project's library        (W1 to W7)`

func main() {
	if os.Getenv("BENCH_DIR") == "" {
		os.Setenv("BENCH_DIR", filepath.Join(os.TempDir(), "bench")) // as the scripts do; cannot fail for this name
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	commands := map[string]func([]string) error{"load": loadMain, "run": runMain, "table": tableMain, "targets": targetsMain, "verify": verifyMain}
	switch name, args := os.Args[1], os.Args[2:]; name {
	case "raw":
		rawpeer.Main(args)
	case "goka":
		gokapeer.Main(args)
	case "millrun":
		millrunpeer.Main(args)
	default:
		command, ok := commands[name]
		if !ok {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		if err := command(args); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

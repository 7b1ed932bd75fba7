package millrunpeer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	"github.com/millrun/millrun/bench/internal/peer"
)

// profile writes a CPU profile of the run and, at its end, one of what was allocated to the directory in the environment variable
// BENCH_PROFILES; without it, nothing. Compare no times of profiled runs.
func profile(a peer.Args) (stop func(), err error) {
	dir := os.Getenv("BENCH_PROFILES")
	if dir == "" {
		return func() {}, nil
	}
	base := filepath.Join(dir, a.Workload+"-"+a.Store+"-"+a.Guarantee)
	f, err := os.Create(base + ".cpu.pprof")
	if err != nil {
		return nil, fmt.Errorf("creating the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("starting the profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "the CPU profile is not whole:", err)
		}
		writeAllocs(base + ".allocs.pprof")
	}, nil
}

func writeAllocs(path string) {
	f, err := os.Create(path)
	if err == nil {
		runtime.GC()
		err = errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profile of allocations:", err) // the run itself is as good without
	}
}

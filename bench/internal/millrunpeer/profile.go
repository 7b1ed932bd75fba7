package millrunpeer

import (
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
		_ = f.Close() // of use to whoever looks at it, or not
		writeAllocs(base + ".allocs.pprof")
	}, nil
}

func writeAllocs(path string) {
	f, err := os.Create(path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	runtime.GC()
	_ = pprof.Lookup("allocs").WriteTo(f, 0) // as above
}

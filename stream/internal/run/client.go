package run

import (
	"runtime/debug"
)

// What is measured of the instance as a whole.

func (e *Engine) labels(more ...string) []string {
	return append([]string{"application", e.app, "client", e.o.ClientID}, more...)
}

// introduce tells the registry what the metrics mean.
func (e *Engine) introduce() {
	for _, m := range Catalog() {
		e.o.Metrics.Describe(m.Name, m.Help)
	}
	e.o.Metrics.Set("millrun_stream_build_info", 1, e.labels("version", version())...)
	e.o.Metrics.Add("millrun_stream_failed_stream_threads_total", 0, e.labels()...)
}

// library is this module.
const library = "github.com/millrun/millrun"

// version is that of this library, as far as the program knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == library {
			return m.Version
		}
	}
	if info.Main.Path == library && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func (e *Engine) measureState(s State) {
	e.o.Metrics.Set("millrun_stream_state", float64(s), e.labels()...)
}

func (e *Engine) measureThreads(n int) {
	e.o.Metrics.Set("millrun_stream_alive_stream_threads", float64(n), e.labels()...)
}

func (e *Engine) measureFailure() {
	e.o.Metrics.Add("millrun_stream_failed_stream_threads_total", 1, e.labels()...)
	e.sums.add(done{errors: 1})
}

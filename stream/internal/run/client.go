package run

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
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

// announce says, once, with what the instance starts. Of what clients prove who they are with, only the kind is said.
func (e *Engine) announce() {
	attrs := append(slices.Clone(e.o.Settings), slog.String("version", version()))
	if brokers, ok := e.client.OptValue(kgo.SeedBrokers).([]string); ok && len(e.o.Brokers) == 0 {
		attrs = append(attrs, slog.Any("seedBrokers", brokers))
	}
	if tls, ok := e.client.OptValue(kgo.DialTLS).(bool); ok {
		attrs = append(attrs, slog.Bool("tls", tls))
	}
	if ways, ok := e.client.OptValue(kgo.SASL).([]sasl.Mechanism); ok {
		names := make([]string, len(ways))
		for i, w := range ways {
			names[i] = w.Name()
		}
		attrs = append(attrs, slog.Any("sasl", names))
	}
	e.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "starting", attrs...)
}

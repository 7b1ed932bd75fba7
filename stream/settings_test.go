package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millrun/millrun/stream"
)

// startLine runs an application whose brokers are not there until it has said with what it starts, and returns all it said
// and that line.
func startLine(t *testing.T, c stream.Config) (all string, line map[string]any) {
	t.Helper()
	var log bytes.Buffer
	c.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	c.OnState = func(_, now stream.State) {
		if now == stream.Rebalancing {
			time.AfterFunc(time.Millisecond, stop)
		}
	}
	a, err := stream.NewApp(wordCount(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Logf("the application ended: %v", err)
	}
	for text := range strings.Lines(log.String()) {
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if got["msg"] == "starting" {
			if line != nil {
				t.Error("the application says twice with what it starts")
			}
			line = got
		}
	}
	if line == nil {
		t.Fatalf("the application does not say with what it starts:\n%s", log.String())
	}
	return log.String(), line
}

func TestTheStartIsToldWithEverySettingAndNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	all, line := startLine(t, stream.Config{
		ApplicationID: "told", Brokers: []string{"127.0.0.1:1"},
		ClientOptions: []kgo.Opt{
			kgo.SASL(plain.Auth{User: "me", Pass: secret}.AsMechanism(), scram.Auth{User: "me", Pass: secret}.AsSha512Mechanism()),
			kgo.DialTLSConfig(&tls.Config{ServerName: secret}),
		},
		TopicConfig: map[string]string{"sasl.jaas.config": secret, "ssl.key.password": secret, "retention.ms": "-1"},
		StateDir:    t.TempDir(), Guarantee: stream.ExactlyOnce, OffsetReset: stream.Ago(time.Hour),
		ProcessingErrors: func(context.Context, stream.Failure) stream.Response { return stream.Response{} }, SummaryInterval: -1,
	})
	if strings.Contains(all, secret) {
		t.Errorf("a secret is in the log:\n%s", all)
	}
	for f := range reflect.TypeFor[stream.Config]().Fields() {
		if _, ok := line[f.Name]; !ok {
			t.Errorf("%s is not told", f.Name)
		}
	}
	for name, want := range map[string]any{
		"level": "INFO", "ApplicationID": "told", "Guarantee": "exactly_once", "CommitInterval": "100ms", "TaskTimeout": "5m0s", "SummaryInterval": "off",
		"ClientOptions": 2.0, "OffsetReset": "1h0m0s ago", "ProcessingErrors": "set", "DeserializationErrors": "none", "GroupProtocol": "auto", "tls": true,
		"MetricsLevel": "INFO", "Threads": 1.0,
	} {
		if line[name] != want {
			t.Errorf("%s is told as %v, want %v", name, line[name], want)
		}
	}
	if ways, ok := line["sasl"].([]any); !ok || len(ways) != 2 || ways[0] != "PLAIN" || ways[1] != "SCRAM-SHA-512" {
		t.Errorf("the ways to log in are told as %v", line["sasl"])
	}
	topics, ok := line["TopicConfig"].(map[string]any)
	if !ok || topics["retention.ms"] != "-1" || topics["ssl.key.password"] != "[redacted]" {
		t.Errorf("configurations of topics are told as %v", line["TopicConfig"])
	}
}

func TestSettingsHaveNames(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		setting interface{ String() string }
		want    string
	}{
		{stream.AtLeastOnce, "at_least_once"}, {stream.ExactlyOnce, "exactly_once"}, {stream.ExactState, "exact_state"}, {stream.Guarantee(7), "Guarantee(7)"},
		{stream.AutoProtocol, "auto"}, {stream.ClassicProtocol, "classic"}, {stream.StreamsProtocol, "streams"}, {stream.GroupProtocol(7), "GroupProtocol(7)"},
		{stream.Earliest(), "earliest"}, {stream.Latest(), "latest"}, {stream.NoReset(), "none"}, {stream.Ago(time.Minute), "1m0s ago"},
	} {
		if got := x.setting.String(); got != x.want {
			t.Errorf("%s, want %s", got, x.want)
		}
	}
}

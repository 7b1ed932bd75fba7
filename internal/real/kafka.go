package real

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/loopback"
)

// KafkaVersion is the version of Apache Kafka that tests run against.
const KafkaVersion = "4.3.1"

// kafkaJava is the oldest Java that a broker of KafkaVersion runs on (KIP-1013).
const kafkaJava = 17

//go:embed kafka/pom.xml
var kafkaPOM string

//go:embed kafka/server.properties
var kafkaProperties string

//go:embed kafka/log4j2.properties
var kafkaLogging []byte

// fetchKafka fills dir with the broker's jars through Maven, which checks them.
func fetchKafka(ctx context.Context, dir string) error {
	pom := filepath.Join(dir, "pom.xml")
	text := strings.ReplaceAll(kafkaPOM, "KAFKA_VERSION", KafkaVersion)
	if err := os.WriteFile(pom, []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "log4j2.properties"), kafkaLogging, 0o644); err != nil {
		return err
	}
	return runTool(exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom,
		"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib")))
}

// startKafka starts one broker that is its own controller, with a new and empty log under dir.
func startKafka(ctx context.Context, dir string) (*instance, error) {
	home, err := prepared(ctx, "kafka-"+KafkaVersion, fetchKafka)
	if err != nil {
		return nil, err
	}
	ports, err := loopback.FreePorts(2)
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(dir, "logs")
	conf, err := writeKafkaConf(dir, logs, ports[0], ports[1])
	if err != nil {
		return nil, err
	}
	if err := formatKafka(ctx, home, logs, conf); err != nil {
		return nil, err
	}
	p, err := runProgram(PartKafka.Title(), java(home, "kafka.Kafka", conf), filepath.Join(dir, "kafka.log"))
	if err != nil {
		return nil, err
	}
	broker := loopback.Addr(ports[0])
	if err := p.awaitReady(ctx, pingKafka(broker)); err != nil {
		return nil, err
	}
	return &instance{
		endpoint: Endpoint{PID: p.PID(), Brokers: []string{broker}, LogDir: logs},
		done:     p.Done(),
		stop:     p.end,
	}, nil
}

func writeKafkaConf(dir, logs string, port, controller int, listeners ...proxied) (string, error) {
	conf := filepath.Join(dir, "server.properties")
	f, err := os.Create(conf)
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	err = template.Must(template.New("server").Parse(kafkaProperties)).Execute(f, map[string]any{
		"Port": port, "Controller": controller, "Logs": logs, "Proxied": listeners,
	})
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("real: %s: %w", conf, err)
	}
	return conf, nil
}

// formatKafka makes the empty log folder that a KRaft broker wants.
func formatKafka(ctx context.Context, home, logs, conf string) error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("real: %w", err)
	}
	cmd := java(home, "kafka.tools.StorageTool", "format", "--standalone",
		"--cluster-id="+base64.RawURLEncoding.EncodeToString(id), "-c", conf) // one argument: an id may begin with a dash
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	if err := runTool(timed); err != nil {
		return fmt.Errorf("real: format %s: %w", logs, err)
	}
	return nil
}

// java is a program of Kafka's jars in a heap that is ample for one machine's tests.
func java(home, class string, args ...string) *exec.Cmd {
	base := []string{
		"-Xms256m", "-Xmx1g", "-XX:+UseSerialGC",
		"-Dlog4j2.configurationFile=" + filepath.Join(home, "log4j2.properties"),
		"-cp", filepath.Join(home, "lib", "*"), class,
	}
	return exec.Command("java", append(base, args...)...)
}

// pingKafka asks the broker for its API versions and metadata.
func pingKafka(broker string) func(context.Context) error {
	return func(ctx context.Context) error {
		cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DialTimeout(time.Second), kgo.RequestRetries(0))
		if err != nil {
			return fmt.Errorf("real: %w", err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		return cl.Ping(ctx)
	}
}

package real

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/millrun/millrun/internal/loopback"
)

// Broker is an Apache Kafka broker that its owner may kill and start again with its data: the subject of crash runs. It is not
// safe for concurrent use.
type Broker struct {
	home, conf, log string
	port            int
	behind          []string
	running         *program
}

// BrokerOptions says what a Broker is like.
type BrokerOptions struct {
	// Dir is the folder of its data, its configuration and its log. Required, and empty.
	Dir string
	// Proxies are the addresses, host:port, of proxies in front of it: for each it has a listener of its own, which it
	// advertises by the proxy's address. Who connects through a proxy stays with it. Default: none.
	Proxies []string
	// Config are settings beside those of all brokers of this package. Default: none.
	Config map[string]string
}

// NewBroker makes the data of a broker, which does not run yet. It wants Java and Maven: ask PartKafka.Missing before.
func NewBroker(ctx context.Context, o BrokerOptions) (*Broker, error) {
	home, err := prepared(ctx, "kafka-"+KafkaVersion, fetchKafka)
	if err != nil {
		return nil, err
	}
	ports, err := loopback.FreePorts(2 + len(o.Proxies))
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(o.Dir, "logs")
	b := &Broker{home: home, port: ports[0], log: filepath.Join(o.Dir, "kafka.log")}
	listeners := make([]proxied, len(o.Proxies))
	for i, proxy := range o.Proxies {
		listeners[i] = proxied{Name: "PROXY" + strconv.Itoa(i), Port: ports[2+i], Proxy: proxy}
		b.behind = append(b.behind, loopback.Addr(ports[2+i]))
	}
	if b.conf, err = writeKafkaConf(o.Dir, logs, ports[0], ports[1], listeners...); err != nil {
		return nil, err
	}
	if err := appendConf(b.conf, o.Config); err != nil {
		return nil, err
	}
	return b, formatKafka(ctx, home, logs, b.conf)
}

// proxied is a listener behind a proxy.
type proxied struct {
	Name  string
	Port  int
	Proxy string
}

func appendConf(path string, settings map[string]string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		_, werr := fmt.Fprintf(f, "%s=%s\n", k, settings[k])
		err = errors.Join(err, werr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("real: %s: %w", path, err)
	}
	return nil
}

// Addr is the broker's address, host:port, that no proxy stands before.
func (b *Broker) Addr() string { return loopback.Addr(b.port) }

// Behind is where the broker listens for what comes through the proxy number i.
func (b *Broker) Behind(i int) string { return b.behind[i] }

// Log is the file with what the broker has to say, over all its lives.
func (b *Broker) Log() string { return b.log }

// Start runs the broker and waits until it answers. It must not run.
func (b *Broker) Start(ctx context.Context) error {
	p, err := runProgram(PartKafka.Title(), java(b.home, "kafka.Kafka", b.conf), b.log)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, pingKafka(b.Addr())); err != nil {
		return err
	}
	b.running = p
	return nil
}

// Fault says that the broker has ended though nobody has asked this Broker to; nil while it runs, and while it is not to run.
func (b *Broker) Fault() error {
	if b.running == nil {
		return nil
	}
	select {
	case <-b.running.Done():
		return fmt.Errorf("real: %s ended by itself, or somebody else has ended it (%w); its log ends:\n%s", PartKafka.Title(), b.running.Err(), tail(b.log))
	default:
		return nil
	}
}

// Kill ends the broker as kill -9 does, and waits for its end.
func (b *Broker) Kill() error {
	if b.running == nil {
		return nil
	}
	p := b.running
	b.running = nil
	return p.Kill()
}

// Stop ends the broker in its own way: it writes down what it holds. When ctx ends first it is killed, which is an error.
func (b *Broker) Stop(ctx context.Context) error {
	if b.running == nil {
		return nil
	}
	p := b.running
	b.running = nil
	return p.Stop(ctx, syscall.SIGTERM)
}

package stream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// byBroker is an application whose tasks the broker shares out.
func byBroker(app string, g stream.Guarantee) stream.Config {
	return stream.Config{ApplicationID: app, GroupProtocol: stream.StreamsProtocol, Guarantee: g, CacheBytes: -1}
}

// ownTopics are topics of an application's own, and the application that counts words from one to the other.
func ownTopics(t *testing.T) (c *cluster, app, in, out string, d func() *stream.Builder) {
	t.Helper()
	c = connect(t, real.Kafka(t))
	app = real.Name(t, "streams")
	in, out = app+"-in", app+"-out"
	c.topics(4, in, out)
	return c, app, in, out, func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
}

// group sets a configuration of a streams group.
func (c *cluster) group(app, key, value string) {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, app
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = key, &value
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(c.ctx(), c.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestStreamsProtocolMovesTasksUnderLoad lets members join and leave while input flows. Counts go through a repartition topic.
func TestApacheKafkaStreamsProtocolMovesTasksUnderLoad(t *testing.T) {
	t.Parallel()
	for _, g := range []stream.Guarantee{stream.ExactlyOnce, stream.AtLeastOnce} {
		t.Run(map[stream.Guarantee]string{stream.ExactlyOnce: "exactly once", stream.AtLeastOnce: "at least once"}[g], func(t *testing.T) {
			t.Parallel()
			c, app, in, out, d := ownTopics(t)
			lines, want := letters(2000)
			c.produce(in, lines...)
			_, first := c.app(d(), byBroker(app, g))
			c.produce(in, lines...)
			c.app(d(), byBroker(app, g)) // tasks move to it
			c.produce(in, lines...)
			first() // and the others, too
			c.produce(in, lines...)
			for k := range want {
				want[k] *= 4
			}
			if g == stream.ExactlyOnce {
				c.ledger(out, want)
			} else {
				c.latest(out, int64Of, want) // nobody crashed: nothing was processed twice either
			}
		})
	}
}

func TestApacheKafkaAZombieOfTheStreamsProtocolDoublesNothing(t *testing.T) {
	t.Parallel()
	c, app, in, out, _ := ownTopics(t)
	c.group(app, "streams.session.timeout.ms", "6000")
	zombie(t, c, byBroker(app, stream.ExactlyOnce), in, out)
}

func TestApacheKafkaACopyOfAStreamsGroupTakesOverWithNothingReadAgain(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]func() (state.Engine, string){"memory": inMemory, "disk": onDisks(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, real.Kafka(t))
			app := real.Name(t, "kept")
			c.topics(2, app+"-in", app+"-out")
			c.group(app, "streams.num.standby.replicas", "1")
			c.group(app, "streams.session.timeout.ms", "6000")
			takeOver(t, c, byBroker(app, stream.ExactlyOnce), app+"-in", app+"-out", engine)
		})
	}
}

func TestApacheKafkaGroupKeepsOneProtocolWhileItHasMembers(t *testing.T) {
	t.Parallel()
	c, app, in, out, d := ownTopics(t)
	refused := func(p stream.GroupProtocol, says string) {
		t.Helper()
		cfg := byBroker(app, stream.AtLeastOnce)
		cfg.GroupProtocol = p
		if err := c.ended(d(), cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("protocol %d: got %v", p, err)
		}
	}
	lines, want := letters(200)
	_, stop := c.app(d(), stream.Config{ApplicationID: app, GroupProtocol: stream.ClassicProtocol})
	c.produce(in, lines...)
	c.latest(out, int64Of, want)
	refused(stream.StreamsProtocol, "stop them first")
	stop()
	_, stop = c.app(d(), byBroker(app, stream.AtLeastOnce)) // an empty group moves, and keeps its offsets
	c.produce(in, lines...)
	c.latest(out, int64Of, twice(want))
	refused(stream.ClassicProtocol, "stop them first")
	_, also := c.app(d(), stream.Config{ApplicationID: app}) // takes what the group has
	stop()
	c.produce(in, lines...)
	for k := range want {
		want[k] = want[k] / 2 * 3
	}
	c.latest(out, int64Of, want)
	also()
	_, _ = c.app(d(), stream.Config{ApplicationID: app, GroupProtocol: stream.ClassicProtocol})
	c.produce(in, lines...)
	for k := range want {
		want[k] = want[k] / 3 * 4
	}
	c.latest(out, int64Of, want)
}

func TestApacheKafkaStreamsProtocolNamesAMissingSource(t *testing.T) {
	t.Parallel()
	c, app, _, out, _ := ownTopics(t)
	d := countWords(stream.Topic[string, string](app+"-none"), stream.Topic[string, int64](out))
	if err := c.ended(d, byBroker(app, stream.AtLeastOnce)); !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), app+"-none") {
		t.Errorf("got %v", err)
	}
}

func TestStreamsProtocolIsRefusedByBrokersWithoutIt(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	err := c.ended(wordCount(), byBroker("none", stream.AtLeastOnce))
	if err == nil || !strings.Contains(err.Error(), "streams.version=1") || !strings.Contains(err.Error(), "ClassicProtocol") {
		t.Errorf("got %v", err)
	}
}

func TestApacheKafkaStreamsGroupTakesAnotherTopologyOnceItIsEmpty(t *testing.T) {
	t.Parallel()
	c, app, in, out, d := ownTopics(t)
	other := func() *stream.Builder {
		b := d()
		b.Stream(stream.Topic[string, string](in + "-too")).To(stream.Topic[string, string](out + "-too"))
		return b
	}
	c.topics(2, in+"-too", out+"-too")
	lines, want := letters(200)
	_, stop := c.app(d(), byBroker(app, stream.ExactlyOnce))
	c.produce(in, lines...)
	c.ledger(out, want)
	if err := c.ended(other(), byBroker(app, stream.ExactlyOnce)); err == nil || !strings.Contains(err.Error(), "stop them all") {
		t.Errorf("a member with another topology gets %v", err)
	}
	stop()
	c.app(other(), byBroker(app, stream.ExactlyOnce))
	c.produce(in, lines...) // goes on where the group was
	c.ledger(out, twice(want))
}

package stream_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// TestApacheKafkaServesPatternsGlobalTablesAndChosenTopics runs on a real broker what else the embedded one is asked: a source
// by pattern, a global table, a repartition topic of a given size and a sink that chooses its topic.
func TestApacheKafkaServesPatternsGlobalTablesAndChosenTopics(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "wide")
	c.topics(3, app+"-in-one", app+"-rates", app+"-out-x", app+"-out-y")
	c.produce(app+"-rates", pair{"usd", "2"}, pair{"eur", "1"}, pair{"usd", "3"})
	c.produce(app+"-in-one", pair{"x", "usd"}, pair{"y", "eur"})
	b := stream.NewBuilder()
	rates := b.GlobalTable(textual(app + "-rates"))
	b.StreamPattern[string, string](regexp.MustCompile(regexp.QuoteMeta(app)+`-in-.*`)).
		Repartition(stream.Named("by-hand"), stream.Partitions(5)).
		LeftJoinGlobal(rates, func(_, v string) (string, bool) { return v, true }, func(_, v, rate string, ok bool) string { return v + rate }).
		ToDynamic(func(k, _ string, _ stream.RecordMetadata) string { return app + "-out-" + k })
	a, stop := c.app(b, stream.Config{ApplicationID: app, ClientOptions: []kgo.Opt{kgo.MetadataMaxAge(time.Second)}})
	wait := func(topic string, want ...string) {
		t.Helper()
		var got []string
		c.read(app+topic, func(r *kgo.Record) bool {
			got = append(got, string(r.Value))
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	}
	wait("-out-x", "usd3")
	wait("-out-y", "eur1")
	c.topics(2, app+"-in-two")
	c.produce(app+"-in-two", pair{"x", "eur"})
	wait("-out-x", "eur1", "usd3")
	stop()
	found, err := c.admin.ListTopics(c.ctx(), app+"-by-hand-repartition")
	if d := found[app+"-by-hand-repartition"]; err != nil || len(d.Partitions) != 5 {
		t.Errorf("the repartition topic has %d partitions: %v %v", len(d.Partitions), d.Err, err)
	}
	if !strings.Contains(a.Topology().Describe(), "for global store") {
		t.Error("the topology has no global store")
	}
}

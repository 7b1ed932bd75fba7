package main

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheProgramCountsWords(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, topology(), streamtest.WithPartitions(3))
	in, out := d.Input(stream.Topic[string, string]("lines")), d.Output(stream.Topic[string, int64]("word-counts"))
	in.Pipe("", "To be or not to be")
	d.Crash()
	in.Pipe("", "be")
	got := map[string]int64{}
	for _, r := range out.ReadValues() {
		got[r.Key] = r.Value
	}
	if fmt.Sprint(got) != "map[be:3 not:1 or:1 to:2]" {
		t.Errorf("got %v", got)
	}
	if n, ok, err := d.Store(state.TimestampedKeyValue[string, int64]("counts")).Get("to"); n != 2 || !ok || err != nil {
		t.Errorf("store: %d %v %v", n, ok, err)
	}
}

// The program of the README, without a broker.
func Example() {
	topology, err := topology().Build(stream.Config{ApplicationID: "wordcount"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(topology.Describe())
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
	//       --> KSTREAM-FLATMAPVALUES-0000000001
	//     Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
	//       --> KSTREAM-KEY-SELECT-0000000002
	//       <-- KSTREAM-SOURCE-0000000000
	//     Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
	//       --> counts-repartition-filter
	//       <-- KSTREAM-FLATMAPVALUES-0000000001
	//     Processor: counts-repartition-filter (stores: [])
	//       --> counts-repartition-sink
	//       <-- KSTREAM-KEY-SELECT-0000000002
	//     Sink: counts-repartition-sink (topic: counts-repartition)
	//       <-- counts-repartition-filter
	//
	//   Sub-topology: 1
	//     Source: counts-repartition-source (topics: [counts-repartition])
	//       --> KSTREAM-AGGREGATE-0000000003
	//     Processor: KSTREAM-AGGREGATE-0000000003 (stores: [counts])
	//       --> KTABLE-TOSTREAM-0000000007
	//       <-- counts-repartition-source
	//     Processor: KTABLE-TOSTREAM-0000000007 (stores: [])
	//       --> KSTREAM-SINK-0000000008
	//       <-- KSTREAM-AGGREGATE-0000000003
	//     Sink: KSTREAM-SINK-0000000008 (topic: word-counts)
	//       <-- KTABLE-TOSTREAM-0000000007
}

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/state/pebble"
	"github.com/millrun/millrun/stream/streamtest"
)

// The values of settings that a set may have.
const (
	goOnReading    = "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler"
	inMemory       = "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers"
	goOnProcessing = "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler"
)

// configured is Kafka Streams' settings as a Config. A setting that the library does not have is an error, not passed over.
func (t *topology) configured(settings map[string]string) (stream.Config, error) {
	c := stream.Config{Serdes: new(serde.Registry), Stores: engine()}
	c.Serdes.Register(J)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := apply(&c, name, settings[name], settings); err != nil {
			return c, fmt.Errorf("setting %s=%s: %w", name, settings[name], err)
		}
	}
	return c, nil
}

// engine is what stores are kept in: memory, unless the environment says CONFORMANCE_STORES=disk. The answers are the same.
func engine() state.Engine {
	if os.Getenv("CONFORMANCE_STORES") == "disk" {
		return pebble.Engine()
	}
	return nil
}

func apply(c *stream.Config, name, value string, all map[string]string) error {
	switch name {
	case "application.id":
		c.ApplicationID = value
	case cacheSize:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return err
		}
		if c.CacheBytes = n; n == 0 {
			c.CacheBytes = -1 // 0 is the default here
		}
	case optimization:
		return optimize(c, value)
	case storeSuppliers:
		if value != inMemory {
			return errUnknown
		}
		c.Stores = state.Memory()
	case storeFormat:
		if value != withHeaders {
			return errUnknown
		}
		c.StoreFormat = state.WithHeaders
	case emitIntervals[0], emitIntervals[1]: // see driven
	case "errors.dead.letter.queue.topic.name":
		c.DeadLetterTopic = value
	case "deserialization.exception.handler":
		c.DeserializationErrors = goOn(value == goOnReading, all)
	case "processing.exception.handler":
		c.ProcessingErrors = goOn(value == goOnProcessing, all)
	default:
		return errUnknown
	}
	return nil
}

// optimize reads the list of optimizations.
func optimize(c *stream.Config, value string) error {
	for name := range strings.SplitSeq(value, ",") {
		o, ok := map[string]stream.Optimization{
			"none": 0, "all": stream.AllOptimizations, "merge.repartition.topics": stream.MergeRepartitionTopics,
			"reuse.ktable.source.topics": stream.ReuseSourceTopics, "single.store.self.join": stream.SingleStoreSelfJoin,
		}[name]
		if !ok {
			return errUnknown
		}
		c.Optimize |= o
	}
	return nil
}

var errUnknown = errors.New("the library has no such setting")

// goOn is Kafka Streams' handler that logs and goes on, or, where a dead letter topic is set, writes the dead letter too.
func goOn(on bool, all map[string]string) stream.ErrorHandler {
	if !on {
		return nil
	}
	answer := stream.Continue()
	if all["errors.dead.letter.queue.topic.name"] != "" {
		answer = stream.DeadLetter("")
	}
	return func(context.Context, stream.Failure) stream.Response { return answer }
}

// emitIntervals are the settings that say how often results of closed windows are looked for. The library has one interval
// for both, which no application sets: only the driver does.
var emitIntervals = []string{
	"__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "__emit.interval.ms.kstreams.windowed.aggregation__",
}

// driven are the settings of a vector that concern the driver alone.
func driven(config map[string]string) []streamtest.Option {
	for _, name := range emitIntervals {
		if n, err := strconv.ParseInt(config[name], 10, 64); err == nil {
			return []streamtest.Option{streamtest.EmitInterval(ms(n))}
		}
	}
	return nil
}

package conformance_test

import (
	"fmt"
	"maps"
	"strings"

	"github.com/millrun/millrun/stream"
)

// topology is a registered topology: how it is built, and what its topics hold.
type topology struct {
	family, name string
	topics       []topic
	define       func() stream.Definition
	config       map[string]string // Kafka Streams' settings, as far as the topology has its own
}

// Settings, as Kafka Streams calls them.
const (
	optimization   = "topology.optimization"
	cacheSize      = "statestore.cache.max.bytes"
	storeSuppliers = "dsl.store.suppliers.class"
)

// topics are the topics of a topology.
type topics = []topic

// topic says what a topic holds. A name that ends in * is a prefix.
type topic struct {
	name       string
	key, value format
}

// registry is every topology by its name.
var registry = map[string]*topology{}

// family registers topologies. It is called by a package-level value of the family's file.
func family(name string, all ...*topology) []*topology {
	for _, t := range all {
		if old, ok := registry[t.name]; ok {
			panic(fmt.Sprintf("topology %s is registered by the families %s and %s", t.name, old.family, name))
		}
		t.family = name
		registry[t.name] = t
	}
	return all
}

// t is one topology, built by the DSL.
func t(name string, topics topics, build func(*stream.Builder)) *topology {
	return defined(name, topics, func() stream.Definition {
		b := stream.NewBuilder()
		build(b)
		return b
	})
}

// bare is one topology, built by the Processor API alone.
func bare(name string, topics topics, build func(*stream.Topology)) *topology {
	return defined(name, topics, func() stream.Definition {
		t := stream.NewTopology()
		build(t)
		return t
	})
}

func defined(name string, topics topics, define func() stream.Definition) *topology {
	return &topology{name: name, topics: topics, define: define, config: map[string]string{}}
}

// io names the topics.
func io(topics ...topic) topics { return topics }

// in is a topic that is read, with a string for a key.
func in(name string, value format) topic { return topic{name, STR, value} }

// out is a topic that is written, with a string for a key.
func out(name string, value format) topic { return topic{name, STR, value} }

// outKeyed is a topic that is written, with any key.
func outKeyed(name string, key, value format) topic { return topic{name, key, value} }

// cfg sets a setting of Kafka Streams.
func (t *topology) cfg(name, value string) *topology {
	t.config[name] = value
	return t
}

// cached turns record caches on.
func (t *topology) cached() *topology { return t.cfg(cacheSize, "10485760") }

// memory makes stores in memory the default.
func (t *topology) memory() *topology { return t.cfg(storeSuppliers, inMemory) }

// optimize sets topology.optimization.
func (t *topology) optimize(how string) *topology { return t.cfg(optimization, how) }

// topic finds what a topic holds.
func (t *topology) topic(name string) (topic, bool) {
	for _, x := range t.topics {
		prefix, open := strings.CutSuffix(x.name, "*")
		if x.name == name || open && strings.HasPrefix(name, prefix) {
			return x, true
		}
	}
	return topic{}, false
}

// settings are the settings a description is made with: those every recording has, and the topology's own.
func (t *topology) settings() map[string]string {
	out := map[string]string{"application.id": "conf", cacheSize: "0"}
	maps.Copy(out, t.config)
	return out
}

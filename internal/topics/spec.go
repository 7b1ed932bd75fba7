// Package topics keeps the pipeline's Kafka topics as a file declares them: it plans, applies, and finds drift.
package topics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/millrun/millrun/deploy"
)

// DLQ is what the name of a dead letter topic ends with.
const DLQ = ".dlq"

const (
	minInsync = "min.insync.replicas"
	// defaultMaxMessage is Kafka's own default of max.message.bytes, said in so many words so that drift is seen.
	defaultMaxMessage = 1048588
	// deadLetterRoom is what the headers of a dead letter may add to a record, its stack trace included.
	deadLetterRoom = 1 << 20
)

// Topic is one topic as it should be.
type Topic struct {
	Name        string
	Partitions  int
	Replication int
	Configs     map[string]string // by Kafka's names
}

// Spec is every topic as it should be, dead letter topics included, sorted by name.
type Spec struct{ Topics []Topic }

// Options adapt a declaration to a cluster.
type Options struct {
	// Replication is the most that the cluster can have: 1 for a single node. Default: 0, as declared.
	Replication int
}

// file is the declaration as YAML.
type file struct {
	Replication int         `yaml:"replication"`
	MinInsync   int         `yaml:"min_insync"`
	Topics      []fileTopic `yaml:"topics"`
}

type fileTopic struct {
	Name       string   `yaml:"name"`
	Partitions int      `yaml:"partitions"`
	MaxMessage size     `yaml:"max_message"`
	Keep       fileKeep `yaml:",inline"`
	DLQ        fileKeep `yaml:"dlq"`
}

type fileKeep struct {
	Retention span `yaml:"retention"`
	Segment   span `yaml:"segment"`
}

// span is a duration, in Go's words and days: 72h, 6d.
type span time.Duration

// UnmarshalText reads a span.
func (s *span) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 3650 {
			return fmt.Errorf("%q is no number of days: write 6d or 72h", text)
		}
		*s = span(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no duration: write 6d or 72h", text)
	}
	*s = span(d)
	return nil
}

func (s span) millis() string { return strconv.FormatInt(time.Duration(s).Milliseconds(), 10) }

// size is a number of bytes: 8MiB.
type size int

// UnmarshalText reads a size.
func (s *size) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "MiB")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > 1024 {
		return fmt.Errorf("%q is no size: write 8MiB", text)
	}
	*s = size(n << 20)
	return nil
}

// Load reads the declaration at path, or the one in the binary when path is empty. All faults come in one error.
func Load(path string) (Spec, error) {
	text, name := deploy.TopicsYAML, "deploy/topics.yaml"
	if path != "" {
		var err error
		name = path
		if text, err = os.ReadFile(path); err != nil {
			return Spec{}, fmt.Errorf("topics: %w", err)
		}
	}
	spec, err := parse(text)
	if err != nil {
		return Spec{}, fmt.Errorf("topics: %s: %w", name, err)
	}
	return spec, nil
}

func parse(text []byte) (Spec, error) {
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return Spec{}, errors.New("it is empty")
		}
		return Spec{}, err
	}
	if err := f.validate(); err != nil {
		return Spec{}, err
	}
	return f.spec(), nil
}

func (f file) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.Replication < 1 {
		fault("replication is %d, want 1 or more", f.Replication)
	}
	if f.MinInsync < 1 || f.MinInsync > f.Replication {
		fault("min_insync is %d, want 1 to the replication", f.MinInsync)
	}
	if len(f.Topics) == 0 {
		fault("no topics")
	}
	seen := make(map[string]bool)
	for i, t := range f.Topics {
		switch {
		case t.Name == "":
			fault("topic %d has no name", i+1)
			continue
		case seen[t.Name]:
			fault("%s is declared twice", t.Name)
		case strings.HasSuffix(t.Name, DLQ):
			fault("%s: dead letter topics come with their source", t.Name)
		}
		seen[t.Name] = true
		if t.Partitions < 1 {
			fault("%s: partitions is %d, want 1 or more", t.Name, t.Partitions)
		}
		for where, k := range map[string]fileKeep{t.Name: t.Keep, t.Name + DLQ: t.DLQ} {
			if k.Retention == 0 || k.Segment == 0 {
				fault("%s: retention and segment must both be given", where)
			} else if k.Segment > k.Retention {
				fault("%s: a segment of %s outlives the retention of %s", where, time.Duration(k.Segment), time.Duration(k.Retention))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (f file) spec() Spec {
	var s Spec
	for _, t := range f.Topics {
		bytes := int(t.MaxMessage)
		if bytes == 0 {
			bytes = defaultMaxMessage
		}
		s.Topics = append(s.Topics,
			f.topic(t.Name, t.Partitions, t.Keep, bytes),
			f.topic(t.Name+DLQ, t.Partitions, t.DLQ, bytes+deadLetterRoom))
	}
	slices.SortFunc(s.Topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (f file) topic(name string, partitions int, keep fileKeep, bytes int) Topic {
	return Topic{
		Name: name, Partitions: partitions, Replication: f.Replication,
		Configs: map[string]string{
			"cleanup.policy":    "delete",
			"max.message.bytes": strconv.Itoa(bytes),
			minInsync:           strconv.Itoa(f.MinInsync),
			"retention.ms":      keep.Retention.millis(),
			"segment.ms":        keep.Segment.millis(),
		},
	}
}

// within is the declaration for a cluster that cannot have every replica asked for.
func (s Spec) within(o Options) Spec {
	if o.Replication <= 0 {
		return s
	}
	var w Spec
	for _, t := range s.Topics {
		t.Replication = min(t.Replication, o.Replication)
		t.Configs = maps.Clone(t.Configs)
		if n, err := strconv.Atoi(t.Configs[minInsync]); err == nil && n > t.Replication {
			t.Configs[minInsync] = strconv.Itoa(t.Replication)
		}
		w.Topics = append(w.Topics, t)
	}
	return w
}

// Names are the names of all topics, sorted.
func (s Spec) Names() []string {
	names := make([]string, len(s.Topics))
	for i, t := range s.Topics {
		names[i] = t.Name
	}
	return names
}

// configNames are the topic's configurations in order.
func (t Topic) configNames() []string { return slices.Sorted(maps.Keys(t.Configs)) }

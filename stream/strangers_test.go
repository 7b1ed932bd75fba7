package stream_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// An application that comes under another's name is refused, and the other one works on.
func TestAnotherProgramOfTheSameNameIsRefused(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts", "other", "other-counts")
	c.produce("lines", pair{"", "a b"})
	c.app(wordCount(), stream.Config{ApplicationID: "same"})
	err := c.ended(countWords("other", "other-counts"), stream.Config{ApplicationID: "same"})
	if err == nil || !strings.Contains(err.Error(), "group same runs another program, which reads none of this one's sources (other)") {
		t.Errorf("got %v", err)
	}
	c.produce("lines", pair{"", "b"})
	c.latest("word-counts", int64Of, map[string]int64{"a": 1, "b": 2})
}

// deleted runs word count on a broker and deletes its input, and says how it ends.
func deleted(t *testing.T, c *cluster, cfg stream.Config, then func(topic string)) (topic string, err error) {
	t.Helper()
	in, out := real.Name(t, "lines"), real.Name(t, "counts")
	c.topics(4, in, out)
	c.produce(in, pair{"", "a b"})
	cfg.ApplicationID, cfg.Brokers = in, c.brokers
	a, err := stream.NewApp(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(c.ctx()) }()
	<-a.Ready()
	if _, err := c.admin.DeleteTopics(c.ctx(), in); err != nil {
		t.Fatal(err)
	}
	then(in)
	return in, <-done
}

// A source that is deleted and made anew while it is read is another one: its offsets say nothing of what was processed.
func TestApacheKafkaASourceThatIsMadeAnewIsNamed(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	in, err := deleted(t, c, stream.Config{}, func(topic string) {
		connect(t, c.brokers).topics(2, topic) // with fewer partitions, too
	})
	if !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), in) {
		t.Errorf("got %v", err)
	}
}

func TestASourceThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*cluster{"embedded": fake(t), "Apache Kafka": connect(t, real.Kafka(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := deleted(t, c, stream.Config{FetchTimeout: 4 * time.Second}, func(string) {})
			if !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), in) {
				t.Errorf("got %v", err)
			}
		})
	}
}

package crash

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
)

// TestMarkersThatABrokerHasLostAreWritten leaves a transaction open, which is no business of the rig, and then lets it believe that the
// coordinator had committed it.
func TestMarkersThatABrokerHasLostAreWritten(t *testing.T) {
	t.Parallel()
	brokers := real.Kafka(t)
	topic := real.Name(t, "markers")
	p, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := kadm.NewClient(p).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := p.ProduceSync(t.Context(), kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	m, err := newMender(brokers...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.client.Close()
	stable := func() int64 {
		ends, err := m.adm.ListCommittedOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := ends.Lookup(topic, 0)
		return o.Offset
	}
	if n, err := m.mend(t.Context()); n != 0 || err != nil || stable() != 0 {
		t.Fatalf("of an open transaction %d markers were written (%v); what is committed ends at %d", n, err, stable())
	}
	id, epoch, err := p.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.decided.of[txn{id, epoch + 1}] = decision{commit: true, complete: true}
	if n, err := m.mend(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d markers were written: %v", n, err)
	}
	for range 100 {
		if stable() == 2 { // the record and its marker
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Errorf("what is committed ends at %d", stable())
}

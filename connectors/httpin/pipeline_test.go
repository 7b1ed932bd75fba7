package httpin

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/azblob/sink"
	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/worker"
)

// TestStatusesOfTheRealWorker uploads through the door while the real worker and sink stand behind it: what they say is
// what the door shows, from accepted to archived with a thumbnail, and rejected with its reason.
func TestStatusesOfTheRealWorker(t *testing.T) {
	t.Parallel()
	var v vault
	d := openDoor(t, func(c *Config) {
		v = openVault(t, c.Clock)
		in, err := intake.New(intake.Config{Staging: v.staging})
		if err != nil {
			t.Fatal(err)
		}
		c.Archive, c.Intake = v.archive, in
	})
	for _, topic := range []string{events.TopicImageStatus, events.TopicProcessedImages, dlq.Topic(events.TopicRawImages), dlq.Topic(events.TopicImageStatus), dlq.Topic(events.TopicProcessedImages)} {
		if err := d.kafka.CreateTopic(topic, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	kafka, quiet, codec := []kgo.Opt{kgo.SeedBrokers(d.kafka.ListenAddrs()...)}, slog.New(slog.DiscardHandler), d.server.cfg.Codec
	w, err := worker.New(worker.Config{Kafka: kafka, Codec: codec, Staging: v.staging, Tenants: d.server.cfg.Tenants, Clock: d.clock, Threads: 1, CommitInterval: 50 * time.Millisecond, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sink.New(sink.Config{Kafka: kafka, Codec: codec, Staging: v.staging, Archive: v.archive, Clock: d.clock, Threads: 1, CommitInterval: 50 * time.Millisecond, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{w.Run, s.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("role: %v", err)
			}
		})
	}
	whole := photograph()
	id := d.upload(demoKey, whole)
	cut := d.upload(demoKey, whole[:len(whole)-100])
	view := d.ends(id)
	if view.Status != events.StatusArchived || view.Width != 64 || view.Height != 48 || view.Format != "jpeg" || len(view.Derivatives) == 0 {
		t.Fatalf("%+v", view)
	}
	for i, want := range []events.Status{events.StatusAccepted, events.StatusProcessing, events.StatusArchived} {
		if len(view.History) != 3 || view.History[i].Status != want {
			t.Errorf("history %+v", view.History)
			break
		}
	}
	if r := d.do("GET", "/v1/images/"+id+"/content", demoKey, nil); r.status != http.StatusOK || !bytes.Equal(r.body, whole) {
		t.Errorf("content: %d, %d bytes", r.status, len(r.body))
	}
	thumb := view.Derivatives[0]
	if r := d.do("GET", "/v1/images/"+id+"/derivatives/"+thumb.Name, demoKey, nil); r.status != http.StatusOK || int64(len(r.body)) != thumb.Bytes || r.header.Get("Content-Type") != thumb.ContentType {
		t.Errorf("derivative %+v: %d, %d bytes of %s", thumb, r.status, len(r.body), r.header.Get("Content-Type"))
	}
	if broken := d.ends(cut); broken.Status != events.StatusRejected || broken.ErrorCode == "" || broken.Error == "" {
		t.Errorf("a JPEG whose scan is cut off: %+v", broken)
	}
	again := d.do("POST", "/v1/images", demoKey, bytes.NewReader(whole), "Content-Type", "image/jpeg").json(t)
	if again["duplicate"] != true {
		t.Errorf("the same bytes again: %v", again)
	}
	if got := d.ends(id); got.Status != events.StatusArchived {
		t.Errorf("a duplicate changed the image to %s", got.Status)
	}
}

// ends polls an image until its status is final, as a caller would.
func (d *door) ends(id string) imageView {
	d.t.Helper()
	var view imageView
	d.until("the image reaches its end", func() bool {
		r := d.do("GET", "/v1/images/"+id, demoKey, nil)
		if err := json.Unmarshal(r.body, &view); err != nil || r.status != http.StatusOK {
			d.t.Fatalf("%d %s", r.status, r.body)
		}
		return view.Status.Final()
	})
	return view
}

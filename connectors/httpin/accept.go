package httpin

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// accepted is the answer about one image that was taken in.
type accepted struct {
	ImageID     string        `json:"image_id"`
	Status      events.Status `json:"status"`
	StatusURL   string        `json:"status_url"`
	SHA256      string        `json:"sha256"`
	Bytes       int64         `json:"bytes"`
	ContentType string        `json:"content_type"`
	Duplicate   bool          `json:"duplicate"` // as far as this process knows now; the worker decides
	ExpiresAt   time.Time     `json:"expires_at"`
}

// outcome is what became of one image: accepted, or a problem.
type outcome struct {
	accepted accepted
	problem  *problem
}

// accept produces the records of a request's staged images and returns when every in-sync replica has them. An image
// whose record was not acknowledged is answered 503, but its bytes stay in staging: the record may yet be written.
func (s *Server) accept(u *uploading) []outcome {
	outcomes := make([]outcome, len(u.parts))
	raws := make([]events.RawImage, len(u.parts))
	var records []*kgo.Record
	at := map[*kgo.Record]int{}
	for i, p := range u.parts {
		if p.problem != nil {
			outcomes[i].problem = p.problem
			continue
		}
		raws[i] = s.cfg.Intake.Receipt(p.staged, u.c.who.tenant, events.OriginAPI, u.received, u.c.trace)
		record, err := s.record(raws[i])
		if err != nil {
			outcomes[i].problem = unavailable("The records' schema cannot be registered now.", err)
			continue
		}
		records = append(records, record)
		at[record] = i
	}
	if len(records) == 0 {
		return outcomes
	}
	s.foretell(raws, outcomes)
	u.kept = true
	ctx, cancel := context.WithTimeout(u.c.r.Context(), s.cfg.Limits.Accept)
	defer cancel()
	for _, res := range s.producer.ProduceSync(ctx, records...) {
		i := at[res.Record]
		if res.Err != nil {
			outcomes[i] = outcome{problem: unavailable("Kafka did not acknowledge the image; it may or may not be accepted. Send it again.", res.Err)}
			continue
		}
		if err := s.view.note(raws[i], res.Record.Partition, res.Record.Offset); err != nil {
			s.cfg.Log.Error("an accepted image is seen only once it is read back", "request_id", u.c.id, "error", err)
		}
	}
	s.countOutcomes(u, outcomes)
	return outcomes
}

func unavailable(detail string, cause error) *problem {
	return kindUnavailable.because("%s", detail).after(5 * time.Second).causedBy(cause)
}

// record is the claim check of an image.
func (s *Server) record(raw events.RawImage) (*kgo.Record, error) {
	value, err := s.cfg.Codec.EncodeRawImage(raw)
	if err != nil {
		return nil, fmt.Errorf("httpin: record: %w", err)
	}
	return &kgo.Record{
		Topic: events.TopicRawImages, Key: []byte(raw.ImageID), Value: value, Timestamp: s.cfg.Stamp.Now(),
		Headers: []kgo.RecordHeader{{Key: events.TraceHeader, Value: []byte(raw.Trace)}},
	}, nil
}

// foretell fills in the answers for the case that the records are acknowledged. An image that is living already, or
// that came earlier in the same request, is a duplicate and expires with its first receipt.
func (s *Server) foretell(raws []events.RawImage, outcomes []outcome) {
	first := map[string]time.Time{}
	for i, raw := range raws {
		if raw.ImageID == "" || outcomes[i].problem != nil {
			continue
		}
		a := accepted{
			ImageID: raw.ImageID, Status: events.StatusAccepted, StatusURL: s.cfg.PublicURL + "/v1/images/" + raw.ImageID,
			SHA256: hexDigest(raw.SHA256), Bytes: raw.Bytes, ContentType: raw.ContentType, ExpiresAt: raw.ExpiresAt,
		}
		if expires, twice := first[raw.ImageID]; twice {
			a.Duplicate, a.ExpiresAt = true, expires
		} else if it := s.view.look(raw.Tenant, raw.ImageID).item; it != nil && it.ends.After(raw.ReceivedAt) {
			a.Duplicate, a.ExpiresAt = true, it.expires.UTC()
		}
		first[raw.ImageID] = a.ExpiresAt
		outcomes[i].accepted = a
	}
}

// countOutcomes counts what was taken in, and logs what was not although it could have been.
func (s *Server) countOutcomes(u *uploading, outcomes []outcome) {
	for i, o := range outcomes {
		switch {
		case o.problem == nil && o.accepted.Duplicate:
			s.metrics.images.WithLabelValues("duplicate").Inc()
		case o.problem == nil:
			s.metrics.images.WithLabelValues("accepted").Inc()
		case u.parts[i].problem == nil:
			s.metrics.images.WithLabelValues(o.problem.name).Inc()
			s.cfg.Log.Error("an image was not accepted", "request_id", u.c.id, "error", o.problem)
		}
	}
}

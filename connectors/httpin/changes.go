package httpin

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/events"
)

// change hands a team's change event in. Who owns the topic is asked before the body is read: a team learns nothing
// about the events of another, not even what is wrong with its own attempt at one.
func (s *Server) change(c *call) error {
	topic := c.r.PathValue("topic")
	owner, known := changes.Owner(topic)
	if !known {
		return kindNotFound.because("There is no change topic of this name.")
	}
	if p := c.who.need(ScopeChanges + topic); p != nil {
		return p
	}
	if c.who.team != string(owner) {
		return kindForbidden.because("The topic belongs to another team.")
	}
	b, p := s.openBody(c, s.cfg.Limits.ChangeBytes)
	if p != nil {
		return p
	}
	held, p := s.answers.claim(c.r, c.who.account(), topic)
	if p != nil {
		return p
	}
	defer held.drop()
	event, p := readChange(b, s.cfg.Limits.ChangeBytes)
	if p != nil {
		return p
	}
	return s.publish(c, held, topic, event)
}

// readChange reads an event whole.
func readChange(b *body, most int64) ([]byte, *problem) {
	event, err := io.ReadAll(io.LimitReader(b, most+1))
	switch {
	case err != nil:
		return nil, refusal(&intake.BodyError{Err: err})
	case int64(len(event)) > most:
		return nil, kindTooLarge.because("A change event has at most %d bytes.", most)
	}
	return event, b.verify()
}

// publish answers as before for a repeated event under the same Idempotency-Key, else by publishing it.
func (s *Server) publish(c *call, held claim, topic string, event []byte) error {
	body := printOf(event)
	earlier, again, p := held.repeat(body)
	if p != nil {
		return p
	}
	if again {
		return c.send(earlier)
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), s.cfg.Limits.Accept)
	defer cancel()
	receipt, err := changes.Publish(ctx, s.producer, topic, event, changes.PublishOptions{
		Timestamp: s.cfg.Stamp.Now(), Decoder: s.cfg.Changes,
		Headers: []kgo.RecordHeader{{Key: events.TraceHeader, Value: []byte(c.trace)}},
	})
	if err != nil {
		return changeRefusal(err)
	}
	a, err := jsonAnswer(http.StatusAccepted, receipt)
	if err != nil {
		return err
	}
	held.settle(body, a)
	return c.send(a)
}

// changeRefusal is what to answer when an event was not published. The faults name fields and never repeat contents.
func changeRefusal(err error) *problem {
	var fault *changes.Error
	switch {
	case !errors.As(err, &fault):
		return unavailable("Kafka did not acknowledge the event; it may or may not be accepted. Send it again with the same event_id.", err)
	case fault.Kind() == changes.Malformed:
		return kindMalformed.because("%s", fault.Error())
	}
	return kindUnprocessable.because("%s", fault.Error())
}

package worker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/patience"
	"github.com/millrun/millrun/processors/host"
	"github.com/millrun/millrun/processors/images"
)

// pipeline is what all tasks of a worker share. Safe for concurrent use.
type pipeline struct {
	c       Config
	decoder *images.Decoder
	hosts   []*host.Host
	metrics *workerMetrics
	wait    *patience.Patience
}

// newPipeline makes a pipeline without steps: openSteps starts them.
func newPipeline(c Config) (*pipeline, error) {
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	d := images.NewDecoder(images.DecoderConfig{Limits: c.Limits, Budget: c.DecodeMemory, Timeout: c.DecodeTimeout})
	return &pipeline{c: c, decoder: d, metrics: m, wait: patience.New(c.Log, m.waits.Inc)}, nil
}

func (p *pipeline) openSteps() error {
	var faults []error
	for _, s := range p.c.Steps {
		s.Processes = max(s.Processes, p.c.Threads)
		h, err := host.New(s, p.c.Log)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p.hosts = append(p.hosts, h)
	}
	return errors.Join(faults...)
}

// close ends the steps and waits for decoders that were left alone.
func (p *pipeline) close(ctx context.Context) error {
	var faults []error
	for _, h := range p.hosts {
		faults = append(faults, h.Close(ctx))
	}
	p.decoder.Wait()
	return errors.Join(faults...)
}

// now is the moment a status gets: whole milliseconds, as Avro has them.
func (p *pipeline) now() time.Time { return p.c.Clock.Now().UTC().Truncate(time.Millisecond) }

// deleteAttempts is how often a staging blob is tried to be deleted before it is left to the purge.
const deleteAttempts = 5

// awayError is a storage that does not answer as it should: the same again may succeed.
type awayError struct{ err error }

// Error is the storage's.
func (a *awayError) Error() string { return a.err.Error() }

// Unwrap returns it.
func (a *awayError) Unwrap() error { return a.err }

// away marks a storage's error unless it is an answer about the blob, or says that the request itself is wrong, which it
// will be again.
func away(err error) error {
	if err == nil || errors.Is(err, azblob.ErrNotFound) {
		return err
	}
	if _, tooLarge := errors.AsType[*azblob.TooLargeError](err); tooLarge {
		return err
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusRequestEntityTooLarge) {
		return &fault{code: events.CodeInternal, err: err}
	}
	return &awayError{err}
}

func isAway(err error) bool {
	_, storage := errors.AsType[*awayError](err)
	return storage || errors.Is(err, events.ErrRegistry)
}

// persist does f until it succeeds or the answer is final, however long the storage or the schema registry is away.
func (p *pipeline) persist(ctx context.Context, what string, f func() error) error {
	return p.wait.Persist(ctx, "worker: "+what, isAway, f)
}

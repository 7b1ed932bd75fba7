package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/store"
)

// Here stands what an error of sending or committing means, and nowhere else.

// step is where a thread was when an error came.
type step uint8

const (
	sending    step = iota // a record was not acknowledged
	flushing               // not everything was acknowledged in time
	committing             // offsets, with a transaction or without
	concluding             // a transaction
)

// String completes "stream: ...".
func (s step) String() string {
	return [...]string{"send", "flush", "commit offsets", "end the transaction"}[s]
}

// trouble is an error of sending or committing. Errors of the user's code never are, whatever they wrap.
type trouble struct {
	step step
	err  error
}

// Error names the step.
func (e *trouble) Error() string { return fmt.Sprintf("%s: %v", e.step, e.err) }

// Unwrap returns the cause.
func (e *trouble) Unwrap() error { return e.err }

func troubled(s step, err error) error {
	if err == nil {
		return nil
	}
	return &trouble{s, err}
}

// verdict is what follows from a trouble.
type verdict uint8

const (
	again  verdict = iota // nothing is lost: the same once more, until the task timeout
	undone                // the transaction is aborted, its tasks begin anew at the last commit
	moved                 // others own the tasks: give them up, join again
	fenced                // the producer is of no use any more: as moved, with a new client
	final                 // nothing helps but an operator or another program
)

// String names the verdict.
func (v verdict) String() string {
	return [...]string{"again", "undone", "moved", "fenced", "final"}[v]
}

var (
	// ofGroup say that the group goes on without this member.
	ofGroup = []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch}
	// ofProducer say that the broker knows another state of the producer than the producer does.
	ofProducer = []error{kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID}
	// ofRecord say that the record itself is refused, and others would be taken.
	ofRecord = []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.PolicyViolation}
	// ofOperator say that something must be granted or configured first.
	ofOperator = []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.UnsupportedVersion, kerr.InvalidTopicException,
		kerr.OffsetMetadataTooLarge, kerr.InvalidTransactionTimeout, kerr.InvalidGroupID, kerr.UnsupportedForMessageFormat, kerr.FencedInstanceID}
)

// judge is the table. A transaction can be undone, so under exactly-once whatever may pass is; at-least-once has nothing but
// patience.
func judge(at step, err error, exactly bool) verdict {
	_, kafka := errors.AsType[*kerr.Error](err)
	switch {
	case isAny(err, ofOperator):
		return final
	case at == sending && isAny(err, ofRecord):
		return final // the production handler has been asked
	case errors.Is(err, errMoved), isAny(err, ofGroup):
		return moved
	case errors.Is(err, kerr.ProducerFenced):
		return fenced
	case isAny(err, ofProducer) && !exactly:
		return fenced
	case errors.Is(err, kgo.ErrClientClosed):
		return final
	case errors.Is(err, kerr.RebalanceInProgress):
		return again // a commit between two generations
	case exactly:
		return undone
	case at == sending && !kafka:
		return fenced // the network: a new client processes again what was not acknowledged
	case at == sending:
		return final // the client has tried for as long as trying may help
	case !kafka, kerr.IsRetriable(err):
		return again
	}
	return final
}

// passing says whether a thread that ends may leave it at that: others process again what was not committed. Only what an
// operator or another program has to mend is worth an error then.
func passing(tr *trouble, exactly bool) bool {
	_, kafka := errors.AsType[*kerr.Error](tr.err)
	return !kafka || judge(tr.step, tr.err, exactly) != final
}

func isAny(err error, of []error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// recordsFault says whether the broker refuses this record for good, and would take others.
func recordsFault(err error) bool { return isAny(err, ofRecord) }

// strangers says whether a broker will not talk to this client, however often it tries.
func strangers(err error) bool {
	return distrusted(err) || isAny(err, []error{kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism})
}

// distrusted says whether a broker's certificate is not one that the client takes.
func distrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// remedy is what an operator can do about an error of an application; "" if that is unknown.
func remedy(app string, err error) string {
	for _, r := range []struct {
		err  error
		says string
	}{
		{kerr.TopicAuthorizationFailed, "grant this application's principal Read on its source topics, Write on those it sends to, and Create, Read, Write and Delete on topics with the prefix " + app + "-"},
		{kerr.GroupAuthorizationFailed, "grant this application's principal Read on group " + app},
		{kerr.TransactionalIDAuthorizationFailed, "grant this application's principal Write on transactional ids with the prefix " + app + "-"},
		{kerr.ClusterAuthorizationFailed, "grant IdempotentWrite on the cluster"},
		{kerr.SaslAuthenticationFailed, "check user and password in Config.ClientOptions"},
		{kerr.UnsupportedSaslMechanism, "let kgo.SASL in Config.ClientOptions be a mechanism that the brokers have"},
		{kerr.InvalidTransactionTimeout, "Config.TransactionTimeout is more than the brokers' transaction.max.timeout.ms"},
		{kerr.OffsetMetadataTooLarge, "the brokers' offset.metadata.max.bytes is too small"},
		{kerr.InvalidTimestamp, "the record's time is further from the broker's clock than the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms allow: " +
			"set the clock of this machine or of whoever wrote the input, or allow more"},
		{kerr.FencedInstanceID, "another process has the same Config.InstanceID: each needs one of its own"},
		{kerr.UnsupportedVersion, "the brokers are too old for what the application asks"},
	} {
		if errors.Is(err, r.err) {
			return r.says
		}
	}
	if distrusted(err) {
		return "give kgo.DialTLSConfig in Config.ClientOptions the authority that signed the brokers' certificates, or the name in them"
	}
	return ""
}

// errFenced ends the work of a thread's client; the thread goes on with another.
var errFenced = errors.New("stream: the producer was fenced")

// settle does what follows from an error of a turn. It returns those that end the thread, or its client.
func (t *thread) settle(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrDamaged) {
		return t.mend(ctx, err)
	}
	var tr *trouble
	if err == nil || !errors.As(err, &tr) {
		return err
	}
	v := judge(tr.step, tr.err, t.e.o.ExactlyOnce)
	if v == final {
		return t.explained(err)
	}
	if v == again && errors.Is(err, kerr.RebalanceInProgress) { // it lasts as long as other members need
		t.asked = true
		return nil
	}
	if t.troubled.IsZero() {
		t.troubled = time.Now()
	} else if since := time.Since(t.troubled); since > t.e.o.TaskTimeout {
		return fmt.Errorf("stream: no commit has succeeded for %s (Config.TaskTimeout is %s): %w", since.Round(time.Second), t.e.o.TaskTimeout, t.explained(err))
	}
	t.log.Warn("sending or committing failed", "error", err, "follows", v.String())
	t.meter.errors++
	t.e.o.Metrics.Add("millrun_stream_troubles_total", 1, t.labels("follows", v.String())...)
	switch v {
	case again:
		t.asked = true
		return nil
	case undone:
		return t.undo(ctx)
	case moved:
		err := t.abort(ctx)
		t.recall()
		t.giveUp(t.drop(t.tasks))
		t.member.rejoin()
		return err
	case fenced, final:
	}
	return fmt.Errorf("%w: %w", errFenced, err)
}

// explained adds the remedy.
func (t *thread) explained(err error) error { return fmt.Errorf("stream: %w", advised(t.e.app, err)) }

// advised adds the remedy for an error of an application, once.
func advised(app string, err error) error {
	if r := remedy(app, err); r != "" && !strings.Contains(err.Error(), r) {
		return fmt.Errorf("%w (%s)", err, r)
	}
	return err
}

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stage is an application on a broker: its topics, its workers, what feeds and what watches them.
type stage struct {
	o      *Options
	app    string
	broker string
	feed   *feed
	watch  *watch
	fleet  *fleet

	stop    context.CancelFunc
	running sync.WaitGroup
	marked  int
	gone    []string     // the workers that have ended by themselves
	alive   func() error // of the broker; nil: it is not ours
}

// newStage makes the topics; no worker runs yet. Worker i finds the broker at addrs[i].
func newStage(ctx context.Context, o *Options, app, broker string, addrs []string) (*stage, error) {
	if err := makeTopics(ctx, o.Partitions, broker, app); err != nil {
		return nil, err
	}
	if o.Protocol == "streams" { // then it is the group that has timeouts, not its members
		if err := setSession(ctx, broker, app, o.Session); err != nil {
			return nil, err
		}
	}
	s := &stage{o: o, app: app, broker: broker}
	s.fleet = &fleet{program: o.Programs.Worker, dir: o.Dir, addrs: addrs, slots: make([]slot, len(addrs)), args: []string{
		"--app=" + app, "--guarantee=" + o.Guarantee, "--protocol=" + o.Protocol, "--store=" + o.Store,
		"--threads=" + strconv.Itoa(o.Threads), "--commit=" + o.Commit.String(), "--session=" + o.Session.String(),
		"--transaction-timeout=" + o.TransactionTimeout.String()}}
	var err error
	if s.feed, err = newFeed(o, broker, app); err != nil {
		return nil, err
	}
	if s.watch, err = newWatch(o, broker, app); err != nil {
		s.feed.close()
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.running.Go(func() { s.watch.run(ctx) })
	return s, nil
}

func makeTopics(ctx context.Context, partitions int32, broker, app string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer client.Close()
	resp, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 1, nil, app+"-left", app+"-right", app+"-counts", app+"-windows", app+"-joined")
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("crash: topics: %w", err)
	}
	return nil
}

func setSession(ctx context.Context, broker, app string, timeout time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer client.Close()
	group := kmsg.NewIncrementalAlterConfigsRequestResource()
	group.ResourceType, group.ResourceName = kmsg.ConfigResourceTypeGroupConfig, app
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "streams.session.timeout.ms", new(strconv.FormatInt(timeout.Milliseconds(), 10))
	group.Configs = append(group.Configs, config)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, group)
	resp, err := req.RequestWith(ctx, client)
	if err == nil && len(resp.Resources) == 1 {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("crash: session timeout of group %s: %w", app, err)
	}
	return nil
}

// close kills the workers that are left and ends what the stage has started.
func (s *stage) close() error {
	err := s.fleet.close()
	s.stop()
	s.feed.close()
	s.running.Wait()
	return err
}

// start starts all workers.
func (s *stage) start() error {
	for i := range s.fleet.slots {
		if err := s.fleet.start(i); err != nil {
			return err
		}
	}
	return nil
}

// mark writes a marker and says how to wait for it.
func (s *stage) mark(ctx context.Context) *wait {
	s.marked++
	m, records := s.feed.marker(fmt.Sprintf("f%d", s.marked))
	w := s.watch.await(m)
	s.feed.mark(ctx, records)
	return w
}

// tend starts workers again that have ended by themselves, as whoever operates them would, and remembers that they have.
// That the broker has ended by itself is no fault of theirs, and ends the run.
func (s *stage) tend() error {
	gone, err := s.fleet.deserters()
	s.gone = append(s.gone, gone...)
	if s.alive != nil {
		err = errors.Join(err, s.alive())
	}
	return err
}

// through waits until a marker has come out.
func (s *stage) through(ctx context.Context, w *wait) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Patience)
	defer cancel()
	tick := time.NewTicker(tending)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return s.tend()
		case <-ctx.Done():
			n, one := s.watch.missing(w)
			return fmt.Errorf("crash: within %s a marker has not come through: %d outputs are missing, one of them %q: %w", s.o.Patience, n, one, ctx.Err())
		case <-tick.C:
			if err := s.tend(); err != nil {
				return err
			}
		}
	}
}

// tending is how often the workers are looked after.
const tending = 200 * time.Millisecond

// progress waits until n ordinary records have come out.
func (s *stage) progress(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Patience)
	defer cancel()
	tick := time.NewTicker(tending)
	defer tick.Stop()
	for {
		seen, changed := s.watch.outputs()
		if seen >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("crash: %d records have come out, waited for %d: %w", seen, n, ctx.Err())
		case <-tick.C:
			if err := s.tend(); err != nil {
				return err
			}
		}
	}
}

// finish waits until all that was written has come out, ends the workers well, and lets the checker judge.
func (s *stage) finish(ctx context.Context) (*Verdict, error) {
	if err := s.feed.client.Flush(ctx); err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	if err := errors.Join(s.feed.failure(), s.through(ctx, s.mark(ctx))); err != nil {
		return nil, err
	}
	for i := range s.fleet.slots {
		if err := s.fleet.stop(ctx, i, s.o.Patience); err != nil {
			return nil, err
		}
	}
	return s.judge(ctx)
}

// Verdict is what the checker says. Lost, Doubled and Strange must be 0.
type Verdict struct {
	Left       int64    `json:"left"`
	Right      int64    `json:"right"`
	Counts     Tally    `json:"counts"`
	Windows    Tally    `json:"windows"`
	Joined     Tally    `json:"joined"`
	Lost       int64    `json:"lost"`
	Doubled    int64    `json:"doubled"`
	Strange    int64    `json:"strange"`
	Complaints []string `json:"complaints"`
}

// Tally is what the checker says of one output topic.
type Tally struct {
	Keys     int     `json:"keys"`
	Expected int64   `json:"expected"`
	Records  int64   `json:"records"`
	Lost     int64   `json:"lost"`
	Doubled  int64   `json:"doubled"`
	Fell     int64   `json:"fell"`
	Excess   float64 `json:"excess_percent"`
}

// again is how many results came out more often than records were to take effect.
func (t Tally) again() int64 { return max(0, t.Records-t.Expected) }

// judge runs the checker, which exits with 1 when it complains.
func (s *stage) judge(ctx context.Context) (*Verdict, error) {
	cmd := exec.CommandContext(ctx, s.o.Programs.Check, "--app="+s.app, "--broker="+s.broker, "--guarantee="+s.o.Guarantee,
		fmt.Sprintf("--left=%d", s.feed.left.Load()), fmt.Sprintf("--right=%d", s.feed.right.Load()))
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	err := cmd.Run()
	var v Verdict
	if jerr := json.Unmarshal(out.Bytes(), &v); jerr != nil {
		return nil, fmt.Errorf("crash: the checker has no verdict (%w): %s", errors.Join(err, jerr), says.String())
	}
	return &v, nil
}

// logs is a pattern of the files with what workers and broker have said.
func (o *Options) logs() string { return filepath.Join(o.Dir, "*.log") }

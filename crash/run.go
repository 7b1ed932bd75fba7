package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/millrun/millrun/internal/real"
)

// rig is a stage on a broker of its own, with a proxy for each worker.
type rig struct {
	*stage

	server  *real.Broker
	proxies []*proxy
	mender  *mender // from the first kill of a broker with transactions on
	report  *Report
}

// application is the application id: nobody else uses the broker.
const application = "crash"

// Run injects all faults and reports. The error says what failed beside the report's own figures, which hold until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &rig{report: newReport(&o)}
	start := time.Now()
	err := r.setUp(ctx, &o)
	if err == nil {
		err = r.attack(ctx)
	}
	r.report.Elapsed = time.Since(start)
	if err != nil && r.stage != nil {
		err = errors.Join(err, r.fleet.dump())
	}
	if err = errors.Join(err, r.tearDown()); err != nil {
		return r.report, fmt.Errorf("%w\nlogs: %s\nrepeat by: %s", err, o.logs(), o.Command())
	}
	return r.report, r.report.Fault()
}

// setUp starts proxies, broker and feed.
func (r *rig) setUp(ctx context.Context, o *Options) (err error) {
	var addrs []string
	for range o.Workers {
		p, err := newProxy()
		if err != nil {
			return err
		}
		r.proxies = append(r.proxies, p)
		addrs = append(addrs, p.addr())
	}
	r.server, err = real.NewBroker(ctx, real.BrokerOptions{Dir: filepath.Clean(o.Dir), Proxies: addrs, Config: map[string]string{"group.min.session.timeout.ms": "1000"}})
	if err != nil {
		return err
	}
	for i, p := range r.proxies {
		p.aim(r.server.Behind(i))
	}
	if err := r.server.Start(ctx); err != nil {
		return err
	}
	if r.stage, err = newStage(ctx, o, application, r.server.Addr(), addrs); err != nil {
		return err
	}
	r.stage.alive = r.server.Fault
	return nil
}

func (r *rig) tearDown() error {
	var errs []error
	if r.stage != nil {
		errs = append(errs, r.stage.close())
	}
	if r.mender != nil {
		r.mender.client.Close()
	}
	if r.server != nil {
		errs = append(errs, r.server.Kill())
	}
	for _, p := range r.proxies {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// stopServer ends the broker in its own way. A broker that waits for more than half a minute is killed.
func (r *rig) stopServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return r.server.Stop(ctx)
}

// attack is the run. A tenth of the records is there before the first start.
func (r *rig) attack(ctx context.Context) error {
	r.feed.flow(ctx, r.o.Records/10, 0)
	first := r.mark(ctx)
	if err := r.start(); err != nil {
		return err
	}
	if err := r.through(ctx, first); err != nil {
		return fmt.Errorf("crash: the workers do not begin: %w", err)
	}
	flowing, stop := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() { // ends with flowing, which attack ends
		defer close(fed)
		r.feed.flow(flowing, int64(1)<<62, r.o.Rate)
	}()
	err := r.injectAll(ctx)
	stop()
	<-fed
	if err != nil {
		return err
	}
	r.feed.flow(ctx, r.o.Records-r.feed.sent(), 4*r.o.Rate) // whatever the faults left to do
	v, err := r.finish(ctx)
	r.report.Verdict, r.report.Deserters = v, append([]string{}, r.gone...)
	return err
}

func (r *rig) injectAll(ctx context.Context) error {
	for i, f := range schedule(r.o) {
		out, err := r.inject(ctx, i+1, f)
		before := len(r.report.Deserters)
		err = errors.Join(err, r.tend(), r.feed.failure())
		r.report.Deserters = append([]string{}, r.gone...)
		if err != nil {
			return errors.Join(append([]error{err}, texts(r.gone[before:])...)...)
		}
		r.report.Faults = append(r.report.Faults, out)
		r.o.Log.Info("fault", "number", out.Number, "kind", out.Kind, "victims", out.Victims, "length", short(out.Length), "before", out.Before,
			"during", out.During, "recovery", short(out.Recovery), "return", short(out.Return), "silence", short(out.Silence), "hanging", out.Hanging, "sent", r.feed.sent(), "deserters", len(r.gone)-before)
	}
	return nil
}

func texts(lines []string) (errs []error) {
	for _, l := range lines {
		errs = append(errs, errors.New(l))
	}
	return errs
}

func short(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/task"
)

// globals keeps the instance's global stores up to date, by a group-less client of its own that reads every partition of
// their topics. It belongs to one goroutine: that of Engine.run while it loads, and then one of its own until the engine
// ends.
type globals struct {
	e    *Engine
	log  *slog.Logger
	cl   *kgo.Client
	g    *task.Global
	ends map[part]int64 // where partitions ended when loading began, those that are reached left out
	done int64          // records applied
}

// loadGlobals reads the topics of the global stores up to where they end now. It returns nil if there are none.
func (e *Engine) loadGlobals(ctx context.Context) (*globals, error) {
	log := e.o.Log.With("thread", e.o.ClientID+"-GlobalStreamThread")
	g, err := task.NewGlobal(e.o.Program, e.o.Clock(), task.Env{
		Context: ctx, Log: log,
		Partitions: func(topic string) int32 {
			n, _ := e.partitions.get(topic)
			return n
		},
	})
	if err != nil || g == nil {
		return nil, err
	}
	out := &globals{e: e, log: log, g: g, ends: map[part]int64{}}
	if err := out.load(ctx); err != nil {
		out.close()
		return nil, err
	}
	e.o.Program.Globals.Serve(g)
	e.serve(g)
	return out, nil
}

func (g *globals) load(ctx context.Context) error {
	topics := g.e.o.Program.Plan.GlobalTopics()
	starts, err := list(ctx, topics, g.e.admin.ListStartOffsets)
	if err != nil {
		return fmt.Errorf("stream: global stores: %w", err)
	}
	ends, err := list(ctx, topics, g.e.admin.ListCommittedOffsets)
	if err != nil {
		return fmt.Errorf("stream: global stores: %w", err)
	}
	read := map[string]map[int32]kgo.Offset{}
	for topic, partitions := range starts {
		read[topic] = map[int32]kgo.Offset{}
		for p, start := range partitions {
			end, ok := ends.Lookup(topic, p)
			if err := errors.Join(start.Err, end.Err); err != nil || !ok {
				return fmt.Errorf("%w: global topic %s-%d: %w", ErrTopics, topic, p, err)
			}
			read[topic][p] = kgo.NewOffset().At(start.Offset)
			if start.Offset < end.Offset {
				g.ends[part{topic, p}] = end.Offset
			}
		}
	}
	g.cl, err = kgo.NewClient(append(g.e.options("global"),
		kgo.ConsumePartitions(read),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // what was deleted under us is gone from the table too
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return fmt.Errorf("stream: client: %w", err)
	}
	g.tell(false)
	for len(g.ends) > 0 {
		if err := g.poll(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	g.tell(true)
	return nil
}

// run follows the topics until ctx ends.
func (g *globals) run(ctx context.Context) error {
	for last := time.Now(); ctx.Err() == nil; {
		if err := g.poll(ctx); err != nil {
			return err
		}
		if time.Since(last) > time.Second {
			last = time.Now()
			g.count()
		}
	}
	return nil
}

// poll applies what has come.
func (g *globals) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	fetches := g.cl.PollRecords(ctx, pollMost)
	for _, f := range fetches.Errors() {
		if err := g.fault(f); err != nil {
			return err
		}
	}
	var failed error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 || failed != nil {
			return
		}
		in := make([]task.Input, 0, len(p.Records))
		for _, rec := range p.Records {
			if !rec.Attrs.IsControl() {
				in = append(in, input(rec))
			}
		}
		failed = g.g.Apply(g.e.o.Clock(), p.Topic, in)
		g.done += int64(len(in))
		at := part{p.Topic, p.Partition}
		if end, ok := g.ends[at]; ok && p.Records[len(p.Records)-1].Offset+1 >= end {
			delete(g.ends, at)
		}
	})
	return failed
}

// fault decides about an error of fetching. The client retries what may pass.
func (g *globals) fault(f kgo.FetchError) error {
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(f.Err, context.DeadlineExceeded), errors.Is(f.Err, context.Canceled), errors.Is(f.Err, kgo.ErrClientClosed):
		return nil
	case errors.As(f.Err, &lost):
		g.log.Warn("records are gone", "topic", lost.Topic, "partition", lost.Partition, "had", lost.ConsumedTo, "continues", lost.ResetTo)
		return nil
	case errors.Is(f.Err, kerr.UnknownTopicOrPartition), errors.Is(f.Err, kerr.UnknownTopicID):
		return fmt.Errorf("%w: topic %q was deleted while it was read: %w", ErrTopics, f.Topic, f.Err)
	}
	return fmt.Errorf("stream: fetch from %s-%d: %w", f.Topic, f.Partition, f.Err)
}

// tell says how loading goes.
func (g *globals) tell(done bool) {
	var left int64
	for _, end := range g.ends {
		left += end
	}
	for _, name := range g.g.Stores() {
		g.e.o.OnRestore(Restored{Store: name, Task: task.ID{Sub: task.GlobalSub}, Restored: g.done, Remaining: left, Done: done})
	}
}

func (g *globals) count() {
	g.e.counted(g.g.Counts(), []string{"application", g.e.app, "thread", g.e.o.ClientID + "-GlobalStreamThread"})
}

// close ends the client and the processors.
func (g *globals) close() {
	if g.cl != nil {
		g.count()
		g.cl.Close()
	}
	if err := g.g.Close(); err != nil {
		g.log.Warn("a processor of a global store did not close well", "error", err)
	}
}

// serve makes the global stores readable for queries.
func (e *Engine) serve(g *task.Global) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range g.Stores() {
		s, _ := g.Store(name)
		e.stores[name] = map[task.ID]*task.Store{{Sub: task.GlobalSub}: s}
	}
}

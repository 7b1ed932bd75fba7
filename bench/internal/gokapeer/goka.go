// Package gokapeer is lovoo/goka on W1, W2 and W6. goka has no repartition operator, windows, stream joins of two
// partitioned streams or transactions, so it has no part in the others.
package gokapeer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"log"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/lovoo/goka/storage"

	"github.com/millrun/millrun/bench/internal/peer"
)

const name = "goka"

// Main runs the peer with the contract's flags.
func Main(argv []string) {
	a := peer.Parse(name, argv)
	if a.Guarantee != "alos" {
		peer.Fatal(fmt.Errorf("goka does not do %s", a.Guarantee))
	}
	if err := run(a, time.Now()); err != nil {
		peer.Fatal(err)
	}
}

func run(a peer.Args, began time.Time) error {
	configure(a)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var processed atomic.Int64
	done := func() {
		if processed.Add(1) == a.Until {
			stop()
		}
	}
	graph, err := graph(a, done)
	if err != nil {
		return err
	}
	tm := goka.NewTopicManagerConfig()
	tm.Table.Replication, tm.Stream.Replication = 1, 1
	store := storage.MemoryBuilder()
	if a.Store == "disk" {
		store = storage.DefaultBuilder(filepath.Join(a.StateDir, "goka"))
	}
	p, err := goka.NewProcessor(a.Brokers, graph,
		goka.WithHasher(func() hash.Hash32 { return new(murmur2) }), // keys were placed by Kafka's default partitioner
		goka.WithStorageBuilder(store),
		goka.WithLogger(quiet{log.New(io.Discard, "", 0)}),
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithTopicManagerConfig(tm)))
	if err != nil {
		return err
	}
	restored := make(chan time.Duration, 1)
	go func() {
		if p.WaitForReadyContext(ctx) == nil {
			restored <- time.Since(began)
		}
	}()
	if err := p.Run(ctx); err != nil {
		return err
	}
	restore := time.Duration(0)
	select {
	case restore = <-restored:
	default:
	}
	peer.Report(name, a, processed.Load(), began, restore)
	return nil
}

// configure departs from goka's defaults only where the comparison needs it: start at the oldest record, no
// compression and all acknowledgements, as Kafka Streams.
func configure(a peer.Args) {
	c := goka.DefaultConfig()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = a.CommitEvery()
	c.Producer.Compression = sarama.CompressionNone
	c.Producer.RequiredAcks = sarama.WaitForAll
	goka.ReplaceGlobalConfig(c)
}

func graph(a peer.Args, done func()) (*goka.GroupGraph, error) {
	in, out := goka.Stream(a.In[0]), goka.Stream(a.Out)
	switch a.Workload {
	case "W1":
		return goka.DefineGroup(goka.Group(a.AppID),
			goka.Input(in, eventCodec{}, func(ctx goka.Context, msg any) {
				if e := msg.(*event); e.Amount >= 50 {
					ctx.Emit(out, ctx.Key(), &total{e.ID, e.User, 2 * e.Amount})
				}
				done()
			}),
			goka.Output(out, totalCodec{})), nil
	case "W2", "W6":
		return goka.DefineGroup(goka.Group(a.AppID),
			goka.Input(in, new(codec.Bytes), func(ctx goka.Context, _ any) {
				n, _ := ctx.Value().(uint64)
				ctx.SetValue(n + 1)
				ctx.Emit(out, ctx.Key(), n+1)
				done()
			}),
			goka.Output(out, countCodec{}),
			goka.Persist(countCodec{})), nil
	}
	return nil, fmt.Errorf("goka does not do %s", a.Workload)
}

type event struct {
	ID     int    `json:"id"`
	User   string `json:"user"`
	Team   string `json:"team"`
	Amount int    `json:"amount"`
}

type total struct {
	ID    int    `json:"id"`
	User  string `json:"user"`
	Total int    `json:"total"`
}

type eventCodec struct{}

func (eventCodec) Encode(v any) ([]byte, error) { return json.Marshal(v) }
func (eventCodec) Decode(b []byte) (any, error) {
	e := new(event)
	return e, json.Unmarshal(b, e)
}

type totalCodec struct{}

func (totalCodec) Encode(v any) ([]byte, error) { return json.Marshal(v) }
func (totalCodec) Decode(b []byte) (any, error) {
	t := new(total)
	return t, json.Unmarshal(b, t)
}

// countCodec is 8 bytes, big endian, as Kafka's Long serde.
type countCodec struct{}

func (countCodec) Encode(v any) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, v.(uint64)), nil
}
func (countCodec) Decode(b []byte) (any, error) { return binary.BigEndian.Uint64(b), nil }

type quiet struct{ *log.Logger }

// murmur2 is the hash of Kafka's default partitioner.
type murmur2 struct{ data []byte }

func (m *murmur2) Write(b []byte) (int, error) {
	m.data = append(m.data, b...)
	return len(b), nil
}
func (m *murmur2) Sum(b []byte) []byte { return binary.BigEndian.AppendUint32(b, m.Sum32()) }
func (m *murmur2) Reset()              { m.data = m.data[:0] }
func (m *murmur2) Size() int           { return 4 }
func (m *murmur2) BlockSize() int      { return 4 }

// Sum32 has its sign bit cleared, as Kafka does before it takes the remainder.
func (m *murmur2) Sum32() uint32 {
	const mul, shift = 0x5bd1e995, 24
	b := m.data
	h := 0x9747b28c ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * mul
		h = h*mul ^ (k^k>>shift)*mul
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * mul
	}
	h = (h ^ h>>13) * mul
	return (h ^ h>>15) & 0x7fffffff
}

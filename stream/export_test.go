package stream

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/task"
)

// ChainForTest makes a task of a topology that reads numbers from "in", and returns what processes one record. Queues are
// left out by giving it one record at a time from a slice made before.
func ChainForTest(t testing.TB, build func(*Builder)) func() {
	t.Helper()
	b := NewBuilder()
	build(b)
	p, err := Assemble(opt.Seal{}, b, Config{ApplicationID: "bench", MaxTaskIdle: -1, CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	made, err := task.New(p, task.ID{}, p.Plan.Subs, task.Env{Context: context.Background(), Partitions: func(string) int32 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(0)
	if err := made.Init(now, nil); err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20
	in := make([]task.Input, n)
	for i := range in {
		key := binary.BigEndian.AppendUint64(nil, uint64(i%1000))
		in[i] = task.Input{Topic: "in", Offset: int64(i), Key: key, Value: key}
	}
	left := 0
	return func() {
		if left == 0 {
			made.Add("in", in)
			left = n
		}
		left--
		if _, err := made.Process(now); err != nil {
			t.Fatal(err)
		}
		made.Take()
	}
}

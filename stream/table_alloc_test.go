package stream_test

import (
	"testing"

	"github.com/millrun/millrun/stream"
)

// tableChains are operators of tables whose cost is measured, over numbers, so that the serdes allocate nothing.
var tableChains = map[string]func(b *stream.Builder){
	"Table": func(b *stream.Builder) {
		b.Table[int64, int64]("in", stream.As("kept")).Filter(func(_, v int64) bool { return v >= 0 }).
			MapValues(func(k, v int64) int64 { return k + v }).ToStream().ForEach(func(int64, int64) {})
	},
	"Join": func(b *stream.Builder) {
		t := b.Table[int64, int64]("in")
		t.LeftJoin(t, func(_, v, o int64, _ bool) int64 { return v + o }).ToStream().ForEach(func(int64, int64) {})
	},
	"JoinTable": func(b *stream.Builder) {
		s := b.Stream[int64, int64]("in")
		s.JoinTable(s.ToTable(), func(_, v, o int64) int64 { return v + o }).ForEach(func(int64, int64) {})
	},
	"GroupBy": func(b *stream.Builder) {
		b.Table[int64, int64]("in").GroupBy(func(_, v int64) (int64, int64) { return v % 7, v }).Count()
	},
}

// Not parallel: it counts allocations.
func TestOperatorsOfTablesAllocateNothing(t *testing.T) {
	for name, build := range tableChains {
		run := stream.ChainForTest(t, build)
		for range 2000 { // each key is there then
			run()
		}
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations a record", name, n)
		}
	}
}

func BenchmarkTables(b *testing.B) {
	for name, build := range tableChains {
		b.Run(name, func(b *testing.B) {
			run := stream.ChainForTest(b, build)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

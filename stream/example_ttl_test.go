package stream_test

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// Who has not been heard of for half an hour is offline, and is kept no longer: neither here nor in the changelog.
func Example_ttl() {
	online := state.TimestampedKeyValue[string, string]("online", state.TTL(30*time.Minute))
	b := stream.NewBuilder()
	b.Table[string, string]("heartbeats", stream.Into(online)).ToStream().To("presence")

	d := streamtest.New(&exampleT{}, b)
	in := d.Input(stream.Topic[string, string]("heartbeats"))
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in.PipeAt(noon, "ann", "phone")
	in.PipeAt(noon.Add(20*time.Minute), "bob", "desk")
	in.PipeAt(noon.Add(45*time.Minute), "bob", "phone")
	for _, r := range d.Output(stream.Topic[string, string]("presence")).ReadAll() {
		if r.Tombstone {
			fmt.Println(r.Timestamp.Format("15:04"), r.Key, "is gone")
		} else {
			fmt.Println(r.Timestamp.Format("15:04"), r.Key, "by", r.Value)
		}
	}
	// Output:
	// 12:00 ann by phone
	// 12:20 bob by desk
	// 12:30 ann is gone
	// 12:45 bob by phone
}

package store_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
)

func timedRow(at int64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), "value"...)
}

func TestExpiryKnowsNoRowAtFirst(t *testing.T) {
	t.Parallel()
	e := store.NewExpiry(store.NewTree())
	if key, at, ok, _ := e.First(1 << 60); ok {
		t.Errorf("found %q of %d", key, at)
	}
	e.Put([]byte("k"), nil, nil) // a tombstone for what is not there
	if _, _, ok, _ := e.First(1 << 60); ok {
		t.Error("a tombstone is a row")
	}
}

// TestExpiryAgainstTheModel puts and deletes rows of any time and takes the older ones out, and compares with a map that is
// sorted every time.
func TestExpiryAgainstTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		e, rows := store.NewExpiry(store.NewTree()), map[string]int64{}
		put := func(k string, local []byte) {
			var old []byte
			if at, ok := rows[k]; ok {
				old = timedRow(at)
			}
			e.Put([]byte(k), local, old)
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			k := rapid.SampledFrom([]string{"", "a", "b", "bb", "\x00", "\xff"}).Draw(rt, "key")
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				put(k, nil)
				delete(rows, k)
			case 1:
				than := rapid.Int64Range(-6, 6).Draw(rt, "than")
				var want, got []string
				for k, at := range rows {
					if at < than {
						want = append(want, fmt.Sprintf("%02d%s", at+50, k)) // sorts as time and key do
					}
				}
				slices.Sort(want)
				for key, at, ok, _ := e.First(than); ok; key, at, ok, _ = e.First(than) {
					k := string(key)
					got = append(got, fmt.Sprintf("%02d%s", at+50, k))
					put(k, nil)
					delete(rows, k)
				}
				if !slices.Equal(got, want) {
					rt.Fatalf("got %q, want %q", got, want)
				}
			default:
				at := rapid.Int64Range(-5, 5).Draw(rt, "time")
				put(k, timedRow(at))
				rows[k] = at
			}
		}
	})
}

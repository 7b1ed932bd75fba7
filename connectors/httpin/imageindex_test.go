package httpin

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/events"
)

// plainList is what the index must agree with: the same facts, searched from end to end each time.
type plainList struct {
	settled, over map[string]*item
	pending       []*item
}

// current is the latest life of an image.
func (l *plainList) current(id string) *item {
	life, over := l.settled[id], l.over[id]
	for _, r := range l.pending {
		if r.id != id || (life != nil && (r.offset <= life.offset || r.received.Before(life.ends))) || (life == nil && over != nil && r.received.Before(over.ends)) {
			continue
		}
		life = r
	}
	return life
}

// expire ends what is shown and over, one life after the other.
func (l *plainList) expire(id string, now time.Time) {
	for it := l.current(id); it != nil && !it.expires.After(now); it = l.current(id) {
		l.over[id] = it
		if l.settled[id] == it {
			delete(l.settled, id)
		}
		l.pending = slices.DeleteFunc(l.pending, func(r *item) bool { return r == it })
	}
}

// TestIndexAgreesWithAPlainList plays random words of the worker, receipts, commits and time to both.
func TestIndexAgreesWithAPlainList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		x, l := newImageIndex(), &plainList{settled: map[string]*item{}, over: map[string]*item{}}
		now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		offset := int64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			n := rapid.IntRange(0, 5).Draw(rt, "image")
			id, tenant := fmt.Sprintf("img_%d", n), []string{"demo", "other"}[n%2]
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0: // the worker's word
				status := rapid.SampledFrom(statuses).Draw(rt, "status")
				received := now.Add(-time.Duration(rapid.IntRange(0, 10).Draw(rt, "age")) * time.Hour)
				it := settledItem(events.Image{
					ImageID: id, Tenant: tenant, Status: status, ReceivedAt: received, ExpiresAt: events.ExpiresAt(received),
					History: []events.Moment{{Status: status, At: now}}, First: events.Receipt{Offset: rapid.Int64Range(-1, max(offset-1, 0)).Draw(rt, "first")},
				}, nil)
				l.settled[id] = it
				x.settle(it)
			case 1: // its tombstone
				if it := l.settled[id]; it != nil && !it.expires.After(now.Add(clockSkew)) {
					l.over[id] = it
				}
				delete(l.settled, id)
				x.unsettle(id, now)
			case 2: // a receipt
				it := &item{id: id, tenant: tenant, status: events.StatusAccepted, received: now, expires: events.ExpiresAt(now), ends: events.ExpiresAt(now), offset: offset}
				offset++
				l.pending = append(l.pending, it)
				x.receive(it)
				x.receive(it)
			case 3: // the worker's commit
				done := rapid.Int64Range(0, offset).Draw(rt, "committed")
				l.pending = slices.DeleteFunc(l.pending, func(r *item) bool { return r.offset < done })
				x.processed(map[int32]int64{0: done})
			case 4, 5:
				now = now.Add(time.Duration(rapid.IntRange(1, 3*24*3600).Draw(rt, "seconds")) * time.Second)
				x.expire(now)
				for n := range 6 {
					l.expire(fmt.Sprintf("img_%d", n), now)
				}
			}
			compareWithList(rt, x, l, now)
		}
	})
}

// compareWithList checks what is shown of every image and on every page.
func compareWithList(rt *rapid.T, x *imageIndex, l *plainList, now time.Time) {
	want := map[string][]*item{}
	for n := range 6 {
		id := fmt.Sprintf("img_%d", n)
		it := l.current(id)
		if got := x.shown[id]; got != it {
			rt.Fatalf("%s is shown as %+v, want %+v", id, got, it)
		}
		if it != nil {
			want[it.tenant] = append(want[it.tenant], it)
		}
	}
	for _, tenant := range []string{"demo", "other"} {
		items := slices.DeleteFunc(want[tenant], func(it *item) bool { return !it.expires.After(now) })
		slices.SortFunc(items, func(a, b *item) int { return byReceipt(b, a) })
		var got []*item
		f := filter{most: 2}
		for more := true; more; {
			var page []*item
			if page, more = x.tenants[tenant].page(f, now); more {
				f.after = page[len(page)-1]
			}
			got = append(got, page...)
		}
		if !slices.Equal(got, items) {
			rt.Fatalf("the pages of %s have %d images, want %d in order", tenant, len(got), len(items))
		}
	}
}

func TestExpiryKeepsOnlyTheNameForADay(t *testing.T) {
	t.Parallel()
	x := newImageIndex()
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for n := range 1000 {
		at := start.Add(time.Duration(n) * time.Second)
		x.settle(settledItem(events.Image{ImageID: fmt.Sprint(n), Tenant: "demo", ReceivedAt: at, ExpiresAt: events.ExpiresAt(at)}, []byte("value")))
	}
	x.expire(start.Add(events.Retention + 499*time.Second))
	if len(x.shown) != 500 || len(x.settled) != 500 || len(x.gone) != 500 {
		t.Errorf("%d shown, %d settled, %d gone; want 500 each", len(x.shown), len(x.settled), len(x.gone))
	}
	for _, it := range x.gone {
		if it.value != nil {
			t.Fatal("more than the name is kept")
		}
	}
	x.expire(start.Add(events.Retention + 1000*time.Second + rememberGone + time.Second))
	if len(x.shown)+len(x.settled)+len(x.gone)+len(x.pending)+len(x.tenants["demo"]) != 0 {
		t.Errorf("something is left: %+v", x)
	}
}

// BenchmarkIndexLoad reads 100,000 images of one tenant in no order, as a compacted changelog has them.
func BenchmarkIndexLoad(b *testing.B) {
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const images = 100_000
	for b.Loop() {
		x := newImageIndex()
		for n := range images {
			at := start.Add(time.Duration(n*7919%images) * time.Second)
			x.settle(settledItem(events.Image{ImageID: fmt.Sprint(n), Tenant: "demo", ReceivedAt: at, ExpiresAt: events.ExpiresAt(at)}, nil))
		}
	}
}

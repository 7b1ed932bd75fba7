package httpin

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// timeline is a tenant's images by the minute of their receipt, those of a minute ordered by receipt and name. However
// they come in, each costs no more than its own minute's size. The view's lock guards it.
type timeline map[int64][]*item

func minuteOf(it *item) int64 { return it.received.Unix() / 60 }

// byReceipt orders by time of receipt, then name.
func byReceipt(a, b *item) int {
	return cmp.Or(a.received.Compare(b.received), cmp.Compare(a.id, b.id))
}

func (t timeline) insert(it *item) {
	minute := minuteOf(it)
	i, _ := slices.BinarySearchFunc(t[minute], it, byReceipt)
	t[minute] = slices.Insert(t[minute], i, it)
}

func (t timeline) remove(it *item) {
	minute := minuteOf(it)
	i, found := slices.BinarySearchFunc(t[minute], it, byReceipt)
	if !found {
		return
	}
	if t[minute] = slices.Delete(t[minute], i, i+1); len(t[minute]) == 0 {
		delete(t, minute)
	}
}

// minutes are those with an image, the earliest first.
func (t timeline) minutes() []int64 { return slices.Sorted(maps.Keys(t)) }

// filter says which images of a tenant a page shows. Zero fields let everything pass.
type filter struct {
	status   events.Status
	from, to time.Time // received at or after from, and before to
	after    *item     // the last one of the page before, by receipt and name
	most     int
}

// passes says whether a page at now shows an image.
func (f filter) passes(it *item, now time.Time) bool {
	switch {
	case f.after != nil && byReceipt(it, f.after) >= 0:
		return false
	case !f.to.IsZero() && !it.received.Before(f.to), !f.from.IsZero() && it.received.Before(f.from):
		return false
	case f.status != "" && it.status != f.status:
		return false
	}
	return it.expires.After(now)
}

// page is the images that pass, the latest receipt first, and whether there are more.
func (t timeline) page(f filter, now time.Time) (items []*item, more bool) {
	for _, minute := range slices.Backward(t.minutes()) {
		if f.after != nil && minute > minuteOf(f.after) {
			continue
		}
		if !f.from.IsZero() && (minute+1)*60 <= f.from.Unix() {
			break
		}
		for _, it := range slices.Backward(t[minute]) {
			if !f.passes(it, now) {
				continue
			}
			if len(items) == f.most {
				return items, true
			}
			items = append(items, it)
		}
	}
	return items, false
}

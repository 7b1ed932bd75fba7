package httpin

import (
	"cmp"
	"slices"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// rememberGone is how long an expired image is remembered by name, so that it is 410 before the purge is known.
const rememberGone = 24 * time.Hour

// item is an image as the view knows it. value is its JSON, decoded when somebody asks: a view holds many images and
// shows few. Immutable.
type item struct {
	id, tenant string
	status     events.Status
	received   time.Time
	expires    time.Time
	ends       time.Time // from here on the same bytes begin a new life: expires, or when it was rejected or failed
	partition  int32     // of the receipt in raw-images
	offset     int64
	value      []byte
}

// settledItem is an image as its one writer, the worker, has it.
func settledItem(i events.Image, value []byte) *item {
	it := &item{
		id: i.ImageID, tenant: i.Tenant, status: i.Status, received: i.ReceivedAt, expires: i.ExpiresAt, ends: i.ExpiresAt,
		partition: i.First.Partition, offset: i.First.Offset, value: value,
	}
	if n := len(i.History); n > 0 && i.Status.Ended() {
		it.ends = i.History[n-1].At
	}
	return it
}

// pendingItem is a receipt that the worker has not come to yet.
func pendingItem(r events.RawImage, partition int32, offset int64) (*item, error) {
	value, err := events.MarshalImage(events.Image{
		ImageID: r.ImageID, Tenant: r.Tenant, Origin: r.Origin, Status: events.StatusAccepted, Attempt: 1,
		History:     []events.Moment{{Status: events.StatusAccepted, At: r.ReceivedAt.UTC()}},
		First:       events.Receipt{Partition: partition, Offset: offset, Blob: r.Blob.Name},
		ContentType: r.ContentType, Bytes: r.Bytes, SHA256: hexDigest(r.SHA256), ReceivedAt: r.ReceivedAt.UTC(), ExpiresAt: r.ExpiresAt.UTC(),
	})
	if err != nil {
		return nil, err
	}
	return &item{
		id: r.ImageID, tenant: r.Tenant, status: events.StatusAccepted, received: r.ReceivedAt, expires: r.ExpiresAt, ends: r.ExpiresAt,
		partition: partition, offset: offset, value: value,
	}, nil
}

// imageIndex holds every living image by name and, for each tenant, by the time of receipt. An image is what the worker
// says of it; a receipt that the worker has not come to counts when there is no such word, or when it begins a new
// life after that one has ended. Not safe for concurrent use; a view holds its lock.
type imageIndex struct {
	settled map[string]*item
	pending map[string][]*item // receipts in the order of their offsets
	shown   map[string]*item   // what counts, by name
	tenants map[string][]*item // the same, by receipt and name
	gone    map[string]*item   // expired ones, without value
}

func newImageIndex() *imageIndex {
	return &imageIndex{
		settled: map[string]*item{}, pending: map[string][]*item{}, shown: map[string]*item{},
		tenants: map[string][]*item{}, gone: map[string]*item{},
	}
}

// settle takes the worker's word on an image.
func (x *imageIndex) settle(it *item) {
	x.settled[it.id] = it
	x.refresh(it.id)
}

// unsettle takes a tombstone: the worker knows nothing of the image any more.
func (x *imageIndex) unsettle(id string) {
	if it, ok := x.settled[id]; ok {
		delete(x.settled, id)
		x.refresh(id)
		if x.shown[id] == nil {
			x.bury(it)
		}
	}
}

// receive takes a receipt, once however often it is seen.
func (x *imageIndex) receive(it *item) {
	at := func(o *item) bool { return o.partition == it.partition && o.offset == it.offset }
	if slices.ContainsFunc(x.pending[it.id], at) {
		return
	}
	x.pending[it.id] = append(x.pending[it.id], it)
	x.refresh(it.id)
}

// processed forgets the receipts that the worker has dealt with: those of the partition before offset. What became of
// them is in its words, which must have been read up to that moment.
func (x *imageIndex) processed(committed map[int32]int64) {
	for id, receipts := range x.pending {
		before := len(receipts)
		receipts = slices.DeleteFunc(receipts, func(r *item) bool { return r.offset < committed[r.partition] })
		if len(receipts) == before {
			continue
		}
		if x.pending[id] = receipts; len(receipts) == 0 {
			delete(x.pending, id)
		}
		x.refresh(id)
	}
}

// expire forgets what is over at now but for its name, and after a day its name.
func (x *imageIndex) expire(now time.Time) {
	for id, it := range x.settled {
		if !it.expires.After(now) {
			x.bury(it)
			delete(x.settled, id)
			x.refresh(id)
		}
	}
	for id, receipts := range x.pending {
		for _, r := range receipts {
			if !r.expires.After(now) {
				x.bury(r)
			}
		}
		over := func(r *item) bool { return !r.expires.After(now) }
		if n := len(receipts); n == 0 || !slices.ContainsFunc(receipts, over) {
			continue
		}
		if x.pending[id] = slices.DeleteFunc(receipts, over); len(x.pending[id]) == 0 {
			delete(x.pending, id)
		}
		x.refresh(id)
	}
	for id, it := range x.gone {
		if now.Sub(it.expires) > rememberGone {
			delete(x.gone, id)
		}
	}
}

// bury remembers an image whose time is over by its name; a deleted or replaced one that has time left is not gone.
func (x *imageIndex) bury(it *item) {
	x.gone[it.id] = &item{id: it.id, tenant: it.tenant, expires: it.expires}
}

// refresh decides anew what counts for an image.
func (x *imageIndex) refresh(id string) {
	old, now := x.shown[id], x.current(id)
	if old == now {
		return
	}
	if old != nil {
		of := x.tenants[old.tenant]
		if i, found := slices.BinarySearchFunc(of, old, byReceipt); found {
			x.tenants[old.tenant] = slices.Delete(of, i, i+1)
		}
		delete(x.shown, id)
	}
	if now != nil {
		of := x.tenants[now.tenant]
		i, _ := slices.BinarySearchFunc(of, now, byReceipt)
		x.tenants[now.tenant] = slices.Insert(of, i, now)
		x.shown[id] = now
	}
}

func (x *imageIndex) current(id string) *item {
	s := x.settled[id]
	for _, r := range x.pending[id] {
		if s == nil || (r.behind(s) && !r.received.Before(s.ends)) {
			return r
		}
	}
	return s
}

// behind says whether a receipt lies behind the one that a life began with; receipts of one image share a partition, as
// long as their topic does not grow.
func (it *item) behind(life *item) bool {
	return it.partition != life.partition || it.offset > life.offset
}

// byReceipt orders by time of receipt, then name.
func byReceipt(a, b *item) int {
	return cmp.Or(a.received.Compare(b.received), cmp.Compare(a.id, b.id))
}

// filter says which images of a tenant a page shows. Zero fields let everything pass.
type filter struct {
	status   events.Status
	from, to time.Time // received at or after from, and before to
	after    *item     // the last one of the page before, by receipt and name
	most     int
}

// page is the tenant's images that pass, the latest receipt first, and whether there are more.
func (x *imageIndex) page(tenant string, f filter, now time.Time) (items []*item, more bool) {
	of := x.tenants[tenant]
	end := len(of)
	if f.after != nil {
		end, _ = slices.BinarySearchFunc(of, f.after, byReceipt)
	}
	for _, it := range slices.Backward(of[:end]) {
		if !f.from.IsZero() && it.received.Before(f.from) {
			break
		}
		late := !f.to.IsZero() && !it.received.Before(f.to)
		if late || !it.expires.After(now) || (f.status != "" && it.status != f.status) {
			continue
		}
		if len(items) == f.most {
			return items, true
		}
		items = append(items, it)
	}
	return items, false
}

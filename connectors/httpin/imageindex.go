package httpin

import (
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
	pending map[string][]*item  // receipts in the order of their offsets
	shown   map[string]*item    // what counts, by name
	tenants map[string]timeline // the same, by receipt
	gone    map[string]*item    // expired ones, without value
}

func newImageIndex() *imageIndex {
	return &imageIndex{
		settled: map[string]*item{}, pending: map[string][]*item{}, shown: map[string]*item{},
		tenants: map[string]timeline{}, gone: map[string]*item{},
	}
}

// settle takes the worker's word on an image.
func (x *imageIndex) settle(it *item) {
	x.settled[it.id] = it
	x.refresh(it.id)
}

// clockSkew is how far the worker's clock may be ahead of ours.
const clockSkew = time.Minute

// unsettle takes a tombstone at now: the worker knows nothing of the image any more. It writes one when an image's time
// is over.
func (x *imageIndex) unsettle(id string, now time.Time) {
	it, ok := x.settled[id]
	if !ok {
		return
	}
	delete(x.settled, id)
	if !it.expires.After(now.Add(clockSkew)) {
		x.bury(it)
	}
	x.refresh(id)
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
	for _, of := range x.tenants {
		for _, minute := range of.minutes() {
			over := slices.DeleteFunc(slices.Clone(of[minute]), func(it *item) bool { return it.expires.After(now) })
			if len(over) == 0 {
				break // images expire in the order of their receipt
			}
			for _, it := range over {
				for it != nil && !it.expires.After(now) {
					x.remove(it)
					it = x.shown[it.id]
				}
			}
		}
	}
	for id, it := range x.gone {
		if now.Sub(it.expires) > rememberGone && len(x.pending[id]) == 0 {
			delete(x.gone, id)
		}
	}
}

// remove takes an image out that is shown and over; what stands behind it, a later life's receipt, comes forward.
func (x *imageIndex) remove(it *item) {
	x.bury(it)
	if x.settled[it.id] == it {
		delete(x.settled, it.id)
	}
	left := slices.DeleteFunc(x.pending[it.id], func(r *item) bool { return r == it })
	if x.pending[it.id] = left; len(left) == 0 {
		delete(x.pending, it.id)
	}
	x.refresh(it.id)
}

// bury remembers an image whose time is over by its name.
func (x *imageIndex) bury(it *item) {
	x.gone[it.id] = &item{id: it.id, tenant: it.tenant, expires: it.expires, ends: it.ends}
}

// refresh decides anew what counts for an image.
func (x *imageIndex) refresh(id string) {
	old, now := x.shown[id], x.current(id)
	if old == now {
		return
	}
	if old != nil {
		x.tenants[old.tenant].remove(old)
		delete(x.shown, id)
	}
	if now != nil {
		of := x.tenants[now.tenant]
		if of == nil {
			of = timeline{}
			x.tenants[now.tenant] = of
		}
		of.insert(now)
		x.shown[id] = now
	}
}

// current is the latest life of an image: what the worker says of it, or a receipt that came when that was over, and so
// on. A receipt that came within a life that is over by now was a duplicate and begins none.
func (x *imageIndex) current(id string) *item {
	life, gone := x.settled[id], x.gone[id]
	for _, r := range x.pending[id] {
		switch {
		case life != nil && r.behind(life) && !r.received.Before(life.ends),
			life == nil && (gone == nil || !r.received.Before(gone.ends)):
			life = r
		}
	}
	return life
}

// behind says whether a receipt lies behind the one that a life began with; receipts of one image share a partition, as
// long as their topic does not grow.
func (it *item) behind(life *item) bool {
	return it.partition != life.partition || it.offset > life.offset
}

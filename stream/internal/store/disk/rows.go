package disk

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrun/millrun/stream/internal/store"
)

// rows is one map of a home. Changes since the last commit are pending; they hide what is on disk.
type rows struct {
	h      *Home
	letter byte
	shape  *store.Shape // nil: rows have no time

	pending *store.Tree // a mark, and the value
	known   known       // of what is committed
	cut     []byte      // rows on disk before this key are removed; nil: none are
	bytes   int64       // of keys and values that were put since the last commit
	latest  int64       // the latest time of those
	scratch []byte
	it      *pebble.Iterator // the writer's own, as of the last commit; nil until it is needed
	newer   *pebble.Iterator // the same, but rows before since may be hidden from it
	since   int64
}

var _ store.Map = (*rows)(nil)

// The marks of pending changes.
const (
	removed byte = iota
	set
)

func newRows(h *Home, which int) *rows {
	return &rows{h: h, letter: firstMap + byte(which), pending: store.NewTree(), known: newKnown(), latest: -1}
}

// disk is a row's key in the database.
func (r *rows) disk(key []byte) []byte {
	return append(append(make([]byte, 0, 2+len(key)), r.letter), key...)
}

// Put sets a row, or removes it where value is nil. Until Commit the change is in memory only. It always says true: nothing
// is too old to be kept.
func (r *rows) Put(key, value []byte) bool {
	r.mark(value, value != nil)
	r.h.mu.Lock() // readers copy what the tree overwrites
	defer r.h.mu.Unlock()
	r.bytes += int64(r.pending.Set(key, r.scratch))
	if r.shape != nil {
		r.latest = max(r.latest, r.shape.Time(key))
	}
	return true
}

// RemoveBefore removes all rows before key.
func (r *rows) RemoveBefore(key []byte) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.pending.RemoveBefore(key)
	r.known.removeBefore(key)
	if bytes.Compare(r.cut, key) < 0 {
		r.cut = append(r.cut[:0], key...)
	}
}

// Get finds a value. The slice is the caller's, or that of a pending change until the next write.
func (r *rows) Get(key []byte) ([]byte, bool, error) {
	if r.h.db == nil {
		return nil, false, ErrClosed
	}
	return r.find(key)
}

func (r *rows) find(key []byte) ([]byte, bool, error) {
	if v, ok, err := r.pending.Get(key); ok || err != nil {
		return unmarked(v, err)
	}
	return r.before(key)
}

// before finds a value as of the last commit, and remembers it.
func (r *rows) before(key []byte) ([]byte, bool, error) {
	if v, ok, err := r.known.get(key); ok || err != nil {
		return unmarked(v, err)
	}
	if r.isCut(key) {
		return nil, false, nil
	}
	v, ok, err := r.h.get(r.disk(key))
	if err == nil {
		r.mark(v, ok)
		r.known.learn(key, r.scratch)
	}
	return v, ok, err
}

// was says whether a row is there as of the last commit.
func (r *rows) was(key []byte) (bool, error) {
	if there, ok := r.known.there(key); ok {
		return there, nil
	}
	if r.isCut(key) {
		return false, nil
	}
	_, ok, err := r.h.get(r.disk(key))
	return ok, err
}

// mark makes r.scratch what a tree keeps of a value.
func (r *rows) mark(value []byte, there bool) {
	r.scratch = append(r.scratch[:0], removed)
	if there {
		r.scratch[0] = set
		r.scratch = append(r.scratch, value...)
	}
}

// unmarked is the value of what a tree keeps.
func unmarked(v []byte, err error) ([]byte, bool, error) {
	if err != nil || v[0] == removed {
		return nil, false, err
	}
	return v[1:], true, nil
}

// isCut says whether a row on disk has been removed by RemoveBefore.
func (r *rows) isCut(key []byte) bool { return r.cut != nil && bytes.Compare(key, r.cut) < 0 }

// each visits the pending changes.
func (r *rows) each(visit func(key, value []byte) error) error {
	k, v, ok, err := r.pending.Seek(nil, false, false)
	for ; ok && err == nil; k, v, ok, err = r.pending.Seek(k, false, true) {
		if err := visit(k, v); err != nil {
			return err
		}
	}
	return err
}

// newest is the latest time of any row.
func (r *rows) newest() int64 { return max(r.latest, r.h.head.latest) }

// counted says whether the home knows the number of rows.
func (r *rows) counted() bool { return r.letter == firstMap+store.Rows && r.h.head.rows != uncounted }

// Len is the number of rows. The first to ask has them counted; from then on their number is kept, and each change that is not
// yet committed is looked up.
func (r *rows) Len() (int64, error) {
	if r.h.db == nil {
		return 0, ErrClosed
	}
	if !r.counted() {
		r.h.asked.Store(true)
		return r.count()
	}
	n, err := r.lost()
	if err != nil {
		return 0, err
	}
	n += r.h.head.rows
	err = r.each(func(key, value []byte) error {
		d, err := r.gain(key, value)
		n += d
		return err
	})
	return n, err
}

// count reads all rows.
func (r *rows) count() (n int64, err error) {
	it, err := r.iterate(nil)
	if err != nil {
		return 0, err
	}
	k, _, ok, err := r.neighbour(it, nil, false, false)
	for ; ok; k, _, ok, err = r.neighbour(it, k, false, true) {
		n++
	}
	return n, errors.Join(err, it.Close())
}

// gain is by how much a pending change changes the number of rows.
func (r *rows) gain(key, value []byte) (int64, error) {
	was, err := r.was(key)
	if err != nil {
		return 0, err
	}
	switch is := value[0] == set; {
	case was == is:
		return 0, nil
	case is:
		return 1, nil
	}
	return -1, nil
}

// lost is by how much RemoveBefore has changed the number of rows on disk.
func (r *rows) lost() (n int64, err error) {
	if r.cut == nil || !r.counted() {
		return 0, nil
	}
	it, err := r.h.db.NewIter(&pebble.IterOptions{LowerBound: []byte{r.letter}, UpperBound: r.disk(r.cut)})
	if err != nil {
		return 0, r.h.failed("read", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n--
	}
	if err := it.Close(); err != nil {
		return 0, r.h.failed("read", err)
	}
	return n, nil
}

// write puts the pending changes into a batch, and says by how much they change the number of rows.
func (r *rows) write(b *pebble.Batch) (gained int64, err error) {
	if gained, err = r.lost(); err != nil {
		return 0, err
	}
	if r.cut != nil {
		if err := b.DeleteRange([]byte{r.letter}, r.disk(r.cut), nil); err != nil {
			return 0, r.h.failed("commit", err)
		}
	}
	err = r.each(func(key, value []byte) error {
		if r.counted() {
			n, err := r.gain(key, value)
			if err != nil {
				return err
			}
			gained += n
		}
		row := r.disk(key)
		if value[0] == removed {
			return b.Delete(row, nil)
		}
		return b.Set(row, value[1:], nil)
	})
	return gained, err
}

// committed is called when the changes are on disk.
func (r *rows) committed() {
	if n, _ := r.pending.Len(); n > 0 { // a tree never fails
		r.known.add(r.pending, r.bytes, r.h.backend.share())
		r.pending, r.bytes, r.latest = store.NewTree(), 0, -1
	}
	r.cut = nil
	_ = r.rest() // it only reads
}

// revert forgets the pending changes.
func (r *rows) revert() {
	r.pending, r.known, r.bytes, r.latest, r.cut = store.NewTree(), newKnown(), 0, -1, nil
}

// rest closes the writer's iterators.
func (r *rows) rest() (err error) {
	for _, it := range [...]**pebble.Iterator{&r.it, &r.newer} {
		if *it != nil {
			err = errors.Join(err, (*it).Close())
			*it = nil
		}
	}
	return err
}

// Seek finds a neighbour; see store.Reader.
func (r *rows) Seek(key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	if r.h.db == nil {
		return nil, nil, false, ErrClosed
	}
	if r.it == nil {
		if r.it, err = r.iterate(nil); err != nil {
			return nil, nil, false, err
		}
	}
	return r.neighbour(r.it, key, reverse, past)
}

// SeekSince finds a neighbour, and may pass over rows before a time; see store.Timed.
func (r *rows) SeekSince(since int64, key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	if r.shape == nil || r.h.db == nil {
		return r.Seek(key, reverse, past)
	}
	if since > r.h.head.latest {
		return r.neighbour(nil, key, reverse, past) // all on disk is older
	}
	if r.newer == nil || since < r.since {
		if err := r.look(since); err != nil {
			return nil, nil, false, err
		}
	}
	return r.neighbour(r.newer, key, reverse, past)
}

// look makes the iterator for rows from a time on, and somewhat before, since the next may ask for those.
func (r *rows) look(since int64) (err error) {
	if r.newer != nil {
		if err := r.newer.Close(); err != nil {
			return r.h.failed("read", err)
		}
	}
	r.since = since - max(r.shape.Size, leastSlack)
	r.newer, err = r.iterate(newerThan(r.since))
	return err
}

// leastSlack is by how many milliseconds two readers in a row may differ without a new iterator.
const leastSlack = 1000

// iterate makes an iterator of the rows on disk.
func (r *rows) iterate(filters []pebble.BlockPropertyFilter) (*pebble.Iterator, error) {
	low := []byte{r.letter}
	if r.cut != nil {
		low = r.disk(r.cut)
	}
	it, err := r.h.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{r.letter + 1}, PointKeyFilters: filters})
	if err != nil {
		return nil, r.h.failed("read", err)
	}
	return it, nil
}

// neighbour is the nearest row of what is pending and what is on disk, if there is an iterator of that; the slices are copies.
// Pending changes hide rows of the same key.
func (r *rows) neighbour(it *pebble.Iterator, key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	onDisk := it != nil && r.there(it, r.place(it, key, reverse, past))
	pk, pv, pending, err := r.pending.Seek(key, reverse, past)
	for ; pending && err == nil; pk, pv, pending, err = r.pending.Seek(pk, reverse, true) {
		if onDisk {
			order := bytes.Compare(it.Key()[1:], pk)
			if order != 0 && (order < 0) != reverse {
				break
			}
			if order == 0 {
				onDisk = r.there(it, step(it, reverse))
			}
		}
		if pv[0] == set {
			k, v := copied(pk, pv[1:])
			return k, v, true, nil
		}
	}
	if it != nil {
		err = errors.Join(err, it.Error())
	}
	if err != nil {
		return nil, nil, false, r.h.failed("read", err)
	}
	if !onDisk {
		return nil, nil, false, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, nil, false, r.h.failed("read", err)
	}
	k, v := copied(it.Key()[1:], v)
	return k, v, true, nil
}

// copied is a copy of both.
func copied(key, value []byte) (k, v []byte) {
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	return both[:len(key):len(key)], both[len(key):]
}

// there says whether the iterator is at a row that has not been removed by RemoveBefore.
func (r *rows) there(it *pebble.Iterator, found bool) bool { return found && !r.isCut(it.Key()[1:]) }

// place moves the iterator to the neighbour of key.
func (r *rows) place(it *pebble.Iterator, key []byte, reverse, past bool) bool {
	switch {
	case key == nil && reverse:
		return it.Last()
	case key == nil:
		key, past = r.cut, false
	case !reverse && r.isCut(key):
		key, past = r.cut, false
	}
	row := r.disk(key)
	if reverse != past { // after key, or at it and before: both begin behind every key that is not after it
		row = append(row, 0)
	}
	if reverse {
		return it.SeekLT(row)
	}
	return it.SeekGE(row)
}

func step(it *pebble.Iterator, reverse bool) bool {
	if reverse {
		return it.Prev()
	}
	return it.Next()
}

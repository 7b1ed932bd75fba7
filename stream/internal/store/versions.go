package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"
)

// Open is the end of a version that still holds.
const Open int64 = math.MaxInt64

// Version is a value and the time it held, in milliseconds: From is included, To is not.
type Version struct {
	Value    []byte
	From, To int64
}

// VersionReader answers as of a time.
type VersionReader interface {
	// AsOf finds the version that held at a time; at Open that is the current one. The value is the caller's where the store is
	// shared with another goroutine, and otherwise valid until the next write.
	AsOf(key []byte, at int64) (v Version, ok bool, err error)
	// History is the versions that held at any time between two, both included, the oldest first.
	// They are the caller's.
	History(key []byte, from, to int64) ([]Version, error)
}

// VersionStore is a task's versioned store as the typed edge sees it.
type VersionStore interface {
	VersionReader
	// PutVersion makes value (nil: nothing) what the key holds from a time until to, where its next version begins, and
	// tells the changelog. It keeps nothing, and says so, if the time is older than the store's history.
	PutVersion(key, value []byte, at int64) (to int64, kept bool, err error)
}

// Versions keeps what every key held within a history, each version a row, in memory or on disk. Time is that of the puts:
// history reaches back from the latest of them. What a put says is forgotten once nothing within history depends on it, but
// the current value of a key never is. One goroutine writes; any number may read beside it what Shared returns.
type Versions struct {
	history int64
	rows    Map // the versions, by key and time
	wakes   Map // the same times, before the keys: then what was before a version is over for good

	mu     sync.RWMutex // held by the writer to change rows that belong together, and by others while they read those
	newest int64
	due    int64  // no wake is earlier
	row    []byte // scratch, as the two below
	place  []byte
	woken  []byte
}

// NewVersions returns a store with a history in milliseconds, which keeps its rows, and when to look at them again, in maps.
func NewVersions(history int64, rows, wakes Map) *Versions {
	return &Versions{history: history, rows: rows, wakes: wakes, newest: -1, due: math.MinInt64}
}

// Note is what has to be remembered with the rows.
func (v *Versions) Note() []byte { return binary.BigEndian.AppendUint64(nil, uint64(v.newest)) }

// Resume goes on with rows that were there before, and with their note.
func (v *Versions) Resume(note []byte) {
	if len(note) == timeLen { // otherwise nothing was ever put
		v.newest = int64(binary.BigEndian.Uint64(note))
	}
}

// version is a value from a time on, until the next one of its key.
type version struct {
	from  int64
	value []byte // nil: a deletion; otherwise the map's
}

// The first byte of a row says what it is.
const (
	aDeletion byte = iota
	aValue
)

// chain is the versions of a key by time, deletions among them. Its rows stand together: their keys begin with the length of
// the key they are of.
type chain struct {
	rows Reader
	row  []byte // the length, the key, and room for a time
}

func chainOf(rows Reader, dst, key []byte) chain {
	dst = binary.BigEndian.AppendUint32(dst[:0], uint32(len(key)))
	return chain{rows, append(append(dst, key...), make([]byte, timeLen)...)}
}

// at is the key of the row of a time, until the next call.
func (c chain) at(time int64) []byte {
	binary.BigEndian.PutUint64(c.row[len(c.row)-timeLen:], timeBits(time))
	return c.row
}

// until finds the last version that begins at a time or before.
func (c chain) until(time int64) (version, bool, error) { return c.seek(time, true, false) }

// before finds the last version that begins before a time.
func (c chain) before(time int64) (version, bool, error) { return c.seek(time, true, true) }

// after finds the first version that begins after a time.
func (c chain) after(time int64) (version, bool, error) { return c.seek(time, false, true) }

func (c chain) seek(time int64, reverse, past bool) (version, bool, error) {
	k, row, ok, err := c.rows.Seek(c.at(time), reverse, past)
	own := len(c.row) - timeLen
	if err != nil || !ok || len(k) != len(c.row) || !bytes.Equal(k[:own], c.row[:own]) {
		return version{}, false, err
	}
	one := version{from: timeOf(k[own:])}
	if row[0] == aValue {
		one.value = row[1:]
	}
	return one, true, nil
}

// end is where a version ends that holds at a time.
func (c chain) end(time int64) (int64, error) {
	next, ok, err := c.after(time)
	if !ok {
		return Open, err
	}
	return next.from, nil
}

// undone says whether a deletion leaves no trace: it deletes the current version as of its own beginning, and no value ends
// there. Kafka Streams then deletes the latest row and has no older one to end, so what comes with an earlier time is the
// current value.
func (c chain) undone(current version) (bool, error) {
	if current.value == nil {
		return false, nil
	}
	before, _, err := c.before(current.from)
	return before.value == nil, err
}

// timeBits is a time whose bytes have the order of numbers.
func timeBits(at int64) uint64 { return uint64(at) ^ signBit<<56 }

// timeOf is the time that a key begins with.
func timeOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key) ^ signBit<<56) }

// Put makes value what key holds from a time on; see VersionStore. The bytes are copied.
func (v *Versions) Put(key, value []byte, at int64) (to int64, kept bool, err error) {
	if at < v.newest-v.history {
		return 0, false, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest = max(v.newest, at)
	c := v.chain(key)
	before, hasBefore, err := c.until(at)
	if err != nil {
		return 0, false, err
	}
	if to, err = c.end(at); err != nil {
		return 0, false, err
	}
	same, undone := hasBefore && before.from == at, false
	if same && value == nil && to == Open {
		if undone, err = c.undone(before); err != nil {
			return 0, false, err
		}
	}
	v.rows.Put(c.at(at), v.rowOf(value, undone))
	if !same {
		v.woken = append(binary.BigEndian.AppendUint64(v.woken[:0], timeBits(at)), key...)
		v.wakes.Put(v.woken, []byte{})
		v.due = min(v.due, at)
	}
	return to, true, v.forget()
}

// rowOf is the row of a value or, where that is nil, of a deletion, until the next call; none if that is undone.
func (v *Versions) rowOf(value []byte, undone bool) []byte {
	switch {
	case undone:
		return nil
	case value == nil:
		v.row = append(v.row[:0], aDeletion)
	default:
		v.row = append(append(v.row[:0], aValue), value...)
	}
	return v.row
}

// chain is that of a key in the writer's hands, until the next call.
func (v *Versions) chain(key []byte) chain {
	c := chainOf(v.rows, v.place, key)
	v.place = c.row
	return c
}

// forget drops what history no longer needs. Each version wakes its chain when history has passed its beginning: then what
// was before it is over for good.
func (v *Versions) forget() error {
	horizon := v.newest - v.history
	if v.due > horizon {
		return nil
	}
	wake, _, ok, err := v.wakes.Seek(nil, false, false)
	for ; ok && timeOf(wake) <= horizon; wake, _, ok, err = v.wakes.Seek(v.woken, false, true) {
		v.woken = append(v.woken[:0], wake...)
		if err := v.cut(v.woken[timeLen:], horizon); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if v.due = Open; ok {
		v.due = timeOf(wake)
	}
	v.wakes.RemoveBefore(binary.BigEndian.AppendUint64(nil, timeBits(horizon+1)))
	return nil
}

// cut drops the versions of a key that end at or before the horizon, and a deletion that nothing is left to delete for.
func (v *Versions) cut(key []byte, horizon int64) error {
	c := v.chain(key)
	last, ok, err := c.until(horizon)
	if !ok {
		return err
	}
	if last.value == nil {
		v.rows.Put(c.at(last.from), nil)
	}
	one, ok, err := c.before(last.from)
	for ; ok; one, ok, err = c.before(one.from) {
		v.rows.Put(c.at(one.from), nil)
	}
	return err
}

// AsOf finds the version that held at a time, for the writer: the value is valid until the next write. Beyond history only the
// current version is known, if it is that old; others that happen to be there are not told.
func (v *Versions) AsOf(key []byte, at int64) (Version, bool, error) {
	return v.asOf(v.chain(key), at)
}

func (v *Versions) asOf(c chain, at int64) (Version, bool, error) {
	one, ok, err := c.until(at)
	if err != nil || !ok || one.value == nil {
		return Version{}, false, err
	}
	end, err := c.end(at)
	if err != nil || at < v.newest-v.history && end != Open {
		return Version{}, false, err
	}
	return Version{one.value, one.from, end}, true, nil
}

// History is the versions between two times, for the writer; see VersionReader.
func (v *Versions) History(key []byte, from, to int64) ([]Version, error) {
	return v.between(v.chain(key), from, to)
}

func (v *Versions) between(c chain, from, to int64) (out []Version, err error) {
	one, ok, err := c.until(from)
	if !ok && err == nil {
		one, ok, err = c.after(from)
	}
	for ok && err == nil && one.from <= to {
		value := bytes.Clone(one.value)
		var end int64
		if end, err = c.end(one.from); err != nil {
			break
		}
		if value != nil && (to >= v.newest-v.history || end == Open) {
			out = append(out, Version{value, one.from, end})
		}
		one, ok, err = c.after(one.from)
	}
	return out, err
}

// Shared is the store for other goroutines than the writing one. What it tells is the caller's.
func (v *Versions) Shared() Reader { return sharedVersions{v.rows.Shared(), v} }

// sharedVersions reads rows that belong together while the writer does not change them.
type sharedVersions struct {
	Reader
	v *Versions
}

// AsOf finds the version that held at a time.
func (s sharedVersions) AsOf(key []byte, at int64) (Version, bool, error) {
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	return s.v.asOf(chainOf(s.Reader, nil, key), at)
}

// History is the versions between two times.
func (s sharedVersions) History(key []byte, from, to int64) ([]Version, error) {
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	return s.v.between(chainOf(s.Reader, nil, key), from, to)
}

// versionsOf is the part of a union that keeps versions, or nil.
func versionsOf(r Reader) VersionReader {
	v, _ := r.(VersionReader)
	return v
}

// AsOf finds a version in whichever part has it.
func (u *Union) AsOf(key []byte, at int64) (Version, bool, error) {
	if err := u.Check(); err != nil {
		return Version{}, false, err
	}
	for _, p := range u.Parts {
		if r := versionsOf(p); r != nil {
			if v, ok, err := r.AsOf(key, at); ok || err != nil {
				return v, ok, err
			}
		}
	}
	return Version{}, false, nil
}

// History is the versions in whichever part has them.
func (u *Union) History(key []byte, from, to int64) ([]Version, error) {
	if err := u.Check(); err != nil {
		return nil, err
	}
	for _, p := range u.Parts {
		if r := versionsOf(p); r != nil {
			if list, err := r.History(key, from, to); len(list) > 0 || err != nil {
				return list, err
			}
		}
	}
	return nil, nil
}

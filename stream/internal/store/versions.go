package store

import (
	"container/heap"
	"math"
	"sort"
	"sync"
)

// Open is the end of a version that still holds.
const Open int64 = math.MaxInt64

// Version is a value and the time it held, in milliseconds: From is included, To is not.
type Version struct {
	Value    []byte
	From, To int64
}

// VersionReader answers as of a time. What it returns is never changed, so it may be kept.
type VersionReader interface {
	// AsOf finds the version that held at a time; at Open that is the current one.
	AsOf(key []byte, at int64) (v Version, ok bool, err error)
	// History is the versions that held at any time between two, both included, the oldest first.
	History(key []byte, from, to int64) ([]Version, error)
}

// VersionStore is a task's versioned store as the typed edge sees it.
type VersionStore interface {
	VersionReader
	// PutVersion makes value (nil: nothing) what the key holds from a time until to, where its next version begins, and
	// tells the changelog. It keeps nothing, and says so, if the time is older than the store's history.
	PutVersion(key, value []byte, at int64) (to int64, kept bool, err error)
}

// Versions keeps what every key held within a history, in memory. Time is that of the puts: history reaches back from the
// latest of them. What a put says is forgotten once nothing within history depends on it, but the current value of a key
// never is. One goroutine writes; any number may read beside it.
type Versions struct {
	history int64

	mu     sync.RWMutex
	chains map[string]*chain
	newest int64
	wakes  wakes
}

// chain is the versions of a key by time, deletions among them.
type chain struct {
	key  string
	list []version
	led  bool // what was dropped last in front of the list was a value, not a deletion
}

// version is a value from a time on, until the next one of the chain; nil is a deletion.
type version struct {
	from  int64
	value []byte
}

// NewVersions returns an empty store with a history in milliseconds.
func NewVersions(history int64) *Versions {
	return &Versions{history: history, chains: map[string]*chain{}, newest: -1}
}

// Put makes value what key holds from a time on; see VersionStore. The bytes are copied.
func (v *Versions) Put(key, value []byte, at int64) (to int64, kept bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at < v.newest-v.history {
		return 0, false
	}
	v.newest = max(v.newest, at)
	c, ok := v.chains[string(key)]
	if !ok {
		c = &chain{key: string(key)}
		v.chains[c.key] = c
	}
	if value != nil {
		value = append(make([]byte, 0, len(value)), value...)
	}
	i := c.after(at)
	to = c.end(i - 1)
	switch {
	case value == nil && c.undone(at):
		c.list = c.list[:i-1]
	case i > 0 && c.list[i-1].from == at:
		c.list[i-1].value = value
	default:
		c.insert(i, version{at, value})
		heap.Push(&v.wakes, wake{at, c})
	}
	if len(c.list) == 0 {
		delete(v.chains, c.key)
	}
	v.forget()
	return to, true
}

// after is the place of the first version that begins after a time.
func (c *chain) after(at int64) int {
	return sort.Search(len(c.list), func(i int) bool { return c.list[i].from > at })
}

// undone says whether a deletion leaves no trace: it deletes the current version as of its own beginning, and no value ends
// there. Kafka Streams then deletes the latest row and has no older one to end, so what comes with an earlier time is the
// current value.
func (c *chain) undone(at int64) bool {
	last := len(c.list) - 1
	if last < 0 || c.list[last].from != at || c.list[last].value == nil {
		return false
	}
	if last == 0 {
		return !c.led
	}
	return c.list[last-1].value == nil
}

// end is where version i ends.
func (c *chain) end(i int) int64 {
	if i+1 < len(c.list) {
		return c.list[i+1].from
	}
	return Open
}

func (c *chain) insert(i int, one version) {
	c.list = append(c.list, version{})
	copy(c.list[i+1:], c.list[i:])
	c.list[i] = one
}

// forget drops what history no longer needs. Each version wakes its chain when history has passed its beginning: then what
// was before it is over for good.
func (v *Versions) forget() {
	horizon := v.newest - v.history
	for len(v.wakes) > 0 && v.wakes[0].at <= horizon {
		c := heap.Pop(&v.wakes).(wake).chain
		if c.cut(horizon); len(c.list) == 0 && v.chains[c.key] == c {
			delete(v.chains, c.key)
		}
	}
}

// cut drops the versions that end at or before the horizon, and a deletion that nothing is left to delete for.
func (c *chain) cut(horizon int64) {
	n := max(0, c.after(horizon)-1)
	if n < len(c.list) && c.list[n].from <= horizon && c.list[n].value == nil {
		n++
	}
	if n > 0 {
		c.led = c.list[n-1].value != nil
	}
	rest := copy(c.list, c.list[n:])
	clear(c.list[rest:])
	c.list = c.list[:rest]
}

// AsOf finds the version that held at a time. Beyond history only the current version is known, if it is that old; others
// that happen to be there are not told.
func (v *Versions) AsOf(key []byte, at int64) (Version, bool, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok := v.chains[string(key)]
	if !ok {
		return Version{}, false, nil
	}
	i := c.after(at) - 1
	if i < 0 || c.list[i].value == nil || at < v.newest-v.history && c.end(i) != Open {
		return Version{}, false, nil
	}
	return Version{c.list[i].value, c.list[i].from, c.end(i)}, true, nil
}

// History is the versions between two times; see VersionReader.
func (v *Versions) History(key []byte, from, to int64) ([]Version, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok := v.chains[string(key)]
	if !ok {
		return nil, nil
	}
	var out []Version
	for i, one := range c.list {
		end := c.end(i)
		if one.value == nil || one.from > to || end <= from || to < v.newest-v.history && end != Open {
			continue
		}
		out = append(out, Version{one.value, one.from, end})
	}
	return out, nil
}

// Len is the number of keys, deleted ones among them as long as history remembers them.
func (v *Versions) Len() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return int64(len(v.chains))
}

// wake is when a chain may have something to drop.
type wake struct {
	at    int64
	chain *chain
}

// wakes is a heap of them, the earliest first.
type wakes []wake

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].at < w[j].at }
func (w wakes) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push is heap.Interface's.
func (w *wakes) Push(x any) { *w = append(*w, x.(wake)) }

// Pop is heap.Interface's.
func (w *wakes) Pop() any {
	old := *w
	last := old[len(old)-1]
	old[len(old)-1] = wake{}
	*w = old[:len(old)-1]
	return last
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

package task

import (
	"bytes"
	"encoding/binary"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Store is a task's store: bytes in memory or on disk, each change sent to the changelog, and, if it is cached, changes held
// back until the task flushes.
type Store struct {
	spec     *StoreSpec
	home     store.Home // where it outlives the task; nil: nowhere
	rows     kept
	windows  *store.Windows  // rows, where they live for a time only
	since    store.Since     // the same, seen from a time on
	versions *store.Versions // rows, where each is what a key held at a time
	recent   *store.Recency  // nil: there is no limit to the number of rows
	expiry   *store.Expiry   // nil: rows live for ever
	ended    store.Expired   // told of rows that are too old; may be nil
	cache    *store.Cache    // nil: none
	heard    store.Flushed
	task     *Task
	face     any // the typed store, made once

	reads, writes int64 // since they were asked for
	missing       leftOut
}

// kept is where a store's rows are.
type kept interface {
	store.Reader
	// Put sets a row, or removes it where value is nil. It says false if the row is too old to be kept.
	Put(key, value []byte) bool
	// Shared is for other goroutines than the writing one.
	Shared() store.Reader
}

func newStore(spec *StoreSpec, t *Task) (*Store, error) {
	s := &Store{spec: spec, task: t}
	if spec.LRU > 0 {
		s.recent = store.NewRecency(spec.LRU)
	}
	rows, second, err := s.maps()
	if err != nil {
		return nil, err
	}
	s.rows = rows
	if spec.TTL > 0 {
		s.expiry = store.NewExpiry(second)
	}
	if spec.Shape != nil {
		s.windows = store.NewWindows(spec.Shape, rows, second)
		s.rows, s.since.Timed = s.windows, s.windows
	}
	if spec.Kind == store.Versioned {
		s.versions = store.NewVersions(spec.History, rows, second)
	}
	if n := s.noted(); n != nil && s.home != nil {
		n.Resume(s.home.Mark().Note)
	}
	return s, nil
}

// Get finds a value.
func (s *Store) Get(key []byte) ([]byte, bool, error) {
	s.reads++
	if s.cache != nil {
		s.task.counts.CacheReads++
		if d, ok := s.cache.Get(key); ok {
			s.task.counts.CacheHits++
			return d.Local, d.Local != nil, nil
		}
	}
	if s.recent != nil {
		s.recent.Use(key)
	}
	v, ok, err := s.rows.Get(key)
	return v, ok, s.unread(err)
}

// Seek finds a neighbour.
func (s *Store) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	var k, v []byte
	var ok bool
	var err error
	if s.cache != nil {
		k, v, ok, err = s.cache.Seek(s.rows, key, reverse, past)
	} else {
		k, v, ok, err = s.rows.Seek(key, reverse, past)
	}
	return k, v, ok, s.unread(err)
}

// SeekSince finds a neighbour, and may pass over rows of a windowed store before a time; see store.Timed.
func (s *Store) SeekSince(since int64, key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	switch {
	case s.windows == nil:
		return s.Seek(key, reverse, past)
	case s.cache != nil:
		s.since.Time = since
		k, v, ok, err = s.cache.Seek(&s.since, key, reverse, past)
	default:
		k, v, ok, err = s.windows.SeekSince(since, key, reverse, past)
	}
	return k, v, ok, s.unread(err)
}

// Len is the number of entries, those of the cache left out.
func (s *Store) Len() (int64, error) { return s.rows.Len() }

// Timeline visits the rows of a store that emits on close, by time; see store.Windows. Those it has lost are counted.
func (s *Store) Timeline(from, to int64, visit func(key, value []byte) error) error {
	lost, err := s.windows.Timeline(from, to, visit)
	for range lost {
		s.task.drop("expired")
	}
	return err
}

// Newest is the time of a windowed store; see store.Windows.
func (s *Store) Newest() int64 { return s.windows.Newest() }

// LastSeq is the highest sequence number in the store; see store.Windows.
func (s *Store) LastSeq() int32 { return s.windows.LastSeq() }

// Now is the time of the record at work.
func (s *Store) Now() int64 { return s.task.rec.Time }

// Set changes the store and tells the changelog, at once or when the cache is flushed. A tombstone for what is not there is
// sent all the same, as in Java, but not if it comes out of a cache.
func (s *Store) Set(w store.Write) error {
	s.writes++
	s.task.changes++
	if s.cache == nil {
		return s.apply(w)
	}
	r := &s.task.rec
	s.cache.Set(w, origin{r.Source, r.Time, r.Headers})
	if s.cache.Over() {
		return s.flush()
	}
	return nil
}

// origin is the record that made a cached change.
type origin struct {
	source  *Input
	time    int64
	headers serde.Headers
}

// OnFlush names who is told of changes that leave the cache.
func (s *Store) OnFlush(f store.Flushed) bool {
	s.heard = f
	return s.cache != nil
}

// flush writes what the cache holds and tells of it, each change as its own record. The record at work is the same again
// afterwards.
func (s *Store) flush() error {
	if s.spec.Kind == store.Kept {
		return s.keeper().Flush()
	}
	if s.cache == nil {
		return nil
	}
	r := &s.task.rec
	t, was := s.task, *r
	from, held := t.from, t.held
	t.from, t.held = nil, nil // what leaves stems from other records than the one at work
	defer func() { *r, t.from, t.held = was, from, held }()
	for _, d := range s.cache.Leaving() {
		old, ok, err := s.rows.Get(d.Key)
		if err != nil {
			return s.unread(err)
		}
		if !ok && d.Local == nil && s.heard != nil {
			s.cache.Leave(d, func() {}) // it came and went within the cache
			continue
		}
		o := d.Context.(origin)
		*r = Rec{task: s.task, stage: was.stage, Source: o.source, Time: o.time, Headers: o.headers, At: was.At}
		old = bytes.Clone(old)
		s.cache.Leave(d, func() { err = s.apply(d.Write) })
		if err != nil {
			return err
		}
		if s.heard == nil {
			continue
		}
		if err := s.heard(d.Key, d.Local, old); err != nil {
			return err
		}
	}
	return nil
}

// apply writes to the store and the changelog. What is too old for the store is logged all the same, as in Java.
func (s *Store) apply(w store.Write) error {
	kept, err := s.put(w.Key, w.Local)
	if err != nil {
		return s.unread(err)
	}
	if !kept {
		s.task.drop("expired")
	}
	if s.recent != nil {
		s.limit(w)
	}
	s.Log(w)
	return nil
}

// limit removes the row used longest ago if there is one too many, from the changelog as well.
func (s *Store) limit(w store.Write) {
	if w.Local == nil {
		s.recent.Forget(w.Key)
		return
	}
	if eldest, ok := s.recent.Put(w.Key); ok {
		s.rows.Put(eldest, nil)
		s.Log(store.Write{Key: eldest, Time: s.Now()})
	}
}

// Log writes to the changelog alone.
func (s *Store) Log(w store.Write) {
	if s.spec.Changelog == "" {
		return
	}
	if s.windows != nil {
		w.Key = s.spec.Shape.Logged(w.Key)
	}
	t := s.task
	o := t.Send()
	o.Topic, o.Partition, o.Time = s.spec.Changelog, t.id.Partition, w.Time
	o.Headers = w.Headers
	if s.spec.Headers && w.Plain == nil && w.Headers == nil {
		o.Headers = t.rec.Headers
	}
	o.Node, o.Source, o.Changelog = s.spec.Name, t.rec.Source, true
	o.Key = t.Keep(append(t.Space(), w.Key...))
	if w.Plain != nil {
		o.Value = t.Keep(append(t.Space(), w.Plain...))
	}
	if t.exact != nil {
		t.stamp(o)
	}
}

// restore applies a record of the changelog.
func (s *Store) restore(in *Input) {
	if in.Key == nil {
		return
	}
	local := in.Value
	if local != nil && s.spec.Kind.HasTime() {
		local = append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(in.Value)), uint64(in.Time)), in.Value...)
	}
	if local != nil && s.spec.Kind == store.Headed {
		local = layout.AppendHeadersValue(nil, in.Value, in.Time, in.Headers)
	}
	switch {
	case s.spec.Kind == store.Kept:
		s.keep(in)
	case s.versions != nil:
		_, _, err := s.versions.Put(in.Key, in.Value, in.Time)
		s.spoil(err)
	case s.recent != nil:
		s.restoreLimited(in.Key, local)
	case s.windows == nil:
		_, err := s.put(in.Key, local)
		s.spoil(err)
	case s.spec.Shape.Valid(in.Key):
		s.windows.Restore(in.Key, local)
	}
}

// restoreLimited is limit without a word to the changelog.
func (s *Store) restoreLimited(key, local []byte) {
	s.rows.Put(key, local)
	if local == nil {
		s.recent.Forget(key)
	} else if eldest, ok := s.recent.Put(key); ok {
		s.rows.Put(eldest, nil)
	}
}

// Face is the typed store for a processor.
func (s *Store) Face() any {
	if s.face == nil {
		s.face = s.spec.Opener.Open(s)
	}
	return s.face
}

// Shared is the store for other goroutines.
func (s *Store) Shared() store.Reader {
	if s.versions != nil {
		return s.versions.Shared()
	}
	if s.cache != nil {
		return s.cache.Shared(s.rows.Shared())
	}
	return s.rows.Shared()
}

package store

import "bytes"

// Union reads several stores as one, in the order of the keys: the partitions of a store that one instance holds. Before
// each read it asks whether they are still the ones. Keys do not overlap, since each has its partition.
type Union struct {
	Parts []Reader
	Check func() error
}

// Get finds a value in whichever part has it.
func (u *Union) Get(key []byte) ([]byte, bool, error) {
	if err := u.Check(); err != nil {
		return nil, false, err
	}
	for _, p := range u.Parts {
		if v, ok, err := p.Get(key); ok || err != nil {
			return v, ok, err
		}
	}
	return nil, false, nil
}

// Seek finds the nearest neighbour in any part.
func (u *Union) Seek(key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	if err := u.Check(); err != nil {
		return nil, nil, false, err
	}
	for _, p := range u.Parts {
		pk, pv, found, err := p.Seek(key, reverse, past)
		if err != nil {
			return nil, nil, false, err
		}
		if found && (!ok || (bytes.Compare(pk, k) < 0) != reverse) {
			k, v, ok = pk, pv, true
		}
	}
	return k, v, ok, nil
}

// Len is the number of entries of all parts.
func (u *Union) Len() (n int64, err error) {
	if err := u.Check(); err != nil {
		return 0, err
	}
	for _, p := range u.Parts {
		m, err := p.Len()
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}

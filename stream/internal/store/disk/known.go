package disk

import "github.com/millrun/millrun/stream/internal/store"

// known is what a home has of its rows in memory as of the last commit, since most of what is read was written or read a moment
// ago: the newest, and what was that before. It says nothing of the rows that it does not have.
type known struct {
	newest, older *store.Tree // a mark, and the value
	bytes         int64       // of keys and values in newest
	most          int64       // weight of newest
	asked         bool        // since the last commit
}

func newKnown() known { return known{newest: store.NewTree(), older: store.NewTree()} }

// entryBytes is what a row takes in a tree beside its key and value.
const entryBytes = 80

// get finds what is known of a key.
func (k *known) get(key []byte) (v []byte, ok bool, err error) {
	k.asked = true
	if v, ok, err = k.newest.Get(key); !ok && err == nil {
		v, ok, err = k.older.Get(key)
	}
	return v, ok, err
}

// learn keeps what was read, as long as there is room.
func (k *known) learn(key, marked []byte) {
	if weight(k.newest, k.bytes) < k.most {
		k.bytes += int64(k.newest.Set(key, marked))
	}
}

// weight is how much memory a tree takes with that many bytes of keys and values.
func weight(t *store.Tree, bytes int64) int64 {
	n, _ := t.Len() // a tree never fails
	return bytes + n*entryBytes
}

// there says whether a key is known to have a row, and whether that is known at all.
func (k *known) there(key []byte) (there, ok bool) {
	for _, t := range [...]*store.Tree{k.newest, k.older} {
		if v, ok, _ := t.Get(key); ok { // a tree never fails
			return v[0] == set, true
		}
	}
	return false, false
}

// removeBefore forgets the rows before key.
func (k *known) removeBefore(key []byte) {
	k.newest.RemoveBefore(key)
	k.older.RemoveBefore(key)
	if n, _ := k.newest.Len(); n == 0 { // a tree never fails
		k.bytes = 0
	}
}

// add keeps what was committed, with so many bytes of keys and values. Where nobody has asked since the last commit nobody is
// expected to. All that is kept may weigh as much as share.
func (k *known) add(committed *store.Tree, bytes, share int64) {
	k.most = share / 2
	switch {
	case !k.asked:
		k.newest, k.older, k.bytes = store.NewTree(), store.NewTree(), 0
	case weight(k.newest, k.bytes)+weight(committed, bytes) > k.most:
		k.newest, k.older, k.bytes = committed, k.newest, bytes
	default:
		key, v, ok, err := committed.Seek(nil, false, false)
		for ; ok && err == nil; key, v, ok, err = committed.Seek(key, false, true) {
			k.bytes += int64(k.newest.Set(key, v))
		}
	}
	k.asked = false
}

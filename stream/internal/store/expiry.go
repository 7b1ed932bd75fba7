package store

// Expiry orders the rows of a store by their time and then by key, for a store whose rows live for a time only. It holds
// every row once, at the time it is of. Owned by the task's goroutine.
type Expiry struct {
	rows Map
	at   []byte // scratch
}

// NewExpiry returns an Expiry that keeps its order in a map.
func NewExpiry(order Map) *Expiry { return &Expiry{rows: order} }

// Put notes what the store keeps of a key from now on in place of old; nil is nothing. Both begin with their time.
func (e *Expiry) Put(key, local, old []byte) {
	if old != nil {
		e.rows.Put(e.place(key, old), nil)
	}
	if local != nil {
		e.rows.Put(e.place(key, local), []byte{})
	}
}

// place is where a row stands: by the time, negative ones first, and by the key.
func (e *Expiry) place(key, local []byte) []byte {
	e.at = append(append(e.at[:0], local[:timeLen]...), key...)
	e.at[0] ^= signBit
	return e.at
}

// signBit is turned so that bytes order times as numbers do.
const signBit = 0x80

// First is the first row, if it is older than a time in milliseconds. The key is valid until the next Put.
func (e *Expiry) First(than int64) (key []byte, at int64, ok bool, err error) {
	row, _, ok, err := e.rows.Seek(nil, false, false)
	if !ok || err != nil {
		return nil, 0, false, err
	}
	at = timeOf(row)
	return row[timeLen:], at, at < than, nil
}

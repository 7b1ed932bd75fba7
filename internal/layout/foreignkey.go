package layout

// AppendForeignPrefix writes what all keys of one foreign key begin with in a subscription store, and no others.
func AppendForeignPrefix(dst, foreign []byte) []byte {
	return append(appendInt32(dst, int32(len(foreign))), foreign...)
}

// AppendForeignKey writes the key of a subscription store: the length of the foreign key, the foreign key, the primary key.
func AppendForeignKey(dst, foreign, primary []byte) []byte {
	return append(AppendForeignPrefix(dst, foreign), primary...)
}

// ReadForeignKey takes apart what AppendForeignKey wrote.
func ReadForeignKey(b []byte) (foreign, primary []byte, err error) {
	r := reader{b: b}
	foreign = r.take(int(r.int32()))
	primary = r.rest()
	return foreign, primary, r.done("key of a subscription", b)
}

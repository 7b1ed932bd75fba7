package layout

// Context is where a buffered record came from, kept with it so that it can go on as itself later.
type Context[H Header] struct {
	Time      int64
	Offset    int64
	Topic     string
	Partition int32
	Headers   []H
}

// AppendContext writes c. Lengths are 4 bytes.
func AppendContext[H Header](dst []byte, c *Context[H]) []byte {
	dst = appendInt64(appendInt64(dst, c.Time), c.Offset)
	dst = append(appendInt32(dst, int32(len(c.Topic))), c.Topic...)
	dst = appendInt32(appendInt32(dst, c.Partition), int32(len(c.Headers)))
	for i := range c.Headers {
		h := header(c.Headers[i])
		dst = append(appendInt32(dst, int32(len(h.Key))), h.Key...)
		dst = appendSized(dst, h.Value)
	}
	return dst
}

// ReadContext takes apart what AppendContext wrote and says how many bytes that were.
func ReadContext[H Header](b []byte) (c Context[H], n int, err error) {
	r := reader{b: b}
	c = readContext[H](&r)
	if r.bad {
		return Context[H]{}, 0, wrong("record context", b)
	}
	return c, len(b) - len(r.b), nil
}

func readContext[H Header](r *reader) (c Context[H]) {
	c.Time, c.Offset = r.int64(), r.int64()
	c.Topic = string(r.take(int(r.int32())))
	c.Partition = r.int32()
	for n := r.int32(); n > 0 && !r.bad; n-- { // -1 is none, too
		c.Headers = append(c.Headers, H(header{Key: string(r.take(int(r.int32()))), Value: r.sized()}))
	}
	return c
}

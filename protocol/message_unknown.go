package protocol

// Unknown stands for a message of a kind that this code does not know: it is of a later
// version. Nothing of it is heeded, and it is never sent on.
type Unknown struct {
	Of MessageKind
	// Request is the number of a message that asks: the first of its fields.
	Request uint64
}

// Unsupported answers a message that asks and whose kind the receiver does not know, so
// that nobody waits for an answer that cannot come.
type Unsupported struct {
	Asked   MessageKind
	Request uint64 // that of the message that asked
}

// Kind returns the unknown kind.
func (m *Unknown) Kind() MessageKind   { return m.Of }
func (*Unsupported) Kind() MessageKind { return KindUnsupported }

func (*Unknown) highest() Index     { return 0 }
func (*Unsupported) highest() Index { return 0 }

// KindCount is how often messages of a kind were sent past each other: Skipped came and
// were not known here, Unsupported were asked by this member and not known there.
type KindCount struct {
	Kind                 MessageKind
	Skipped, Unsupported uint64
}

func (m *Unknown) append([]byte) []byte {
	panic("protocol: a message of an unknown kind is not passed on")
}

func (m *Unsupported) append(dst []byte) []byte {
	return appendUint(appendUint(appendArray(dst, 2), uint64(m.Asked)), m.Request)
}

func decodeUnsupported(r *reader) Message {
	r.message(2)
	return &Unsupported{Asked: MessageKind(r.uintTo(0xff)), Request: r.uint()}
}

// unknown passes over the fields of a message of a kind that is not known. They are
// values like all others: what is none of that is malformed, whatever its kind.
func (r *reader) unknown(kind MessageKind) Message {
	m := &Unknown{Of: kind}
	if whole := r.src; kind.Asks() {
		if r.message(1); r.err == nil {
			m.Request = r.uint()
		}
		if r.err != nil {
			return m
		}
		r.src, r.more = whole, 0
	}
	for len(r.src) > 0 {
		r.skip(1)
	}
	return m
}

func (c *KindCount) append(dst []byte) []byte {
	dst = appendUint(appendArray(dst, 3), uint64(c.Kind))
	return appendUint(appendUint(dst, c.Skipped), c.Unsupported)
}

func (r *reader) kindCount() KindCount {
	more := r.grows(3)
	c := KindCount{Kind: MessageKind(r.uintTo(0xff)), Skipped: r.uint(), Unsupported: r.uint()}
	r.skip(more)
	return c
}

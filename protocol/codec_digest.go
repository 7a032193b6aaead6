package protocol

func appendDigest(dst []byte, i Index, known bool, digest [16]byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(i))
	dst = appendBool(dst, known)
	return appendBin(dst, digest[:])
}

// digest reads the three parts after their head.
func (r *reader) digest() (i Index, known bool, digest [16]byte) {
	return r.index(), r.bool(), digestBytes(r)
}

func digestBytes(r *reader) (digest [16]byte) {
	b := r.bin(len(digest))
	if r.err == nil && len(b) != len(digest) {
		r.fail("a digest of another length")
	}
	copy(digest[:], b)
	return digest
}

func (m *DigestQuestion) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendBool(appendUint(dst, uint64(m.Index)), m.Known)
	return appendBool(appendBin(dst, m.Digest[:]), m.Disputed)
}

func decodeDigestQuestion(r *reader) Message {
	r.message(3)
	m := &DigestQuestion{}
	m.Index, m.Known, m.Digest = r.digest()
	if r.more > 0 {
		r.more--
		m.Disputed = r.bool()
	}
	return m
}

func (m *DigestAnswer) append(dst []byte) []byte {
	return appendDigest(dst, m.Index, m.Known, m.Digest)
}

func decodeDigestAnswer(r *reader) Message {
	r.message(3)
	m := &DigestAnswer{}
	m.Index, m.Known, m.Digest = r.digest()
	return m
}

func (d *DigestReport) append(dst []byte) []byte {
	dst = appendArray(dst, 10)
	dst = appendID(dst, d.ID)
	dst = appendString(dst, d.Name)
	dst = appendString(dst, d.Role)
	dst = appendBool(dst, d.Leader)
	dst = appendUint(dst, uint64(d.Applied))
	dst = appendDigest(dst, d.Index, d.Known, d.Digest)
	dst = appendBool(dst, d.SumKnown)
	dst = appendSum(dst, d.Sum)
	dst = appendString(dst, d.State)
	return appendText(dst, d.Reason)
}

func (r *reader) digestReport() *DigestReport {
	more := r.grows(10)
	d := &DigestReport{ID: r.member(), Name: r.name(), Role: r.name(), Leader: r.bool(), Applied: r.index()}
	r.array(3)
	d.Index, d.Known, d.Digest = r.digest()
	d.SumKnown, d.Sum, d.State, d.Reason = r.bool(), r.sum(), r.name(), r.text()
	r.skip(more)
	return d
}

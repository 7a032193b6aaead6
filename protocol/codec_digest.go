package protocol

func appendDigest(dst []byte, i Index, known bool, digest [16]byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(i))
	dst = appendBool(dst, known)
	return appendBin(dst, digest[:])
}

func (r *reader) digest() (i Index, known bool, digest [16]byte) {
	r.array(3)
	i, known = r.index(), r.bool()
	b := r.bin(len(digest))
	if r.err == nil && len(b) != len(digest) {
		r.fail("a digest of another length")
	}
	copy(digest[:], b)
	return i, known, digest
}

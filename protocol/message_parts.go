package protocol

import "github.com/zeebo/xxh3"

// ResourceDigest is the part that one resource has in the digest of a state: the sum over
// its keys. The name "" is the system's own: sessions, the catalogue, the cluster time.
type ResourceDigest struct {
	Name, Type string
	Digest     [16]byte
}

const (
	// DigestBuckets is into how many buckets the resources of a state are cut, by their
	// names, where two members look for what differs.
	DigestBuckets = 256
	// DigestPageMax is how many resources of a bucket one answer names at most,
	// DigestPageBytesMax how many bytes these take, about.
	DigestPageMax      = 512
	DigestPageBytesMax = 32 << 10
)

// DigestBucket returns the bucket of a resource.
func DigestBucket(name string) uint64 { return xxh3.HashString(name) % DigestBuckets }

// PartsQuestion asks a member what the digest of its state at the index of a checkpoint
// entry is made of.
type PartsQuestion struct {
	Index Index
	// Digest is what the asked one has said it has there: parts of another state say nothing.
	Digest [16]byte
	// Sums asks for the sums of all buckets; else it is the resources of Bucket, below
	// DigestBuckets, whose names are above After.
	Sums   bool
	Bucket uint64
	After  string
}

// PartsAnswer answers a PartsQuestion, and repeats what was asked. Not Known: the sender does
// not know what that state was made of, not yet or not any more.
type PartsAnswer struct {
	Index  Index
	Digest [16]byte
	Known  bool
	// Sums has DigestBuckets of them if that was asked: each the exclusive or of its resources'
	// digests.
	Sums   [][16]byte
	Bucket uint64
	After  string
	// Resources are in the order of their names; More says that there are others above.
	Resources []ResourceDigest
	More      bool
}

// Kind returns KindPartsQuestion.
func (*PartsQuestion) Kind() MessageKind { return KindPartsQuestion }

// Kind returns KindPartsAnswer.
func (*PartsAnswer) Kind() MessageKind { return KindPartsAnswer }

func (m *PartsQuestion) highest() Index { return m.Index }
func (m *PartsAnswer) highest() Index   { return m.Index }

func (m *PartsQuestion) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendBin(dst, m.Digest[:])
	dst = appendBool(dst, m.Sums)
	return appendString(appendUint(dst, m.Bucket), m.After)
}

func decodePartsQuestion(r *reader) Message {
	r.message(5)
	return &PartsQuestion{Index: r.index(), Digest: digestBytes(r), Sums: r.bool(), Bucket: r.uint(), After: r.name()}
}

func (m *PartsAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 8)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendBin(dst, m.Digest[:])
	dst = appendBool(dst, m.Known)
	dst = appendArray(dst, len(m.Sums))
	for k := range m.Sums {
		dst = appendBin(dst, m.Sums[k][:])
	}
	dst = appendString(appendUint(dst, m.Bucket), m.After)
	dst = appendArray(dst, len(m.Resources))
	for k := range m.Resources {
		x := &m.Resources[k]
		dst = appendString(appendString(appendArray(dst, 3), x.Name), x.Type)
		dst = appendBin(dst, x.Digest[:])
	}
	return appendBool(dst, m.More)
}

func (m *PartsAnswer) size() int {
	n := 1 + 1 + 2*9 + 18 + 2 + 3 + 18*len(m.Sums) + 5 + len(m.After) + 3
	for k := range m.Resources {
		n += m.Resources[k].size()
	}
	return n
}

func (d *ResourceDigest) size() int { return 1 + 5 + len(d.Name) + 5 + len(d.Type) + 18 }

// DigestPage returns as many resources of a list as one answer may name, and whether there are
// others.
func DigestPage(list []ResourceDigest) (page []ResourceDigest, more bool) {
	bytes := 0
	for k := range list {
		if bytes += list[k].size(); k == DigestPageMax || k > 0 && bytes > DigestPageBytesMax {
			return list[:k], true
		}
	}
	return list, false
}

func decodePartsAnswer(r *reader) Message {
	r.message(8)
	m := &PartsAnswer{Index: r.index(), Digest: digestBytes(r), Known: r.bool()}
	if n := r.arrayTo(DigestBuckets, 2+len(m.Digest)); n > 0 {
		m.Sums = make([][16]byte, n)
		for k := range m.Sums {
			m.Sums[k] = digestBytes(r)
		}
	}
	m.Bucket, m.After = r.uint(), r.name()
	if n := r.arrayTo(DigestPageMax, 1+1+1+2+len(m.Digest)); n > 0 {
		m.Resources = make([]ResourceDigest, n)
		for k := range m.Resources {
			r.array(3)
			m.Resources[k] = ResourceDigest{Name: r.name(), Type: r.name(), Digest: digestBytes(r)}
		}
	}
	m.More = r.bool()
	return m
}

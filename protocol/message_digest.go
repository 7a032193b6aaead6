package protocol

// Kinds of the messages about digests.
const (
	KindDigestQuestion MessageKind = 17
	KindDigestAnswer   MessageKind = 18
)

// DigestQuestion asks an active for the digest of its state at the index of a
// mark, and says what the asker has there: so the asked one finds out too if it
// is the one that has diverged.
type DigestQuestion struct {
	Index Index
	// Known is false if the asker has none: it asks whether a checkpoint that
	// it was offered is the right one.
	Known  bool
	Digest [16]byte
}

// DigestAnswer answers a DigestQuestion. Not Known: the sender has not applied
// that far, no longer knows, or has diverged itself.
type DigestAnswer struct {
	Index  Index
	Known  bool
	Digest [16]byte
}

func (*DigestQuestion) Kind() MessageKind { return KindDigestQuestion }
func (*DigestAnswer) Kind() MessageKind   { return KindDigestAnswer }

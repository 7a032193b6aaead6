package protocol

// DigestQuestion asks an active for the digest of its state at the index of a
// checkpoint entry, and says what the asker has there: so the asked one finds out too if it
// is the one that has diverged.
type DigestQuestion struct {
	Index Index
	// Known is false if the asker has none: it asks whether a checkpoint that
	// it was offered is the right one.
	Known  bool
	Digest [16]byte
	// Disputed says that actives differ there and none of the states is a majority's. It may be
	// missing.
	Disputed bool
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

func (m *DigestQuestion) highest() Index { return m.Index }
func (m *DigestAnswer) highest() Index   { return m.Index }

// DigestReport is what a member says of its state at one index.
type DigestReport struct {
	ID      MemberID
	Name    string
	Role    string // active or passive
	Leader  bool
	Applied Index
	// Index is the one asked for. Known is false if the member has not come to
	// it in time, or it is not among the last 1,024 that it has applied.
	Index  Index
	Known  bool
	Digest [16]byte
	// Sum is that of the log up to Index; known only if that is in memory.
	SumKnown bool
	Sum      LogSum
	// State is serving, quarantined, installing, disputed or not-serving, and
	// Reason says why, for people.
	State  string
	Reason string
}

package protocol

// Token is what one member has given another over a stream in this run of both, so that
// it knows its datagrams. It is as hard to guess as a key, and another one for each pair
// and run. The zero value says that none was given.
type Token [16]byte

// IsZero reports whether there is none.
func (t Token) IsZero() bool { return t == Token{} }

// Pulse is the copy of a Heartbeat that goes by datagram, so that a lost packet on a stream
// does not silence a leader. [S] It says less: it takes nobody to another term, and speaks
// neither of the log nor of what is committed. Of and To are the tokens of its sender and
// of its receiver: without both it counts for nothing. Whoever does not know the kind has
// given no token, and is sent none.
type Pulse struct {
	Round  uint64
	Term   Term
	Of, To Token
}

// PulseAnswer answers a Pulse, echoing its round, in the same term. Of and To are as there.
type PulseAnswer struct {
	Round  uint64
	Term   Term
	Of, To Token
}

// Kind returns KindPulse.
func (*Pulse) Kind() MessageKind { return KindPulse }

// Kind returns KindPulseAnswer.
func (*PulseAnswer) Kind() MessageKind { return KindPulseAnswer }

func (*Pulse) highest() Index       { return 0 }
func (*PulseAnswer) highest() Index { return 0 }

func (m *Pulse) append(dst []byte) []byte {
	dst = appendUint(appendUint(appendArray(dst, 4), m.Round), uint64(m.Term))
	return appendToken(appendToken(dst, m.Of), m.To)
}

func decodePulse(r *reader) Message {
	r.message(4)
	return &Pulse{Round: r.uint(), Term: r.term(), Of: readToken(r), To: readToken(r)}
}

func (m *PulseAnswer) append(dst []byte) []byte { return (*Pulse)(m).append(dst) }

func decodePulseAnswer(r *reader) Message { return (*PulseAnswer)(decodePulse(r).(*Pulse)) }

// appendToken writes a token, nil if there is none.
func appendToken(dst []byte, t Token) []byte {
	if t.IsZero() {
		return appendNil(dst)
	}
	return appendBin(dst, t[:])
}

func readToken(r *reader) (t Token) {
	if r.isNil() {
		return t
	}
	b := r.bin(len(t))
	copy(t[:], b)
	if r.err == nil && (len(b) != len(t) || t.IsZero()) {
		r.fail("a token of another length, or of nothing")
	}
	return t
}

// addedToken reads the token that was added to a message: members of earlier releases send
// none, and are sent no pulses.
func addedToken(r *reader) Token {
	if r.more == 0 {
		return Token{}
	}
	r.more--
	return readToken(r)
}

package protocol

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	// SealBytes is what a seal takes: the head of a key, and a signature.
	SealBytes = keyHeadBytes + signatureBytes
	// FrameSealBytesMax is what a seal adds to an encoded frame.
	FrameSealBytesMax = 2 + sha256.Size + 2 + SealBytes

	keyHeadBytes   = 8
	signatureBytes = 64
)

// Seal is an ed25519 signature of a statement, by an active. Key is the head of
// the public key that it can be checked with. The zero value is no signature.
// A message with a seal has more elements than one without, so that both sides
// see at once whether the other one signs.
type Seal struct {
	Key       [keyHeadBytes]byte
	Signature [signatureBytes]byte
}

// IsZero reports whether there is no signature.
func (s *Seal) IsZero() bool { return *s == Seal{} }

// Chain is a chained SHA-256 over a run of entries. The log sum beside it finds
// faults, at no cost; this one withstands attackers, and is reckoned only where
// frames are signed. It begins anywhere, with zero: what a statement says of a
// run's end it says of all that the chain has run over.
type Chain [sha256.Size]byte

// Next returns the chain after one more entry, given the log sum before it.
func (c Chain) Next(before LogSum, raw []byte) Chain {
	h := sha256.New()
	var head [sha256.Size + 16]byte
	copy(head[:], c[:])
	binary.BigEndian.PutUint64(head[sha256.Size:], before[0])
	binary.BigEndian.PutUint64(head[sha256.Size+8:], before[1])
	h.Write(head[:])
	h.Write(raw)
	var out Chain
	h.Sum(out[:0])
	return out
}

// NextEntries returns the chain after a run, given the log sum before it.
func (c Chain) NextEntries(before LogSum, entries []Entry) Chain {
	for i := range entries {
		c = c.Next(before, entries[i].Raw)
		before = before.Next(entries[i].Raw)
	}
	return c
}

// What a statement is about is its first byte, so that none passes for another.
const (
	statementLog         = 1
	statementStanding    = 2
	statementSum         = 3
	statementDescription = 4
)

// LogStatement says: the entries up to last, as far back as the chain goes, are
// committed. It stays true for ever, whoever repeats it.
func LogStatement(last Index, chain Chain) []byte {
	b := append(make([]byte, 0, 1+8+sha256.Size), statementLog)
	b = binary.BigEndian.AppendUint64(b, uint64(last))
	return append(b, chain[:]...)
}

// StandingStatement is what an answer to a HAVE says of freshness and of the
// leader. AnswerTo ties it to one question of one member: repeated later, or to
// another, it answers nothing.
func StandingStatement(h *Have) []byte {
	b := append(make([]byte, 0, 1+8+1+8+8+8+8+16), statementStanding)
	b = binary.BigEndian.AppendUint64(b, h.AnswerTo)
	known := byte(0)
	if h.FreshKnown {
		known = 1
	}
	b = append(b, known)
	b = binary.BigEndian.AppendUint64(b, uint64(h.FreshIndex))
	b = binary.BigEndian.AppendUint64(b, h.FreshSum)
	b = binary.BigEndian.AppendUint64(b, uint64(h.FreshAge))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Term))
	return append(b, h.Leader[:]...)
}

// SumStatement says what the log sum after a committed index is.
func SumStatement(a *SumAnswer) []byte {
	b := append(make([]byte, 0, 1+8+16), statementSum)
	b = binary.BigEndian.AppendUint64(b, uint64(a.Index))
	b = binary.BigEndian.AppendUint64(b, a.Sum[0])
	return binary.BigEndian.AppendUint64(b, a.Sum[1])
}

// DescriptionStatement says that a checkpoint is one of the cluster's states.
func DescriptionStatement(description []byte) []byte {
	sum := sha256.Sum256(description)
	return append(append(make([]byte, 0, 1+len(sum)), statementDescription), sum[:]...)
}

// appendSeal appends a seal, or that there is none.
func appendSeal(dst []byte, s *Seal) []byte {
	if s.IsZero() {
		return appendNil(dst)
	}
	dst = append(dst, codeBin8, SealBytes)
	dst = append(dst, s.Key[:]...)
	return append(dst, s.Signature[:]...)
}

// sealSize is what appendSeal adds.
func sealSize(s *Seal) int {
	if s.IsZero() {
		return 1
	}
	return 2 + SealBytes
}

// seal reads a seal. No signature at all has another form.
func (r *reader) seal() Seal {
	var s Seal
	if r.isNil() {
		return s
	}
	b := r.bin(SealBytes)
	if r.err == nil && len(b) != SealBytes {
		r.fail("a seal of another length")
		return s
	}
	copy(s.Key[:], b)
	copy(s.Signature[:], b[min(len(b), keyHeadBytes):])
	if r.err == nil && s.IsZero() {
		r.fail("a seal of nothing")
	}
	return s
}

// chain reads a chain, which is nil without a seal.
func (r *reader) chain() Chain {
	var c Chain
	if r.isNil() {
		return c
	}
	if b := r.bin(len(c)); r.err == nil && len(b) != len(c) {
		r.fail("a chain of another length")
	} else {
		copy(c[:], b)
	}
	return c
}

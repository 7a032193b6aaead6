package protocol

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	// SignatureBytes is what a signature takes: the head of a key, and a signature.
	SignatureBytes = keyHeadBytes + ed25519Bytes
	// FrameSignatureBytesMax is what a signature adds to an encoded frame.
	FrameSignatureBytesMax = 2 + sha256.Size + 2 + SignatureBytes

	keyHeadBytes = 8
	ed25519Bytes = 64
)

// Signature is an ed25519 signature of a statement, by an active. Key is the head of
// the public key that it can be checked with. The zero value is no signature.
// A message with a signature has more elements than one without, so that both sides
// see at once whether the other one signs.
type Signature struct {
	Key   [keyHeadBytes]byte
	Bytes [ed25519Bytes]byte
}

// IsZero reports whether there is no signature.
func (s *Signature) IsZero() bool { return *s == Signature{} }

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
	statementLog       = 1
	statementFreshness = 2
	statementSum       = 3
	statementManifest  = 4
)

// LogStatement says: the entries up to last, as far back as the chain goes, are
// committed. It stays true for ever, whoever repeats it.
func LogStatement(last Index, chain Chain) []byte {
	b := append(make([]byte, 0, 1+8+sha256.Size), statementLog)
	b = binary.BigEndian.AppendUint64(b, uint64(last))
	return append(b, chain[:]...)
}

// FreshnessStatement is what an answer to a HAVE says of freshness and of the
// leader. AnswerTo ties it to one question of one member: repeated later, or to
// another, it answers nothing.
func FreshnessStatement(h *Have) []byte {
	b := append(make([]byte, 0, 1+8+1+8+8+8+8+16), statementFreshness)
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

// ManifestStatement says that a checkpoint is one of the cluster's states.
func ManifestStatement(manifest []byte) []byte {
	sum := sha256.Sum256(manifest)
	return append(append(make([]byte, 0, 1+len(sum)), statementManifest), sum[:]...)
}

// appendSignature appends a signature, or that there is none.
func appendSignature(dst []byte, s *Signature) []byte {
	if s.IsZero() {
		return appendNil(dst)
	}
	dst = append(dst, codeBin8, SignatureBytes)
	dst = append(dst, s.Key[:]...)
	return append(dst, s.Bytes[:]...)
}

// signatureSize is what appendSignature adds.
func signatureSize(s *Signature) int {
	if s.IsZero() {
		return 1
	}
	return 2 + SignatureBytes
}

// signature reads a signature. No signature at all has another form.
func (r *reader) signature() Signature {
	var s Signature
	if r.isNil() {
		return s
	}
	b := r.bin(SignatureBytes)
	if r.err == nil && len(b) != SignatureBytes {
		r.fail("a signature of another length")
		return s
	}
	copy(s.Key[:], b)
	copy(s.Bytes[:], b[min(len(b), keyHeadBytes):])
	if r.err == nil && s.IsZero() {
		r.fail("a signature of nothing")
	}
	return s
}

// chain reads a chain, which is nil without a signature.
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

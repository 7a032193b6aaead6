package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

// Kind says what a record does to the log.
type Kind uint8

// The kinds. Every record also carries the hard state.
const (
	// KindEntries appends entries, after dropping a suffix if it is cut.
	KindEntries Kind = 1
	// KindState only carries the hard state.
	KindState Kind = 2
	// KindTruncate drops everything above an index.
	KindTruncate Kind = 3
	// KindReset drops everything and begins again after an index.
	KindReset Kind = 4
	// KindEmpty says how far the log is durable.
	KindEmpty Kind = 5
)

// String returns the kind's name.
func (k Kind) String() string {
	return protocol.EnumText(k, "kind", "", "entries", "state", "truncate", "reset", "empty")
}

// A record is a header, a payload, and zeros up to the next 8-byte boundary:
//
//	 0  sum of the bytes 8 to 103, seeded with the segment's nonce
//	 8  sequence number
//	16  durable: the highest sequence number known to be synced
//	24  payload length (4), kind (1), flags (1), zero (2)
//	32  sum of the payload, seeded with the nonce
//	40  term, vote (16), commit: the hard state from this record on
//	72  last index, its term, log sum (16): the log before this record
//
// The payload of entries is what the leader encoded, after a point (32 bytes:
// index, term, log sum) if the record is cut; that of truncate is a point; that
// of reset a point, the configuration's index, and its encoding.
const (
	recordBytes  = 104
	pointBytes   = 32
	recordAlign  = 8
	flagCut      = 1
	payloadLimit = 1 << 30
)

// header is a record's, decoded.
type header struct {
	sequence, durable protocol.Sequence
	length            int
	kind              Kind
	cut               bool
	payloadSum        uint64
	state             protocol.HardState
	before            point
}

// size is what the record takes in its segment.
func (h *header) size() int64 { return recordSize(h.length) }

func recordSize(payload int) int64 {
	return (recordBytes + int64(payload) + recordAlign - 1) &^ (recordAlign - 1)
}

// putHeader encodes a header into the first recordBytes of b.
func putHeader(b []byte, nonce uint64, h *header) {
	le := binary.LittleEndian
	le.PutUint64(b[8:], uint64(h.sequence))
	le.PutUint64(b[16:], uint64(h.durable))
	le.PutUint32(b[24:], uint32(h.length))
	b[28], b[29], b[30], b[31] = byte(h.kind), 0, 0, 0
	if h.cut {
		b[29] = flagCut
	}
	le.PutUint64(b[32:], h.payloadSum)
	putState(b[40:], h.state)
	putPoint(b[72:], h.before)
	le.PutUint64(b, xxh3.HashSeed(b[8:recordBytes], nonce))
}

// parseHeader decodes the header at the front of b, and reports false unless it
// is one of the segment with the nonce. It is quick to refuse zeros and old
// records: only a sequence number above last is worth a sum.
func parseHeader(b []byte, nonce uint64, last protocol.Sequence, h *header) bool {
	if len(b) < recordBytes {
		return false
	}
	le := binary.LittleEndian
	sequence, durable := le.Uint64(b[8:]), le.Uint64(b[16:])
	if sequence <= uint64(last) || durable >= sequence || b[28]-1 >= byte(KindEmpty) || b[29]|flagCut != flagCut || b[30]|b[31] != 0 {
		return false
	}
	if le.Uint64(b) != xxh3.HashSeed(b[8:recordBytes], nonce) {
		return false
	}
	h.sequence, h.durable = protocol.Sequence(sequence), protocol.Sequence(durable)
	length := le.Uint32(b[24:])
	if length > payloadLimit {
		return false
	}
	h.length = int(length)
	h.kind, h.cut = Kind(b[28]), b[29] == flagCut
	h.payloadSum = le.Uint64(b[32:])
	h.state = parseState(b[40:])
	h.before = parsePoint(b[72:])
	return true
}

func sumPayload(payload []byte, nonce uint64) uint64 { return xxh3.HashSeed(payload, nonce) }

func putState(b []byte, s protocol.HardState) {
	binary.LittleEndian.PutUint64(b, uint64(s.Term))
	copy(b[8:24], s.Vote[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(s.Commit))
}

func parseState(b []byte) protocol.HardState {
	s := protocol.HardState{
		Term:   protocol.Term(binary.LittleEndian.Uint64(b)),
		Commit: protocol.Index(binary.LittleEndian.Uint64(b[24:])),
	}
	copy(s.Vote[:], b[8:24])
	return s
}

func putPoint(b []byte, p point) {
	le := binary.LittleEndian
	le.PutUint64(b, uint64(p.index))
	le.PutUint64(b[8:], uint64(p.term))
	le.PutUint64(b[16:], p.sum[0])
	le.PutUint64(b[24:], p.sum[1])
}

func parsePoint(b []byte) point {
	le := binary.LittleEndian
	return point{
		index: protocol.Index(le.Uint64(b)),
		term:  protocol.Term(le.Uint64(b[8:])),
		sum:   protocol.LogSum{le.Uint64(b[16:]), le.Uint64(b[24:])},
	}
}

// body is a payload, decoded. Entries alias it.
type body struct {
	cut           point // if the record is cut, a truncate or a reset
	configuration protocol.ConfigurationAt
	entries       []protocol.Entry
}

// parseBody decodes the payload of a record whose sums are good. Entries go
// into the storage of into. An error means that this program, or another
// version of it, wrote something that it cannot read.
func parseBody(h *header, payload []byte, into []protocol.Entry) (body, error) {
	var d body
	if h.cut != (h.kind == KindTruncate || h.kind == KindReset) && h.kind != KindEntries {
		return d, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s record with cut=%v", h.kind, h.cut))
	}
	if h.cut {
		if len(payload) < pointBytes {
			return d, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s record of %d bytes", h.kind, len(payload)))
		}
		d.cut, payload = parsePoint(payload), payload[pointBytes:]
	}
	var err error
	switch {
	case h.kind == KindEntries:
		d.entries, err = protocol.DecodeEntriesInto(into, payload)
		if err == nil && len(d.entries) == 0 {
			err = protocol.ErrCorrupt.With("damaged data: a record of no entries")
		}
	case h.kind == KindReset && len(payload) >= 8:
		d.configuration.Index = protocol.Index(binary.LittleEndian.Uint64(payload))
		d.configuration.Configuration, err = protocol.DecodeConfiguration(payload[8:])
	case h.kind == KindReset || len(payload) > 0:
		err = protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s record of %d bytes", h.kind, h.length))
	}
	return d, err
}

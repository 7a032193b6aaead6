package wal

import "github.com/starlinghq/starling/protocol"

// The end of each segment is for votes, and notes of what is durable: one part in
// reserveShare, reserveBytes at least. They hold 19 votes with their notes, and the default
// segment's 64 KiB hold 315. On a disk without a free byte entries wait for the next
// segment, and elections go on for so long.
const (
	reserveBytes = segmentAlign
	reserveShare = 1024
)

// leaves returns how much of a segment of a size a record of the kind leaves to those of
// others.
func (k Kind) leaves(size int64) int64 {
	if k == KindState || k == KindEmpty {
		return 0
	}
	return max(reserveBytes, size/reserveShare)
}

// WriteVote implements storage.Log. The record is one that only carries the hard state, as
// any release reads it.
func (l *Log) WriteVote(term protocol.Term, vote protocol.MemberID) error {
	if err := l.writable(); err != nil {
		return err
	}
	state := l.state.Noting(term, vote)
	if state == l.state {
		return nil
	}
	_, err := l.append(&header{kind: KindState, state: state}, l.last, nil)
	return err
}

package wal

import "github.com/starlinghq/starling/protocol"

// reserveBytes is the end of each segment in which only votes, and notes of what is
// durable, are written: 19 votes with their notes. On a disk without a free byte entries
// wait for the next segment, and elections go on for so long.
const reserveBytes = segmentAlign

// leaves returns how much of a segment a record of the kind leaves to those of others.
func (k Kind) leaves() int64 {
	if k == KindState || k == KindEmpty {
		return 0
	}
	return reserveBytes
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

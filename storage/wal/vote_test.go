package wal_test

import (
	"errors"
	"math"
	"testing"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// crampedLab is a log on a disk without a free byte, with an entry that waits for room.
func crampedLab(t *testing.T, seed uint64) (l *lab, waiting func(protocol.HardState) error) {
	t.Helper()
	return crampedSegment(t, seed, smallSegment)
}

// crampedSegment is one with segments of a size.
func crampedSegment(t *testing.T, seed uint64, bytes int64) (l *lab, waiting func(protocol.HardState) error) {
	t.Helper()
	l = newLab(t, seed)
	l.log.Close()
	l.options.PreallocatedMax, l.options.SegmentBytes = -1, bytes
	l.open()
	l.append(0, 1, 100, 1)
	l.sync()
	l.disk.SetCapacity(1)
	for {
		last := protocol.Index(len(l.entries))
		entry := []protocol.Entry{{Index: last + 1, Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, max(700, bytes/3000))}}
		protocol.EncodeEntries(entry)
		protocol.SumEntries(l.entries[last-1].Sum, entry)
		w := protocol.Write{State: l.state, First: last + 1, Last: last + 1}
		err := l.log.Write(w, entry)
		if errors.Is(err, protocol.ErrNoSpace) {
			l.must(l.log.Sync())
			return l, func(s protocol.HardState) error { w.State = s; return l.log.Write(w, entry) }
		}
		l.must(err)
		l.entries = append(l.entries, entry...)
	}
}

// foundAgain opens the log again and checks what it holds.
func (l *lab) foundAgain(want protocol.HardState) {
	l.t.Helper()
	l.disk.SetCapacity(math.MaxInt64)
	l.open()
	defer l.log.Close()
	rec := l.log.Opened()
	if rec.State != want || rec.LogTerms.LastIndex() != protocol.Index(len(l.entries)) || rec.Damage != nil {
		l.t.Errorf("got %+v, a log to %d and damage %v, want %+v and a log to %d", rec.State, rec.LogTerms.LastIndex(), rec.Damage, want, len(l.entries))
	}
}

// A disk without a free byte takes votes when it takes no entry, some of them; then they wait
// as well, until there is room. There are more of them in a larger segment: a disk that is
// full for a night sees more elections than 19.
func TestAFullDiskTakesVotes(t *testing.T) {
	for _, c := range []struct {
		bytes int64
		votes protocol.Term
	}{{smallSegment, 19}, {16 << 20, 78}} {
		l, waiting := crampedSegment(t, 1, c.bytes)
		term := protocol.Term(1)
		for {
			err := l.log.WriteVote(term+1, protocol.MemberID{byte(term)})
			if errors.Is(err, protocol.ErrNoSpace) {
				break
			}
			l.must(err)
			l.must(l.log.Sync())
			term++
			if err := l.log.Settle(); !errors.Is(err, protocol.ErrNoSpace) {
				l.must(err)
			}
		}
		if term-1 < c.votes || term-1 > 2*c.votes {
			t.Errorf("%d votes in a segment of %d bytes, want %d", term-1, c.bytes, c.votes)
		}
		if err := waiting(protocol.HardState{Term: term, Vote: protocol.MemberID{byte(term - 1)}}); !errors.Is(err, protocol.ErrNoSpace) {
			t.Errorf("the entry: got %v, want that it waits", err)
		}
		l.crash()
		l.foundAgain(protocol.HardState{Term: term, Vote: protocol.MemberID{byte(term - 1)}})
	}
}

// [S] A vote that is synced ahead of what waits is there after a crash, and the commit index
// stays within the log: it is that of what was written before.
func TestVoteAheadLeavesCommitIndexWithinTheLog(t *testing.T) {
	for _, crash := range []func(*lab){(*lab).crash, (*lab).kill} {
		l, _ := crampedLab(t, 2)
		l.must(l.log.WriteVote(7, protocol.MemberID{3}))
		l.must(l.log.WriteVote(6, protocol.MemberID{4})) // it is over
		l.must(l.log.WriteVote(7, protocol.MemberID{5})) // it is given
		l.must(l.log.Sync())
		crash(l)
		l.foundAgain(protocol.HardState{Term: 7, Vote: protocol.MemberID{3}, Commit: l.state.Commit})
	}
}

// A vote that the power cut took is no damage: nobody was told of it.
func TestVoteAheadThatWasNotSyncedIsTorn(t *testing.T) {
	lost := 0
	for seed := uint64(1); seed < 9; seed++ {
		l, _ := crampedLab(t, seed)
		l.must(l.log.WriteVote(7, protocol.MemberID{3}))
		l.crash()
		l.disk.SetCapacity(math.MaxInt64)
		l.open()
		rec := l.log.Opened()
		if rec.Damage != nil || rec.State.Term != 7 && rec.State != l.state {
			t.Errorf("seed %d: got %+v, damage %v", seed, rec.State, rec.Damage)
		}
		if rec.State.Term != 7 {
			lost++
		}
		l.log.Close()
	}
	if lost == 0 {
		t.Error("no vote was lost: the test is not worth much")
	}
}

// [S] A write that has waited must not take back what a vote ahead of it has said: an owner
// that forgets that is stopped.
func TestTermDoesNotGoBackWhenAWaitingWriteIsMade(t *testing.T) {
	l, waiting := crampedLab(t, 3)
	l.must(l.log.WriteVote(7, protocol.MemberID{3}))
	l.disk.SetCapacity(math.MaxInt64)
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Error("the write is made, with the term before the vote's")
		}
		l.log.Close()
	}()
	_ = waiting(l.state)
}

package wal_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/wal"
)

// said checks that the last opening has said one thing, with some words in it; none: that
// it has said nothing.
func (l *lab) said(words ...string) {
	l.t.Helper()
	notes := l.log.Opened().Notes
	if len(notes) != min(1, len(words)) {
		l.t.Fatalf("the opening says %q, want %q", notes, words)
	}
	for _, w := range words {
		if !strings.Contains(notes[0], w) {
			l.t.Errorf("the opening says %q, without %q", notes[0], w)
		}
	}
}

// A log that is cut at a bad record says where, and how much is dropped, once. Where no
// record has begun it says nothing.
func TestCutLogSaysWhatItDrops(t *testing.T) {
	for _, payload := range []bool{false, true} {
		for _, bad := range []protocol.Index{4, 6} {
			l := newLab(t, 1)
			for i := range protocol.Index(6) {
				l.append(i, 1, 100, 1)
			}
			l.kill()
			first, last := l.find(bad), l.find(6)
			end := (last.Offset + 104 + int64(last.Bytes) + 7) &^ 7
			if bad == 6 && !payload {
				end = first.Offset + 104 // how long it was is in what is damaged
			}
			l.rot(first, payload)
			l.open()
			l.expect(bad - 1)
			l.said(fmt.Sprintf("offset %d of %s", first.Offset, first.Segment), fmt.Sprintf("before record %d,", first.Sequence),
				fmt.Sprintf("%d records in %d bytes", 7-bad, end-first.Offset))
			l.kill()
			l.open()
			l.said()
		}
	}
}

// A damaged record on which nothing depends is passed over, and that is said, too.
func TestPassedOverRecordIsSaid(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 1, 100, 1)
	l.vote(2, 1)
	l.append(1, 1, 100, 2)
	l.sync()
	l.must(l.log.Settle())
	l.kill()
	var vote wal.Record
	for _, r := range l.records() {
		if r.Kind == wal.KindState && r.State.Term == 2 {
			vote = r
		}
	}
	l.rot(vote, false)
	l.open()
	l.expect(2)
	l.said(fmt.Sprintf("1 damaged records from offset %d of %s", vote.Offset, vote.Segment))
}

// One damaged copy of the identity is written anew from the other, and named.
func TestDamagedCopyOfTheIdentityIsSaid(t *testing.T) {
	l := newLab(t, 1)
	l.kill()
	l.must(l.disk.FlipBit(filepath.Join(labDir, "identity-2"), 333))
	l.open()
	l.said("one of the two copies of the identity in " + labDir)
	l.kill()
	l.open()
	l.said()
}

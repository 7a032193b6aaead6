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

// [S] A damaged header of a segment is named with its file at each start, and stays as it is:
// one that was written over and not synced would look good to a start after a kill, and let
// the log begin there; a power cut would bring the damaged one back.
func TestDamagedHeaderIsNamedAndStays(t *testing.T) {
	for damaged := range 3 {
		l := newLab(t, 1)
		for i := range protocol.Index(3) {
			l.vote(protocol.Term(i+1), byte(i))
			l.configure(2*i, int(i)+1, protocol.Term(i+1))
			l.append(2*i+1, 1, 100, protocol.Term(i+1))
			l.sync()
			l.must(l.log.Settle())
			l.kill()
			l.open()
		}
		l.kill()
		sound, err := wal.Verify(l.disk, labDir)
		l.must(err)
		name := sound.Segments[damaged].Name
		l.must(l.disk.FlipBit(filepath.Join(labDir, "log", name), 50*8))
		says := "the header of " + name + ", at offset 0, is damaged"
		for range 2 {
			if p, err := wal.Verify(l.disk, labDir); err != nil || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], says) || p.BadHeaders != 1 || p.Corrupt > 0 {
				t.Errorf("segment %d: Verify says %q, %v, want %q", damaged, p.Notes, err, says)
			}
			l.open()
			l.expect(6)
			l.said(says)
			l.kill()
		}
		l.open()
		if _, err := l.log.DropHead(l.state.Commit); err != nil {
			t.Fatal(err)
		}
		l.crash()
		l.open()
	}
}

// Whoever verifies a log hears what the next start drops, after which entry, and that a
// crash leaves just that.
func TestVerifySaysWhatTheNextStartDrops(t *testing.T) {
	l := newLab(t, 1)
	for i := range protocol.Index(6) {
		l.append(i, 1, 100, 1)
	}
	l.kill()
	l.rot(l.find(5), true)
	p, err := wal.Verify(l.disk, labDir)
	l.must(err)
	l.open()
	l.expect(4)
	l.said("the log is cut after entry 4", "2 records", "no damage")
	if want := l.log.Opened().Notes; fmt.Sprint(p.Notes) != fmt.Sprint(want) || p.Last != 4 {
		t.Errorf("Verify says %q, the start %q", p.Notes, want)
	}
}

package wal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// lab is a member's directory on a disk that breaks.
type lab struct {
	t       *testing.T
	disk    *vfs.Memory
	options wal.Options
	log     *wal.Log
	entries []protocol.Entry
	state   protocol.HardState
}

const labDir = "/d"

func newLab(t *testing.T, seed uint64) *lab {
	t.Helper()
	l := &lab{t: t, disk: vfs.NewMemory(seed), options: wal.Options{SegmentBytes: smallSegment, Random: newSeeded(seed)}}
	l.must(wal.Init(l.disk, labDir, id, nil, l.options))
	l.open()
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) open() {
	l.t.Helper()
	var err error
	l.log, err = wal.Open(l.disk, labDir, l.options)
	l.must(err)
}

func (l *lab) kill()  { l.disk.Kill(); l.log.Close() }
func (l *lab) crash() { l.disk.Crash(); l.log.Close() }

// append replaces what is above after by n entries of so many bytes.
func (l *lab) append(after protocol.Index, n, bytes int, term protocol.Term) {
	l.t.Helper()
	entries := make([]protocol.Entry, n)
	for i := range entries {
		entries[i] = protocol.Entry{Index: after + 1 + protocol.Index(i), Term: term, Kind: protocol.EntryCommand, Data: make([]byte, bytes)}
		for k := range entries[i].Data {
			entries[i].Data[k] = byte(k) ^ byte(after)
		}
	}
	l.write(after, entries)
}

// write replaces what is above after by entries.
func (l *lab) write(after protocol.Index, entries []protocol.Entry) {
	l.t.Helper()
	protocol.EncodeEntries(entries)
	truncate := after < protocol.Index(len(l.entries))
	l.entries = l.entries[:after]
	var sum protocol.LogSum
	if after > 0 {
		sum = l.entries[after-1].Sum
	}
	protocol.SumEntries(sum, entries)
	l.entries = append(l.entries, entries...)
	n := protocol.Index(len(entries))
	l.state.Term = max(l.state.Term, entries[0].Term)
	l.must(l.log.Write(protocol.Write{State: l.state, Truncate: truncate, After: after, First: after + 1, Last: after + n}, entries))
}

func (l *lab) vote(term protocol.Term, member byte) {
	l.t.Helper()
	l.state.Term, l.state.Vote = term, protocol.MemberID{member}
	l.must(l.log.Write(protocol.Write{State: l.state, First: 1}, nil))
	l.must(l.log.Sync())
}

func (l *lab) sync() { l.t.Helper(); l.must(l.log.Sync()) }

// expect checks what opening found.
func (l *lab) expect(last protocol.Index) {
	l.t.Helper()
	rec := l.log.Opened()
	if rec.Damage != nil {
		l.t.Fatalf("damage: %v", rec.Damage)
	}
	if got := rec.LogTerms.LastIndex(); got != last {
		l.t.Fatalf("the log ends at %d, want %d", got, last)
	}
	if last > 0 && rec.LastSum != l.entries[last-1].Sum {
		l.t.Fatalf("log sum at %d: got %s, want %s", last, rec.LastSum, l.entries[last-1].Sum)
	}
	l.entries = l.entries[:last]
}

// last returns where the log ended when it was opened.
func (l *lab) last() protocol.Index {
	rec := l.log.Opened()
	return rec.LogTerms.LastIndex()
}

// records lists what is on the disk.
func (l *lab) records() []wal.Record {
	l.t.Helper()
	var all []wal.Record
	_, err := wal.Inspect(l.disk, labDir, func(r wal.Record) { all = append(all, r) })
	l.must(err)
	return all
}

// find returns the last good record that holds an entry.
func (l *lab) find(i protocol.Index) wal.Record {
	l.t.Helper()
	all := l.records()
	for k := len(all) - 1; k >= 0; k-- {
		if r := all[k]; r.Status == wal.StatusGood && r.First <= i && i <= r.Last {
			return r
		}
	}
	l.t.Fatalf("entry %d is not on the disk", i)
	return wal.Record{}
}

// rot flips a bit of a record: of its header, or of its payload.
func (l *lab) rot(r wal.Record, payload bool) {
	l.t.Helper()
	at := r.Offset + 20
	if payload {
		at = r.Offset + 104 + int64(r.Bytes)/2
	}
	l.must(l.disk.FlipBit(filepath.Join(labDir, "log", r.Segment), at*8+3))
}

// Counterexample 14: a vote whose segment is deleted is not forgotten.
func TestHardStateInADeletedSegment(t *testing.T) {
	l := newLab(t, 1)
	l.vote(7, 1)
	for i := range protocol.Index(300) {
		l.state.Commit = i
		l.append(i, 1, 400, 7)
	}
	l.sync()
	segments, _ := l.disk.ReadDir(labDir + "/log")
	if begin, err := l.log.DropHead(290); err != nil || begin.Index < 200 {
		t.Fatalf("dropped to %d, %v", begin.Index, err)
	}
	left, _ := l.disk.ReadDir(labDir + "/log")
	if len(left) >= len(segments) {
		t.Fatalf("no segment was deleted: %d, %d before", len(left), len(segments))
	}
	for range 3 {
		l.crash()
		l.open()
		if got := l.log.Opened().State; got != l.state {
			t.Fatalf("got %+v, want %+v", got, l.state)
		}
	}
}

// Counterexample 14, second half: the head is dropped just after a new segment
// began, and a power cut takes the new segment's only record. Its header has the
// hard state.
func TestHardStateInASegmentWithoutRecords(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		l := newLab(t, seed)
		l.vote(7, 1)
		for n := len(l.segments()); len(l.segments()) == n; {
			l.state.Commit = protocol.Index(len(l.entries))
			l.append(l.state.Commit, 1, 1000, 7)
		}
		if _, err := l.log.DropHead(l.state.Commit + 1); err != nil || len(l.segments()) != 1 {
			t.Fatalf("%v, segments left: %v", err, l.segments())
		}
		last := protocol.Index(len(l.entries))
		l.crash()
		l.open()
		if l.last() == last-1 {
			lost++
		}
		if got := l.log.Opened().State; got.Term != 7 || got.Vote != l.state.Vote || l.last() < last-1 {
			t.Fatalf("seed %d: got %+v and %d entries, want %+v and %d", seed, got, l.last(), l.state, last)
		}
	}
	if lost == 0 {
		t.Error("no power cut took the record")
	}
}

// Counterexample 15: what a process finds in the page cache after a kill is on
// the disk before the log is used.
func TestPageCacheIsNotTrustedAfterAKill(t *testing.T) {
	for seed := range uint64(50) {
		l := newLab(t, seed)
		l.append(0, 10, 100, 1)
		l.sync()
		l.append(10, 10, 3000, 1)
		l.kill()
		l.open()
		l.expect(20) // the member may acknowledge this now
		l.crash()
		l.open()
		l.expect(20)
	}
}

// Counterexample 15, second half: a failed sync marks pages clean, so that a
// sync by the next process writes nothing.
func TestPageCacheIsNotTrustedAfterAFailedSync(t *testing.T) {
	for seed := range uint64(50) {
		l := newLab(t, seed)
		l.append(0, 10, 100, 1)
		l.sync()
		l.append(10, 10, 3000, 1)
		l.disk.Fail(vfs.OpSync, 1, nil)
		if err := l.log.Sync(); !errors.Is(err, protocol.ErrDiskFailed) {
			t.Fatal(err)
		}
		l.kill()
		l.open()
		l.expect(20)
		l.crash()
		l.open()
		l.expect(20)
	}
}

// Counterexample 16: pages of unsynced writes land in any order; a good record
// after a bad one does not make the bad one corrupt.
func TestGoodRecordAfterATornOneIsNotDamage(t *testing.T) {
	bad := 0
	for seed := range uint64(200) {
		l := newLab(t, seed)
		l.append(0, 5, 100, 1)
		l.sync()
		for range 4 {
			l.append(protocol.Index(len(l.entries)), 2, 1700, 1)
		}
		l.disk.Crash()
		if n := l.countAfterTorn(); n > 0 {
			bad++
		}
		l.open()
		last := l.last()
		if last < 5 {
			t.Fatalf("seed %d: acknowledged entries are gone: the log ends at %d", seed, last)
		}
		l.expect(last)
	}
	if bad < 10 {
		t.Errorf("only %d of 200 power cuts left a good record after a torn one", bad)
	}
}

func (l *lab) countAfterTorn() int {
	p, err := wal.Inspect(l.disk, labDir, nil)
	l.must(err)
	return p.Torn
}

// Counterexample 16, second half: what a recycled segment held before is not
// taken for records.
func TestRecycledSegmentShowsNothingOld(t *testing.T) {
	l := newLab(t, 3)
	for round := range 20 {
		for range 40 {
			l.state.Commit = protocol.Index(len(l.entries))
			l.append(l.state.Commit, 1, 400, protocol.Term(round+1))
		}
		l.sync()
		_, err := l.log.DropHead(l.state.Commit)
		l.must(err)
		l.crash()
		p, err := wal.Verify(l.disk, labDir)
		l.must(err)
		if p.Corrupt+p.BadHeaders > 0 {
			t.Fatalf("round %d: %d corrupt, %d bad headers", round, p.Corrupt, p.BadHeaders)
		}
		l.open()
		l.expect(protocol.Index(len(l.entries)))
	}
}

// Counterexample 16, to the byte: a record that was dropped as torn, in a
// segment that was recycled, stands just behind the new tail and has the next
// sequence number. Only the nonce tells.
func TestRecycledRecordWithTheNextSequenceNumber(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	l.options.PreallocatedMax = 1
	l.open()
	for i := range protocol.Index(40) {
		l.append(i, 1, 100, 1)
	}
	l.disk.Kill()
	var old []wal.Record
	for _, r := range l.records() {
		if r.Status == wal.StatusGood {
			old = append(old, r)
		}
	}
	l.rot(old[0], false) // torn: all of them are dropped, the segment is recycled
	l.open()
	l.expect(0)
	for i := range protocol.Index(4) {
		l.append(i, 1, 2800, 2)
	}
	before := len(l.segments())
	// The fifth record begins the recycled segment and ends where the sixth of
	// the old ones begins.
	raw := int(old[5].Offset-old[0].Offset) - 104
	e := protocol.Entry{Index: 5, Term: 2, Kind: protocol.EntryCommand, Data: make([]byte, raw)}
	for protocol.EntrySize(&e) > raw {
		e.Data = e.Data[1:]
	}
	l.append(4, 1, len(e.Data), 2)
	l.sync()
	if got := len(l.segments()); got != before+1 || l.disk.Counters().Renames < 4 {
		t.Fatalf("%d segments, %d before", got, before)
	}
	l.crash()
	l.open()
	l.expect(5)
	l.said()
}

// Counterexample 17: how far the log is durable counts records, not entries:
// new entries at old indexes are not covered.
func TestDurableMarkDoesNotCoverRewrittenEntries(t *testing.T) {
	for _, payload := range []bool{false, true} {
		l := newLab(t, 1)
		for i := range protocol.Index(9) {
			l.append(i, 1, 50, 1)
		}
		l.sync()
		l.must(l.log.Settle())
		l.append(4, 1, 50, 2) // truncates
		l.append(5, 1, 50, 2)
		l.disk.Kill()
		l.rot(l.find(5), payload)
		l.open()
		if rec := l.log.Opened(); rec.Damage != nil || rec.LogTerms.LastIndex() != 9 {
			t.Fatalf("payload %v: ends at %d, damage %v", payload, rec.LogTerms.LastIndex(), rec.Damage)
		}
	}
}

// Counterexample 18: the last record of a segment rots; only headers in the next
// segment say that it was durable.
func TestLastRecordOfASegmentRots(t *testing.T) {
	for _, payload := range []bool{false, true} {
		l := newLab(t, 1)
		for len(l.segments()) < 4 {
			l.append(protocol.Index(len(l.entries)), 1, 500, 1)
		}
		l.sync()
		l.must(l.log.Settle())
		l.kill()
		all := l.records()
		k := len(all) - 1
		for all[k].Segment == all[len(all)-1].Segment {
			k--
		}
		l.rot(all[k], payload)
		l.open()
		d := l.log.Opened().Damage
		if d == nil || d.First > all[k].First || d.Last < all[k].Last {
			t.Fatalf("payload %v: record %+v rotted: damage %v", payload, all[k], d)
		}
	}
}

func (l *lab) segments() []string {
	names, err := l.disk.ReadDir(labDir + "/log")
	l.must(err)
	var out []string
	for _, n := range names {
		if filepath.Ext(n) == ".wal" {
			out = append(out, n)
		}
	}
	return out
}

// Counterexample 19: with a flipped bit anywhere in a segment's header, nonce
// included, its records can still be read.
func TestFlippedBitInASegmentHeader(t *testing.T) {
	l := newLab(t, 1)
	l.vote(3, 1)
	l.append(0, 10, 100, 3)
	l.sync()
	l.must(l.log.Settle())
	l.kill()
	segments := l.segments()
	last := filepath.Join(labDir, "log", segments[len(segments)-1])
	before := l.disk.Snapshot(labDir)
	for bit := int64(0); bit < 128*8; bit++ {
		l.must(l.disk.FlipBit(last, bit))
		l.open()
		l.expect(10)
		if got := l.log.Opened().State; got != l.state {
			t.Fatalf("bit %d: got %+v, want %+v", bit, got, l.state)
		}
		l.log.Close()
		l.disk.Rollback(before)
	}
}

// Counterexample 20: a torn tail that was dropped at one opening is not taken
// for corrupt at the next, when later headers say that its number is durable.
func TestTornTailStaysTornAfterASecondPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		l := newLab(t, seed)
		l.append(0, 5, 100, 1)
		l.sync()
		for range 3 {
			l.append(protocol.Index(len(l.entries)), 2, 1700, 1)
		}
		l.crash()
		l.open()
		l.expect(l.last())
		for range 5 {
			l.append(protocol.Index(len(l.entries)), 1, 100, 2)
			l.sync()
		}
		l.must(l.log.Settle())
		l.crash()
		l.open()
		l.expect(protocol.Index(len(l.entries)))
	}
}

// Counterexample 21, the log's part: damage says what repair must reach, keeps
// the record, and serves nothing from it.
func TestDamageSaysWhatRepairMustReach(t *testing.T) {
	for _, payload := range []bool{false, true} {
		t.Run(fmt.Sprintf("payload=%v", payload), func(t *testing.T) {
			l := newLab(t, 1)
			l.vote(2, 5)
			for i := range protocol.Index(10) {
				l.state.Commit = i * 5
				l.append(i*5, 5, 100, 2)
				l.sync()
			}
			l.vote(4, 6)
			l.must(l.log.Settle())
			l.kill()
			r := l.find(23)
			// A record whose kind is not known may have cut the log back to what
			// was committed before it.
			lost := protocol.Index(21)
			if !payload {
				lost = 16
			}
			l.rot(r, payload)
			for range 2 { // it is kept: the second opening finds the same
				l.open()
				rec := l.log.Opened()
				d := rec.Damage
				if d == nil || d.First != lost || d.Last != 25 || d.Reaches != l.entries[24].Sum || d.Sequence != r.Sequence {
					t.Fatalf("damage: %+v", d)
				}
				if rec.State != l.state || rec.LogTerms.LastIndex() != lost-1 || rec.LastSum != l.entries[lost-2].Sum {
					t.Fatalf("recovered %+v, ends at %d", rec.State, rec.LogTerms.LastIndex())
				}
				for i := protocol.Index(1); i <= 50; i++ {
					got, err := l.log.Read(i, i, 0)
					if gone := lost <= i && i <= 25; gone != errors.Is(err, protocol.ErrCorrupt) || (err == nil && got[0].Sum != l.entries[i-1].Sum) {
						t.Fatalf("read %d: %v", i, err)
					}
				}
				if got, err := l.log.Read(15, 50, 1<<20); err != nil || len(got) != int(lost)-15 {
					t.Fatalf("a read up to the damage: %d entries, %v", len(got), err)
				}
				if err := l.log.Sync(); !errors.Is(err, protocol.ErrCorrupt) {
					t.Fatalf("sync of a damaged log: got %v", err)
				}
				l.log.Close()
			}
			if p, err := wal.Verify(l.disk, labDir); !errors.Is(err, protocol.ErrCorrupt) || p.Corrupt != 1 {
				t.Fatalf("verify: %d corrupt, %v", p.Corrupt, err)
			}
		})
	}
}

// A damaged record that replaced entries, and says itself that they are
// committed, must not leave the ones that it replaced to be served.
func TestDamagedReplacementHidesWhatItReplaced(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 6, 100, 1)
	l.sync()
	l.state.Commit = 4
	l.append(6, 1, 100, 1)
	l.state.Commit = 6
	l.append(4, 2, 100, 2) // 5 and 6 again
	l.sync()
	l.must(l.log.Settle())
	l.kill()
	l.rot(l.find(6), true)
	l.open()
	if d := l.log.Opened().Damage; d == nil || d.First != 5 || d.Last != 6 {
		t.Fatalf("damage: %v", d)
	}
	if _, err := l.log.Read(5, 5, 0); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("a replaced entry was served: %v", err)
	}
}

// Corrupt records whose loss changes nothing are no reason to stop: the next
// header proves that the log is whole and the hard state known.
func TestHarmlessDamage(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 5, 100, 1)
	l.vote(2, 1)
	r := l.records()
	l.append(5, 5, 100, 2)
	l.sync()
	l.must(l.log.Settle())
	l.kill()
	l.rot(r[len(r)-1], false)
	p, err := wal.Verify(l.disk, labDir)
	l.must(err)
	if p.Corrupt != 1 || p.Harmless != 1 {
		t.Fatalf("got %d corrupt, %d harmless", p.Corrupt, p.Harmless)
	}
	l.open()
	l.expect(10)
}

// If nothing good is left of the last segment, the hard state is unknown.
func TestLostHardStateIsRefused(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 5, 100, 1)
	l.sync()
	l.kill()
	segments := l.segments()
	name := filepath.Join(labDir, "log", segments[len(segments)-1])
	for at := int64(0); at < 8192; at += 8 {
		l.must(l.disk.FlipBit(name, at*8))
	}
	if _, err := wal.Open(l.disk, labDir, l.options); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("got %v, want ErrCorrupt", err)
	}
}

// A vote that is torn was never acknowledged; the one before it counts.
func TestTornVoteDoesNotCount(t *testing.T) {
	l := newLab(t, 1)
	l.vote(3, 1)
	want := l.state
	l.must(l.log.Write(protocol.Write{State: protocol.HardState{Term: 4}, First: 1}, nil))
	l.disk.Kill()
	r := l.records()
	l.rot(r[len(r)-1], false)
	l.open()
	if got := l.log.Opened().State; got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// Whoever looks at a directory is told that its member is in quarantine.
func TestVerifyTellsOfAQuarantine(t *testing.T) {
	l := newLab(t, 1)
	l.kill()
	for q, want := range map[storage.Quarantine]string{
		{}: "", {At: 7, Until: 9}: "a majority had another state at 7; it serves nobody before it has that, and has applied 9", {At: 1}: "since when cannot be read",
	} {
		l.must(wal.WriteQuarantine(l.disk, labDir, q))
		r, err := wal.Verify(l.disk, labDir)
		if got := strings.Join(r.Notes, "; "); err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%+v: got %q, %v, want %q", q, got, err, want)
		}
	}
}

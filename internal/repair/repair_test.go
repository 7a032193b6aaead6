package repair_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// Damage to every record and every segment header of a small log, one at a time
// and in pairs: repaired from a twin, the log is byte-equal.
func TestEveryDamageIsRepairedFromATwin(t *testing.T) {
	entries := run(nil, 60, 2, 1, 1800)
	m := newMember(t, 1, entries, 48, 4)
	twin := newMember(t, 2, entries, 60, 7).reopen()
	m.log.Close()
	type place struct {
		segment string
		at      int64
	}
	var places []place
	for _, s := range m.segments() {
		places = append(places, place{s, 70})
	}
	for _, r := range m.records() {
		places = append(places, place{r.Segment, r.Offset + 20})
		if r.Bytes > 0 {
			places = append(places, place{r.Segment, r.Offset + 104 + int64(r.Bytes)/2})
		}
	}
	before := m.disk.Snapshot(dir)
	counts := map[string]int{}
	check := func(flips ...place) {
		t.Helper()
		for _, p := range flips {
			m.flip(p.segment, p.at)
		}
		log, err := wal.Open(m.disk, dir, m.options)
		if errors.Is(err, protocol.ErrCorrupt) {
			counts["hard state lost"]++
			m.disk.Rollback(before)
			return
		}
		m.must(err)
		m.log = log
		if rec := log.Opened(); !repair.Needed(m.id, &rec) {
			counts["harmless"]++
			// A record that nothing says was durable may be torn; nothing else.
			if rec.LogTerms.LastIndex() < 60 {
				t.Fatalf("%v: entries are gone: the log ends at %d", flips, rec.LogTerms.LastIndex())
			}
		} else {
			counts["repaired"]++
			n := &network{t: t, members: []*member{m, twin}}
			n.healAll()
		}
		m.holds(entries)
		if got := m.log.Opened().State; got.Term != m.state.Term || got.Vote != m.state.Vote {
			t.Fatalf("%v: got %+v, want %+v", flips, got, m.state)
		}
		m.log.Close()
		m.disk.Rollback(before)
	}
	for i, p := range places {
		check(p)
		for k, q := range places[:i] {
			if testing.Short() && (i+k)%5 > 0 {
				continue
			}
			// Both of the last two records: what tells that one was synced is gone
			// with the other, a double fault that no log can see.
			if i >= len(places)-3 && k >= len(places)-5 {
				continue
			}
			check(p, q)
		}
	}
	t.Logf("%d places: %v", len(places), counts)
	least := 200
	if testing.Short() {
		least = 100
	}
	if counts["repaired"] < least {
		t.Errorf("too few were repaired")
	}
}

// All three members are damaged in different places, uncommitted entries
// included, and none of them runs Raft: they heal one another.
func TestThreeDamagedMembersHealOneAnother(t *testing.T) {
	entries := run(nil, 60, 2, 1, 1800)
	n := &network{t: t}
	for k := range byte(3) {
		m := newMember(t, k+1, entries, 30, 3+int(k))
		m.damage(protocol.Index(10 + 15*k))
		m.damage(protocol.Index(55 - 5*k))
		n.members = append(n.members, m)
	}
	n.healAll()
	for _, m := range n.members {
		m.holds(entries)
	}
}

// Entries that lead from one end to the other are taken from anybody, a passive
// or a damaged member, committed or not.
func TestUncommittedEntriesComeFromAnybody(t *testing.T) {
	entries := run(nil, 40, 2, 1, 500)
	m := newMember(t, 1, entries, 10, 3)
	m.damage(30)
	helper := newMember(t, 2, entries, 12, 5).reopen()
	helper.active = false
	n := &network{t: t, members: []*member{m, helper}}
	n.healAll()
	m.holds(entries)
}

// Entries are refused unless their log sums join at both ends, whoever sends
// them.
func TestEntriesThatDoNotJoinAreRefused(t *testing.T) {
	entries := run(nil, 40, 2, 1, 500)
	other := run(entries[:28], 12, 2, 99, 500)
	for name, alter := range map[string]func(*protocol.Repair){
		"a byte": func(r *protocol.Repair) {
			for i := range r.Entries {
				if r.Entries[i].Index == 30 {
					r.Entries[i].Raw = slices.Clone(other[29].Raw)
				}
			}
		},
		"the sum before": func(r *protocol.Repair) { r.Before[0]++ },
		"an index": func(r *protocol.Repair) {
			for i := range r.Entries {
				r.Entries[i].Index++
			}
		},
		"one is missing": func(r *protocol.Repair) {
			if len(r.Entries) > 2 {
				r.Entries = append(slices.Clone(r.Entries[:1]), r.Entries[2:]...)
			}
		},
		"it goes another way": func(r *protocol.Repair) {
			for i := range r.Entries {
				r.Entries[i] = other[r.Entries[i].Index-1]
			}
		},
	} {
		for _, active := range []bool{false, true} {
			m := newMember(t, 1, entries, 10, 3)
			m.damage(30)
			helper := newMember(t, 2, entries, 12, 5).reopen() // has committed less than that
			helper.active = active
			n := &network{t: t, members: []*member{m, helper}}
			n.alter = func(e protocol.Envelope) protocol.Message {
				if r, ok := e.Message.(*protocol.Repair); ok && n.now < 20*second {
					alter(r)
				}
				return e.Message
			}
			n.start()
			if n.run(20 * second) {
				t.Fatalf("%s, active=%v: a verdict from false entries: %+v", name, active, m.core.Verdict())
			}
			if !n.run(20 * second) { // now they are true
				t.Fatalf("%s, active=%v: no verdict: %+v", name, active, m.core.Verdict())
			}
			m.repair()
			m.holds(entries)
		}
	}
}

// Counterexample 21: what was damaged had never been committed, others have
// committed something else. Only a sound active says so, and only of what it has
// committed.
func TestOnlyASoundActiveReplacesWhatWasDamaged(t *testing.T) {
	common := run(nil, 30, 2, 1, 500)
	ours := run(common, 10, 2, 5, 500)
	theirs := run(common, 15, 3, 6, 500)
	for _, c := range []struct {
		name   string
		active bool
		commit protocol.Index
		ends   protocol.Index // 0: no verdict
	}{
		{"an active that has committed it", true, 45, 33},
		{"a passive", false, 45, 0},
		{"an active that has not committed it", true, 32, 0},
		{"an active that has committed none of it", true, 30, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMember(t, 1, ours, 28, 3)
			m.damage(32) // with 31 and 33
			helper := newMember(t, 2, theirs, c.commit, 5).reopen()
			helper.active = c.active
			n := &network{t: t, members: []*member{m, helper}}
			n.start()
			done := n.run(60 * second)
			if done != (c.ends > 0) {
				t.Fatalf("verdict: %v: %+v", done, m.core.Verdict())
			}
			if done {
				m.repair()
				m.holds(theirs[:c.ends])
			}
		})
	}
}

// The log must not just end below the damage: this member may be one of the two
// that made an entry there committed, so the active's entries are taken.
func TestAcknowledgedEntriesSurviveAReplacement(t *testing.T) {
	theirs := run(nil, 32, 2, 1, 500)
	theirs = run(theirs, 10, 3, 6, 500)
	ours := run(theirs[:32], 8, 2, 5, 500) // 31 and 32 are committed, and damaged with 33
	m := newMember(t, 1, ours, 28, 3)
	m.damage(32)
	n := &network{t: t, members: []*member{m, newMember(t, 2, theirs, 42, 5).reopen()}}
	n.healAll()
	m.holds(theirs[:33])
}

// The log left the committed one before the damage: nothing that others have
// joins there. It goes back to its commit index.
func TestLogThatLeftTheCommittedOneBelowTheDamage(t *testing.T) {
	common := run(nil, 30, 2, 1, 500)
	ours := run(common, 20, 2, 5, 500)
	theirs := run(common, 30, 3, 6, 500)
	m := newMember(t, 1, ours, 28, 3)
	m.damage(41)
	passive := newMember(t, 3, theirs, 60, 5).reopen()
	passive.active = false
	n := &network{t: t, members: []*member{m, passive, newMember(t, 2, theirs, 60, 5).reopen()}}
	n.healAll()
	m.holds(theirs[:39])
}

// A committed entry that is another one than ours at or below our commit index
// is no reason to follow: somebody's disk or memory lies, and nobody knows whose.
func TestForkedCommittedLogIsNotReplaced(t *testing.T) {
	common := run(nil, 30, 2, 1, 500)
	ours := run(common, 20, 2, 5, 500)
	theirs := run(common, 30, 3, 6, 500)
	m := newMember(t, 1, ours, 45, 3)
	m.damage(41)
	n := &network{t: t, members: []*member{m, newMember(t, 2, theirs, 60, 5).reopen()}}
	n.start()
	n.run(60 * second)
	if v := m.core.Verdict(); !errors.Is(v.Lost, protocol.ErrCorrupt) {
		t.Fatalf("got %+v, want Lost", v)
	}
}

// The damaged entries are in nobody's log any more: a checkpoint is asked for.
// What the log holds above it is kept if the sum there is the checkpoint's.
func TestCheckpointTakesThePlaceOfWhatNobodyHolds(t *testing.T) {
	entries := run(nil, 60, 2, 1, 500)
	for _, c := range []struct {
		name   string
		at     protocol.Index // of the checkpoint
		helper protocol.Index // begins after
		wanted protocol.Index
	}{
		{"at the end of the damage", 33, 40, 33},
		{"above the damage", 40, 40, 33},
		{"within the damage, the rest from others", 32, 32, 32},
		{"at the end of the log", 60, 40, 33},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMember(t, 1, entries, 50, 3)
			m.damage(32) // 31 to 33
			helper := newMember(t, 2, entries, 55, 5)
			helper.begins(beginAt(entries, c.helper))
			helper.write(entries[c.helper:], 55)
			helper.reopen()
			n := &network{t: t, members: []*member{m, helper}}
			n.start()
			if n.run(20 * second) {
				t.Fatalf("a verdict out of nothing: %+v", m.core.Verdict())
			}
			if got := m.core.Verdict().Checkpoint; got != c.wanted {
				t.Fatalf("checkpoint wanted: got %d, want %d", got, c.wanted)
			}
			m.core.Checkpoint(n.now, beginAt(entries, c.at))
			if !n.run(20 * second) {
				t.Fatalf("no verdict: %+v", m.core.Verdict())
			}
			m.repair()
			m.holds(entries)
			rec := m.log.Opened()
			if rec.LogTerms.PrevIndex != c.at || rec.LogTerms.PrevSum != entries[c.at-1].Sum {
				t.Fatalf("begins after %d", rec.LogTerms.PrevIndex)
			}
		})
	}
}

// A checkpoint with another sum than ours at its index: what we hold there and
// above was never committed.
func TestCheckpointOfAnotherLogDropsTheSuffix(t *testing.T) {
	common := run(nil, 30, 2, 1, 500)
	ours := run(common, 20, 2, 5, 500)
	theirs := run(common, 30, 3, 6, 500)
	m := newMember(t, 1, ours, 28, 3)
	m.damage(35)
	n := &network{t: t, members: []*member{m}}
	n.start()
	m.core.Checkpoint(n.now, beginAt(theirs, 45))
	if !n.run(20 * second) {
		t.Fatalf("no verdict: %+v", m.core.Verdict())
	}
	m.repair()
	if rec := m.log.Opened(); rec.LogTerms.PrevIndex != 45 || rec.LogTerms.LastIndex() != 45 || rec.LastSum != theirs[44].Sum || rec.State.Commit != 45 {
		t.Fatalf("begins after %d, ends at %d, commit %d", rec.LogTerms.PrevIndex, rec.LogTerms.LastIndex(), rec.State.Commit)
	}
}

// A member's own checkpoint repairs it when nobody else is there, but entries are
// asked for first.
func TestOwnCheckpointIsTheLastResort(t *testing.T) {
	entries := run(nil, 60, 2, 1, 500)
	for _, alone := range []bool{false, true} {
		m := newMember(t, 1, entries, 50, 3)
		m.damage(32)
		m.own = []storage.Begin{beginAt(entries, 40), beginAt(entries, 50)}
		n := &network{t: t, members: []*member{m}}
		if !alone {
			n.members = append(n.members, newMember(t, 2, entries, 55, 5).reopen())
		}
		n.healAll()
		m.holds(entries)
		want := protocol.Index(0)
		if alone {
			want = 40
		}
		if rec := m.log.Opened(); rec.LogTerms.PrevIndex != want {
			t.Fatalf("alone=%v: begins after %d, want %d", alone, rec.LogTerms.PrevIndex, want)
		}
	}
}

// The header of the first segment is damaged, and with it the configuration in
// force where the log begins: its own checkpoint says it.
func TestLogThatForgotWhoIsActive(t *testing.T) {
	entries := run(nil, 60, 2, 1, 500)
	for _, own := range []bool{true, false} {
		m := newMember(t, 1, entries[:20], 20, 3)
		m.begins(beginAt(entries, 40))
		_, err := m.log.DropHead(41)
		m.must(err)
		m.write(entries[40:], 50)
		m.must(m.log.Settle())
		m.log.Close()
		m.flip(m.segments()[0], 70)
		m.open()
		if own {
			m.own = []storage.Begin{beginAt(entries, 50)}
		}
		n := &network{t: t, members: []*member{m}}
		n.start()
		if !own {
			n.run(10 * second)
			if got := m.core.Verdict().Checkpoint; got == 0 || got > 50 {
				t.Fatalf("checkpoint wanted: got %d", got)
			}
			m.core.Checkpoint(n.now, beginAt(entries, 45))
		}
		if !n.run(20 * second) {
			t.Fatalf("no verdict: %+v", m.core.Verdict())
		}
		m.repair()
		m.holds(entries)
	}
}

// head-lost returns a member whose log began after 40, and one that has the same
// entries: all, or those above 40. The first segment of the former has lost its
// header, and the header or the payload of its first record, which is not known to
// be committed: where the log began cannot be read.
func beheaded(t *testing.T, header, all bool) (m, other *member, entries []protocol.Entry) {
	t.Helper()
	entries = run(nil, 60, 2, 1, 300)
	m = newMember(t, 1, entries[:20], 20, 3)
	m.begins(beginAt(entries, 40))
	_, err := m.log.DropHead(41)
	m.must(err)
	for i := 40; i < 60; i += 3 {
		m.write(entries[i:min(60, i+3)], 40)
	}
	m.must(m.log.Settle())
	m.log.Close()
	m.flip(m.segments()[0], 70)
	for _, r := range m.records() {
		if r.Segment == m.records()[0].Segment && r.First <= 43 {
			at := r.Offset + 20
			if !header && r.Bytes > 0 {
				at = r.Offset + 104
			}
			m.flip(r.Segment, at)
		}
	}
	m.open()
	if all {
		return m, newMember(t, 2, entries, 50, 5).reopen(), entries
	}
	other = newMember(t, 2, entries[:20], 20, 3)
	other.begins(beginAt(entries, 40))
	_, err = other.log.DropHead(41)
	other.must(err)
	other.write(entries[40:], 50)
	return m, other.reopen(), entries
}

// From a checkpoint below, entries lead to what is left.
func TestBeginningThatIsNotKnownToBeCommitted(t *testing.T) {
	for _, header := range []bool{true, false} {
		m, other, entries := beheaded(t, header, false)
		n := &network{t: t, members: []*member{m, other}}
		n.start()
		n.run(10 * second)
		if got := m.core.Verdict().Checkpoint; got == 0 || got > 40 {
			t.Fatalf("checkpoint wanted: got %d; %+v", got, m.core.Verdict())
		}
		m.core.Checkpoint(n.now, beginAt(entries, 40))
		if !n.run(20 * second) {
			t.Fatalf("no verdict: %+v", m.core.Verdict())
		}
		m.repair()
		m.holds(entries)
	}
}

// Nobody needs to have a checkpoint where the sound part of a log begins: if its
// beginning is damaged and no own checkpoint reaches what is left, it is repaired
// from its very first entry on. With an own checkpoint up there nobody is asked.
func TestRepairedLogDoesNotBeginAboveAllCheckpoints(t *testing.T) {
	for _, c := range []struct {
		name  string
		own   protocol.Index
		begin protocol.Index
	}{
		{"no checkpoint", 0, 0},
		{"a checkpoint below", 20, 0},
		{"a checkpoint above", 50, 43},
	} {
		m, other, entries := beheaded(t, true, true)
		if c.own > 0 {
			m.own = []storage.Begin{beginAt(entries, c.own)}
		}
		if c.begin > 0 { // a later write says that it is committed, and who is active
			rec := m.log.Opened()
			rec.State.Commit, rec.Damage.Begin.Configuration = 55, beginAt(entries, 50).Configuration
			core := repair.New(0, repair.Config{ID: m.id}, &rec, m.log, m.own)
			if v := core.Verdict(); v.Plan == nil || v.Plan.Begin != nil || rec.Damage.Begin.Index < 40 {
				t.Errorf("%s: got %+v, of a log that begins after %d", c.name, v, rec.Damage.Begin.Index)
			}
			continue
		}
		n := &network{t: t, members: []*member{m, other}}
		n.healAll()
		m.holds(entries)
		if got := m.log.Opened().LogTerms.PrevIndex; got != c.begin || n.wanted > 0 {
			t.Errorf("%s: the log begins after %d, want %d; wanted a checkpoint at %d", c.name, got, c.begin, n.wanted)
		}
	}
}

// A log of which nothing says where it ended is not repaired: the member may have
// acknowledged more than anybody can know.
func TestLogWithoutAnEndIsLost(t *testing.T) {
	entries := run(nil, 20, 2, 1, 300)
	m := newMember(t, 1, entries, 10, 3)
	rec := m.log.Opened()
	rec.Damage = &storage.Damage{First: 11, Last: 20, EndUnknown: true, Good: []storage.Range{{Last: 10, LastSum: entries[9].Sum}}}
	c := repair.New(0, repair.Config{ID: m.id}, &rec, m.log, []storage.Begin{beginAt(entries, 20)})
	if v := c.Verdict(); !errors.Is(v.Lost, protocol.ErrCorrupt) || v.Plan != nil {
		t.Fatalf("got %+v", v)
	}
}

// If the header of a later segment says who is active where the log begins,
// nobody is needed.
func TestLaterSegmentSaysWhoIsActive(t *testing.T) {
	all := run(nil, 200, 2, 1, 900)
	m := newMember(t, 1, all[:20], 20, 3)
	m.begins(beginAt(all, 40))
	_, err := m.log.DropHead(41)
	m.must(err)
	for i := 40; len(m.segments()) < 3; i += 5 {
		m.write(all[i:i+5], protocol.Index(i))
	}
	entries := all[:m.last()]
	m.must(m.log.Settle())
	m.log.Close()
	m.flip(m.segments()[0], 70)
	m.open()
	n := &network{t: t, members: []*member{m}}
	n.healAll()
	m.holds(entries)
	if rec := m.log.Opened(); rec.LogTerms.PrevIndex != 40 {
		t.Fatalf("begins after %d", rec.LogTerms.PrevIndex)
	}
}

// A member that does not answer costs a time-out; one that has nothing, nothing.
func TestSilentMembersArePassedOver(t *testing.T) {
	entries := run(nil, 40, 2, 1, 500)
	m := newMember(t, 1, entries, 10, 3)
	m.damage(30)
	n := &network{t: t, members: []*member{m}}
	for k := range byte(6) {
		n.members = append(n.members, newMember(t, k+2, entries, 12, 5).reopen())
	}
	n.alter = func(e protocol.Envelope) protocol.Message {
		if e.To[0] < 7 && e.From == m.id {
			return nil
		}
		return e.Message
	}
	n.healAll()
	m.holds(entries)
	if n.now > 4*second {
		t.Fatalf("it took %d ns", n.now)
	}
}

// Answers stay within what an append may carry, and begin where they should.
func TestAnswerIsBounded(t *testing.T) {
	entries := run(nil, 50, 2, 1, 100<<10)
	helper := newMember(t, 2, entries, 50, 1).reopen()
	held := repair.Held{Last: 50, Commit: 40, Active: true}
	a := repair.Answer(helper.log, held, &protocol.RepairWant{First: 10, Last: 50})
	if size := protocol.RawSize(a.Entries); size > protocol.AppendBytesMax || len(a.Entries) < 5 || a.Entries[0].Index != 10 ||
		a.Before != entries[8].Sum || a.Commit != 40 || !a.Active || a.First != 1 {
		t.Fatalf("%d entries, %d bytes, %+v", len(a.Entries), size, a.Before)
	}
	for _, want := range []*protocol.RepairWant{{First: 51, Last: 60}, {First: 5, Last: 4}, {}} {
		if a := repair.Answer(helper.log, held, want); len(a.Entries) != 0 {
			t.Errorf("%+v: got %d entries", want, len(a.Entries))
		}
	}
	if a := repair.Answer(helper.log, held, &protocol.RepairWant{First: 0, Last: 3}); len(a.Entries) != 3 || a.Before != (protocol.LogSum{}) {
		t.Errorf("from the beginning: %d entries, %v", len(a.Entries), a.Before)
	}
}

// More than fits into memory is not fetched: a checkpoint is wanted.
func TestPatchesAreBounded(t *testing.T) {
	entries := run(nil, 60, 2, 1, 2000)
	m := newMember(t, 1, entries, 55, 20)
	m.damage(30)
	helper := newMember(t, 2, entries, 55, 5).reopen()
	rec := m.log.Opened()
	m.core = repair.New(0, repair.Config{ID: m.id, PatchBytesMax: 4000}, &rec, m.log, nil)
	n := &network{t: t, members: []*member{m, helper}}
	n.alter = func(e protocol.Envelope) protocol.Message {
		if r, ok := e.Message.(*protocol.Repair); ok {
			r.Entries = r.Entries[:min(len(r.Entries), 2)]
		}
		return e.Message
	}
	m.core.SetPeers(0, n.peers())
	if n.run(20*second) || m.core.Verdict().Checkpoint == 0 {
		t.Fatalf("got %+v", m.core.Verdict())
	}
	m.core.Checkpoint(n.now, beginAt(entries, 45))
	if !n.run(20 * second) {
		t.Fatalf("got %+v", m.core.Verdict())
	}
	m.repair()
	m.holds(entries)
}

// [S] A log that has left the committed one takes an active's entries up to what that one
// knows to be committed, and no further: another one has entries there that nobody has
// committed, and this member would hold them in place of what it may have acknowledged.
func TestLogThatLeftTheCommittedOneTakesNothingUncommitted(t *testing.T) {
	common := run(nil, 20, 2, 1, 500)
	ours := run(common, 30, 2, 5, 500)
	theirs := run(common, 40, 3, 6, 500)
	stale := run(theirs[:25:25], 20, 3, 9, 500)
	m := newMember(t, 1, ours, 20, 3)
	m.damage(35)
	knows, behind := newMember(t, 2, theirs, 40, 5).reopen(), newMember(t, 3, stale, 25, 5).reopen()
	answers := 1 // of the one that knows: enough to say that the logs differ
	n := &network{t: t, members: []*member{m, knows, behind}}
	n.alter = func(e protocol.Envelope) protocol.Message {
		if _, ok := e.Message.(*protocol.Repair); ok && e.From == knows.id {
			if answers--; answers < 0 {
				return nil
			}
		}
		return e.Message
	}
	n.start()
	if n.run(10 * second) {
		t.Fatalf("a plan of what nobody has committed: %+v", m.core.Verdict())
	}
	if answers >= 0 {
		t.Fatal("nobody said that the logs differ: the test tests nothing")
	}
	n.alter = nil
	if !n.run(60 * second) {
		t.Fatalf("no verdict: %+v", m.core.Verdict())
	}
	m.repair()
	rec := m.log.Opened()
	m.holds(theirs[:rec.LogTerms.LastIndex()])
}

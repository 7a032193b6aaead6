package passive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

var (
	me     = protocol.MemberID{1}
	leader = protocol.MemberID{2}
	other  = protocol.MemberID{3}
)

// history returns entries 1..n with sums; entry i has term terms[i-1], or the
// last of terms.
func history(n int, terms ...protocol.Term) []protocol.Entry {
	entries := make([]protocol.Entry, n)
	for i := range entries {
		t := protocol.Term(1)
		if len(terms) > 0 {
			t = terms[min(i, len(terms)-1)]
		}
		entries[i] = protocol.Entry{
			Index: protocol.Index(i + 1), Term: t, Time: protocol.ClusterTime(10 * (i + 1)),
			Kind: protocol.EntryCommand, Data: fmt.Appendf(nil, "command %d of term %d", i+1, t),
		}
	}
	seal(entries)
	return entries
}

func seal(entries []protocol.Entry) {
	protocol.EncodeEntries(entries)
	protocol.SumEntries(protocol.LogSum{}, entries)
}

// run cuts first..last out of a history.
func run(h []protocol.Entry, first, last, commit protocol.Index) Run {
	r := Run{From: other, Origin: leader, Commit: commit}
	if first > 1 {
		r.Before = h[first-2].Sum
	}
	for _, e := range h[first-1 : last] {
		e.Sum = protocol.LogSum{}
		r.Entries = append(r.Entries, e)
	}
	return r
}

func fresh() *Member { return New(0, Config{ID: me}, Start{}) }

// holding returns a member that took a history and persisted it.
func holding(t *testing.T, h []protocol.Entry) *Member {
	t.Helper()
	m := fresh()
	if len(h) == 0 {
		return m
	}
	last := h[len(h)-1].Index
	if got := m.Take(0, run(h, 1, last, last)); got != Taken {
		t.Fatalf("got %s, want taken", got)
	}
	m.Persisted(0, m.Ready().Write.ID)
	return m
}

func appendOf(h []protocol.Entry, term protocol.Term, prev, last, commit protocol.Index) *protocol.Append {
	a := &protocol.Append{Term: term, PrevIndex: prev, Commit: commit, Last: last}
	if prev > 0 {
		a.PrevTerm = h[prev-1].Term
	}
	a.Entries = append(a.Entries, h[prev:last]...)
	return a
}

func check(t *testing.T, m *Member) {
	t.Helper()
	if got, want := m.HardState().Commit, m.LogTerms().LastIndex(); got != want {
		t.Errorf("commit %d, last %d: want them equal", got, want)
	}
	if m.HardState().Term < m.LogTerms().LastTerm() {
		t.Errorf("term %d below the last entry's, %d", m.HardState().Term, m.LogTerms().LastTerm())
	}
}

func TestVerdicts(t *testing.T) {
	h := history(20, 1, 1, 1, 2)
	forged := history(20, 1, 1, 1, 2)
	forged[6].Data = []byte("something else")
	seal(forged)
	with := func(change func(*Run)) Run {
		r := run(h, 11, 15, 20)
		change(&r)
		return r
	}
	cases := []struct {
		name string
		run  Run
		want Verdict
		last protocol.Index
	}{
		{"joins", run(h, 11, 15, 20), Taken, 15},
		{"overlaps", run(h, 5, 15, 20), Taken, 15},
		{"from the beginning", run(h, 1, 11, 20), Taken, 11},
		{"held", run(h, 3, 10, 20), Old, 10},
		{"leaves a gap", run(h, 12, 15, 20), Gap, 10},
		{"cut at commit", run(h, 11, 15, 13), Taken, 13},
		{"nothing committed", run(h, 11, 15, 10), Old, 10},
		{"commit below the run", run(h, 11, 15, 2), Old, 10},
		{"wrong sum", with(func(r *Run) { r.Before[0]++ }), Mismatch, 10},
		{"other history in the overlap", run(forged, 7, 15, 20), Mismatch, 10},
		{"other history below", run(forged, 11, 15, 20), Mismatch, 10},
		{"empty", with(func(r *Run) { r.Entries = nil }), Mismatch, 10},
		{"hole", with(func(r *Run) { r.Entries[2].Index = 14 }), Mismatch, 10},
		{"index zero", with(func(r *Run) { r.Entries[0].Index = 0 }), Mismatch, 10},
		{"index wraps", with(func(r *Run) {
			r.Entries = r.Entries[:2]
			r.Entries[0].Index, r.Entries[1].Index = ^protocol.Index(0), 0
		}), Mismatch, 10},
		{"term falls", with(func(r *Run) { r.Entries[3].Term = 1 }), Mismatch, 10},
		{"term that no voters followed to", with(func(r *Run) {
			for i := range r.Entries {
				r.Entries[i].Term = 3 + 1<<32
			}
		}), Mismatch, 10},
		{"term below the log's", with(func(r *Run) {
			for i := range r.Entries {
				r.Entries[i].Term = 1
			}
		}), Mismatch, 10},
		{"unknown kind", with(func(r *Run) { r.Entries[1].Kind = 99 }), Mismatch, 10},
		{"bad configuration", with(func(r *Run) { r.Entries[1].Kind = protocol.EntryConfiguration }), Mismatch, 10},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := holding(t, h[:10])
			if got := m.Take(0, c.run); got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
			if got := m.LogTerms().LastIndex(); got != c.last {
				t.Errorf("got last %d, want %d", got, c.last)
			}
			if got, want := m.lastSum, h[c.last-1].Sum; got != want {
				t.Errorf("got sum %s, want %s", got, want)
			}
			if got, want := m.LastTime(), h[c.last-1].Time; got != want {
				t.Errorf("got time %d, want %d", got, want)
			}
			rd := m.Ready()
			if got, want := len(rd.Delta.Entries), int(c.last-10); got != want {
				t.Fatalf("got %d entries, want %d", got, want)
			}
			for i, e := range rd.Delta.Entries {
				if want := h[10+i]; e.Index != want.Index || e.Sum != want.Sum {
					t.Errorf("got %v sum %s, want %v sum %s", e, e.Sum, want, want.Sum)
				}
			}
			check(t, m)
		})
	}
}

// [S] A passive's log holds committed entries only: else it would have to roll
// back, and promotion could not start Raft over its log.
func TestPassiveNeverHoldsAboveCommit(t *testing.T) {
	h := history(20)
	m := holding(t, h[:5])
	m.Step(0, leader, appendOf(h, 1, 5, 20, 9))
	if got := m.LogTerms().LastIndex(); got != 9 {
		t.Errorf("after an append with commit 9: got last %d, want 9", got)
	}
	m.Step(0, leader, appendOf(h, 1, 9, 20, 9))
	m.Step(0, leader, appendOf(h, 1, 9, 20, 3))
	if got := m.Take(0, run(h, 10, 20, 9)); got != Old {
		t.Errorf("got %s for a run above its own commit, want old", got)
	}
	rd := m.Ready()
	if rd.Commit != 9 || rd.Write.Last != 9 || rd.Write.State.Commit != 9 {
		t.Errorf("got commit %d, write to %d with commit %d, want 9", rd.Commit, rd.Write.Last, rd.Write.State.Commit)
	}
	check(t, m)
}

// [S] A restart knows the commit index as a lower bound only: a passive drops
// what lies above it.
func TestRestartDropsWhatMayNotBeCommitted(t *testing.T) {
	h := history(10, 1, 1, 1, 1, 1, 1, 1, 2)
	var logTerms protocol.LogTerms
	for _, e := range h {
		logTerms.Append(e.Term)
	}
	confs := protocol.NewConfigurations(protocol.ConfigurationAt{Index: 1}, protocol.ConfigurationAt{Index: 9})
	m := New(0, Config{ID: me}, Start{
		State: protocol.HardState{Term: 2, Vote: leader, Commit: 6}, LogTerms: logTerms, Configurations: confs, LastSum: h[5].Sum,
	})
	rd := m.Ready()
	if !rd.Delta.Truncate || rd.Delta.After != 6 {
		t.Errorf("got delta %+v, want a truncation after 6", rd.Delta)
	}
	if w := rd.Write; w == nil || !w.Truncate || w.After != 6 || !w.Empty() || w.State.Term != 2 || w.State.Vote != leader {
		t.Fatalf("got write %+v, want an empty one that truncates after 6 and keeps term and vote", w)
	}
	if at, _ := m.Configurations().Latest(); at.Index != 1 {
		t.Errorf("got configuration of index %d, want 1", at.Index)
	}
	if got := m.Take(0, run(h, 5, 10, 10)); got != Taken {
		t.Errorf("got %s, want taken", got)
	}
	check(t, m)
	if got := logTerms.LastIndex(); got != 10 {
		t.Errorf("the owner's shape was changed: last %d", got)
	}
}

// [S] A passive never votes, and says nothing that counts for a quorum.
func TestPassiveNeverVotes(t *testing.T) {
	m := holding(t, history(5))
	m.Ready()
	for _, msg := range []protocol.Message{
		&protocol.Vote{Term: 9, LastIndex: 100, LastTerm: 8},
		&protocol.Vote{Term: 10, Pre: true, LastIndex: 100, LastTerm: 8},
		&protocol.Vote{Term: 11, Transfer: true, LastIndex: 100, LastTerm: 8},
		&protocol.TimeoutNow{Term: 11},
		&protocol.VoteAnswer{Term: 11, Granted: true},
		&protocol.HeartbeatAnswer{Term: 11},
		&protocol.ReadIndex{Origin: leader, Request: 1},
	} {
		m.Step(0, other, msg)
	}
	if rd := m.Ready(); len(rd.Messages) != 0 {
		t.Errorf("got answers %v, want none", rd.Messages)
	}
	m.Step(0, leader, &protocol.Heartbeat{Term: 11, Commit: 5, Round: 7})
	for _, e := range m.Ready().Messages {
		if a, ok := e.Message.(*protocol.AppendAnswer); !ok || !a.Passive {
			t.Errorf("got %T %+v in answer to a heartbeat, want a passive's last index", e.Message, e.Message)
		}
	}
	if got := m.HardState(); got.Term != 1 || !got.Vote.IsZero() {
		t.Errorf("got %+v, want term 1 and no vote", got)
	}
}

// [S] Any entry taken raises the term to at least its own: a promotion must not
// start with an old hard state. Nothing else does: whoever sends a message may
// make its term up, and the passive would bring that to the actives.
func TestTermIsRaised(t *testing.T) {
	h := history(6, 1, 1, 1, 4)
	cases := []struct {
		name string
		do   func(m *Member)
		want protocol.Term
	}{
		{"run", func(m *Member) { m.Take(0, run(h, 4, 5, 6)) }, 4},
		{"append", func(m *Member) { m.Step(0, leader, appendOf(h, 6, 3, 3, 3)) }, 3},
		{"append with an entry", func(m *Member) { m.Step(0, leader, appendOf(h, 6, 3, 4, 4)) }, 4},
		{"heartbeat", func(m *Member) { m.Step(0, leader, &protocol.Heartbeat{Term: 1<<64 - 1}) }, 3},
		{"vote", func(m *Member) { m.Step(0, leader, &protocol.Vote{Term: 1<<64 - 1}) }, 3},
		{"checkpoint", func(m *Member) { m.Step(0, leader, &protocol.InstallCheckpoint{Term: 1<<64 - 1}) }, 3},
		{"pre-vote", func(m *Member) { m.Step(0, leader, &protocol.Vote{Term: 9, Pre: true}) }, 3},
		{"old append", func(m *Member) { m.Step(0, leader, appendOf(h, 2, 3, 3, 3)) }, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var logTerms protocol.LogTerms
			for range 3 {
				logTerms.Append(1)
			}
			m := New(0, Config{ID: me}, Start{State: protocol.HardState{Term: 3, Vote: other, Commit: 3}, LogTerms: logTerms, LastSum: h[2].Sum})
			c.do(m)
			got := m.HardState()
			if got.Term != c.want {
				t.Errorf("got term %d, want %d", got.Term, c.want)
			}
			if kept := got.Vote == other; kept != (c.want == 3) {
				t.Errorf("got vote %s in term %d: a vote belongs to its term", got.Vote.Short(), got.Term)
			}
			if rd := m.Ready(); c.want > 3 && (rd.Write == nil || rd.Write.State.Term != c.want) {
				t.Errorf("got write %+v, want one with term %d", rd.Write, c.want)
			}
			check(t, m)
		})
	}
}

// [S] A passive's last index is not durable (counterexample 6): its answers say so,
// and its writes ask for no sync.
func TestTipIsNotDurable(t *testing.T) {
	h := history(10)
	m := holding(t, h[:4])
	m.Step(0, leader, appendOf(h, 1, 4, 10, 10))
	rd := m.Ready()
	if len(rd.Messages) != 1 {
		t.Fatalf("got %d messages, want 1", len(rd.Messages))
	}
	a, ok := rd.Messages[0].Message.(*protocol.AppendAnswer)
	if !ok || !a.Passive || a.Reject || a.Index != 10 || rd.Messages[0].To != leader {
		t.Errorf("got %+v, want a passive's answer with last index 10", rd.Messages[0])
	}
	if rd.Write.Sync || rd.Write.SyncAll {
		t.Errorf("got %+v, want a write that is not synced", rd.Write)
	}
}

func TestAppendIsTakenAsFrame(t *testing.T) {
	h := history(20, 1, 1, 1, 2)
	forged := history(20, 1, 1, 1, 1, 1, 1, 1, 1, 3)
	cases := []struct {
		name string
		msg  *protocol.Append
		tip  protocol.Index
		term protocol.Term
	}{
		{"joins", appendOf(h, 2, 10, 15, 15), 15, 2},
		{"overlaps", appendOf(h, 2, 6, 15, 15), 15, 2},
		{"nothing new", appendOf(h, 2, 6, 10, 15), 10, 2},
		{"empty", appendOf(h, 2, 10, 10, 15), 10, 2},
		{"gap", appendOf(h, 2, 12, 15, 15), 10, 2},
		{"deposed leader", appendOf(h, 1, 10, 15, 15), 10, 2},
		{"other term before", appendOf(forged, 3, 9, 15, 15), 10, 3},
		{"other term at the last index", appendOf(forged, 3, 10, 15, 15), 10, 3},
		{"other term in the overlap", appendOf(forged, 3, 2, 15, 15), 10, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := holding(t, h[:10])
			m.Step(0, leader, c.msg)
			rd := m.Ready()
			a := rd.Messages[0].Message.(*protocol.AppendAnswer)
			want := protocol.AppendAnswer{Term: c.term, Passive: true, Index: c.tip}
			if *a != want {
				t.Errorf("got %+v, want %+v", *a, want)
			}
			if got := m.lastSum; got != h[c.tip-1].Sum {
				t.Errorf("got sum %s, want %s", got, h[c.tip-1].Sum)
			}
			check(t, m)
		})
	}
}

func TestOneWriteInFlight(t *testing.T) {
	h := history(12)
	m := fresh()
	m.Take(0, run(h, 1, 4, 12))
	first := m.Ready()
	if w := first.Write; w == nil || w.ID != 1 || w.First != 1 || w.Last != 4 || w.State.Commit != 4 {
		t.Fatalf("got %+v, want write 1 of 1..4", first.Write)
	}
	m.Take(0, run(h, 5, 8, 12))
	m.Take(0, run(h, 9, 12, 12))
	if rd := m.Ready(); rd.Write != nil || len(rd.Delta.Entries) != 8 || rd.Commit != 12 {
		t.Fatalf("got %+v while a write is in flight, want the entries and no write", rd)
	}
	if m.HasReady() {
		t.Error("got something ready, want nothing")
	}
	m.Persisted(0, 1)
	if !m.HasReady() {
		t.Fatal("got nothing ready, want the next write")
	}
	if w := m.Ready().Write; w == nil || w.ID != 2 || w.First != 5 || w.Last != 12 || w.State.Commit != 12 {
		t.Errorf("got %+v, want write 2 of 5..12", w)
	}
	if got := &m.logTerms; m.written != 12 || got.LastIndex() != 12 || got.FirstIndex() != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestSlowDiskBoundsMemory(t *testing.T) {
	const each = 1 << 20
	h := make([]protocol.Entry, 20)
	for i := range h {
		h[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, each)}
	}
	seal(h)
	m := fresh()
	m.Take(0, run(h, 1, 1, 20))
	id := m.Ready().Write.ID
	var i protocol.Index
	for i = 2; i <= 20; i++ {
		if v := m.Take(0, run(h, i, i, 20)); v == Full {
			break
		}
	}
	if want := protocol.Index(UnwrittenBytesMax / each); i != want {
		t.Errorf("got full at %d, want %d", i, want)
	}
	m.Ready()
	m.Persisted(0, id)
	for m.HasReady() {
		m.Persisted(0, m.Ready().Write.ID)
	}
	if got := m.Take(0, run(h, i, 20, 20)); got != Taken {
		t.Errorf("got %s after the writes, want taken", got)
	}
}

// What gathers while a write is in flight is written in pieces: who reads an entry back
// reads all that were written with it. Each piece says that the log is committed as far
// as it goes, and no further: the disk would be missing what was committed.
func TestWhatGatheredIsWrittenInPieces(t *testing.T) {
	h := make([]protocol.Entry, 40)
	for i := range h {
		bytes := 50_000
		if i == 20 {
			bytes = 2 * writeBytesMax
		}
		h[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, bytes)}
	}
	seal(h)
	m := fresh()
	m.Take(0, run(h, 1, 1, 40))
	w := m.Ready().Write
	m.Take(0, run(h, 2, 10, 40))
	m.Take(0, run(h, 11, 40, 40))
	var sizes []int
	for written := protocol.Index(0); w != nil; w = m.Ready().Write {
		if w.First != written+1 || w.State.Commit != w.Last {
			t.Fatalf("got write %+v after %d", w, written)
		}
		sizes = append(sizes, int(w.Last-written))
		if n := protocol.RawSize(h[written:w.Last]); n > writeBytesMax && w.Last > w.First {
			t.Errorf("entries %d to %d have %d bytes, want %d at most", w.First, w.Last, n, writeBytesMax)
		}
		written = w.Last
		m.Persisted(0, w.ID)
	}
	if want := []int{1, 5, 5, 5, 4, 1, 5, 5, 5, 4}; !slices.Equal(sizes, want) {
		t.Errorf("got writes of %d entries, want %d", sizes, want)
	}
	if m.unwritten != 0 || m.written != 40 {
		t.Errorf("%d bytes wait, written to %d; want none and 40", m.unwritten, m.written)
	}
}

func TestConfigurationsAreTracked(t *testing.T) {
	h := history(3)
	c := protocol.Configuration{Target: 3}.With(protocol.ActiveMember{ID: leader, Suffrage: protocol.SuffrageVoter})
	d := c.With(protocol.ActiveMember{ID: me, Suffrage: protocol.SuffrageLearner})
	h[0].Kind, h[0].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c)
	h[2].Kind, h[2].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(d)
	seal(h)
	m := fresh()
	role := func() protocol.Role {
		return m.Configurations().RoleOf(me, m.HardState().Commit, m.LogTerms().Empty())
	}
	m.Take(0, run(h, 1, 2, 3))
	if got := role(); got != protocol.RolePassive {
		t.Errorf("got %s, want passive", got)
	}
	m.Take(0, run(h, 3, 3, 3))
	if got := role(); got != protocol.RoleActive {
		t.Errorf("got %s after the entry that names this member, want active", got)
	}
	if at, ok := m.Configurations().Latest(); !ok || at.Index != 3 || !at.Configuration.Equal(d) {
		t.Errorf("got %+v, want the configuration of index 3", at)
	}
}

func TestDropHead(t *testing.T) {
	h := history(10)
	m := holding(t, h[:8])
	m.DropHead(5, h[4].Sum)
	if got := m.LogTerms().FirstIndex(); got != 6 {
		t.Errorf("got first %d, want 6", got)
	}
	m.Step(0, leader, appendOf(h, 1, 2, 10, 10))
	if got := m.Take(0, run(h, 3, 10, 10)); got != Old {
		t.Errorf("got %s, want old: the append brought all", got)
	}
	if got := m.lastSum; got != h[9].Sum {
		t.Errorf("got sum %s, want %s", got, h[9].Sum)
	}
}

// Whatever pieces come in whatever order, the log is a prefix of the committed
// one, writes follow one another, and what is written is what was handed out.
func TestRandomPieces(t *testing.T) {
	const n = 200
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		terms := make([]protocol.Term, n)
		term := protocol.Term(1)
		for i := range terms {
			if rng.IntN(20) == 0 {
				term++
			}
			terms[i] = term
		}
		h := history(n, terms...)
		m := fresh()
		var held, written protocol.Index
		var inFlight *protocol.Write
		for step := 0; held < n || inFlight != nil; step++ {
			if step > 100_000 {
				t.Fatalf("seed %d: stuck at %d", seed, held)
			}
			first := protocol.Index(1 + max(0, int(held)-10+rng.IntN(25)))
			last := min(first+protocol.Index(rng.IntN(12)), n)
			if first <= n {
				commit := protocol.Index(rng.IntN(n + 1))
				if rng.IntN(2) == 0 {
					m.Take(0, run(h, first, last, commit))
				} else {
					m.Step(0, leader, appendOf(h, term, first-1, last, commit))
				}
			}
			if inFlight != nil && rng.IntN(3) == 0 {
				m.Persisted(0, inFlight.ID)
				written, inFlight = inFlight.Last, nil
			}
			rd := m.Ready()
			for _, e := range rd.Delta.Entries {
				if e.Index != held+1 || e.Sum != h[held].Sum {
					t.Fatalf("seed %d: got %v after %d", seed, e, held)
				}
				held++
			}
			if w := rd.Write; w != nil {
				if inFlight != nil || w.First != written+1 || w.Last != held || w.State.Commit != held {
					t.Fatalf("seed %d: got write %+v, written %d, held %d", seed, w, written, held)
				}
				inFlight = w
			}
			check(t, m)
		}
	}
}

// [S] Where runs are signed, nothing else is believed: a message that claims to
// be a leader's brings no entries, no term and no checkpoint. It is answered in
// its own term, so that a true leader learns where the log ends.
func TestRaftsMessagesBringNothingWhereRunsAreSigned(t *testing.T) {
	h := history(10, 3)
	m := New(0, Config{ID: me, Signed: true}, Start{})
	if v := m.Take(0, run(h, 1, 4, 4)); v != Taken {
		t.Fatalf("a run: got %v", v)
	}
	m.Ready()
	before := m.HardState()
	for _, msg := range []protocol.Message{
		appendOf(h, 9, 4, 8, 8), &protocol.Heartbeat{Term: 9}, &protocol.InstallCheckpoint{Term: 9, Manifest: []byte("state")},
	} {
		m.Step(0, leader, msg)
		rd := m.Ready()
		if m.HardState() != before || !rd.Delta.IsZero() || rd.Checkpoint != nil || rd.Write != nil {
			t.Errorf("%s: got %+v, %+v", msg.Kind(), m.HardState(), rd)
		}
		if len(rd.Messages) != 1 {
			t.Fatalf("%s: got %d answers", msg.Kind(), len(rd.Messages))
		}
		want := protocol.AppendAnswer{Term: 9, Passive: true, Index: 4}
		if got := *rd.Messages[0].Message.(*protocol.AppendAnswer); got != want {
			t.Errorf("%s: got %+v, want %+v", msg.Kind(), got, want)
		}
	}
	m.Step(0, leader, &protocol.Vote{Term: 9})
	if m.HasReady() || m.HardState() != before {
		t.Errorf("a vote: got %+v", m.Ready())
	}
}

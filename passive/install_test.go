package passive

import (
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// checkpointAt is what an owner says after it has installed the state of a
// history at an index, under a configuration.
func checkpointAt(h []protocol.Entry, at protocol.Index, c protocol.ConfigurationAt) protocol.Begin {
	e := h[at-1]
	return protocol.Begin{Index: at, Term: e.Term, Sum: e.Sum, Configuration: c, Time: e.Time}
}

func TestOfferIsHandedToTheOwnerAndAnsweredWithTheTip(t *testing.T) {
	h := history(10)
	m := holding(t, h)
	m.Step(0, leader, &protocol.InstallCheckpoint{Term: 4, Manifest: []byte("what")})
	if !m.HasReady() {
		t.Fatal("got nothing, want an offer")
	}
	rd := m.Ready()
	if o := rd.Checkpoint; o == nil || o.From != leader || string(o.Manifest) != "what" {
		t.Fatalf("got offer %+v", o)
	}
	if got, want := *rd.Messages[0].Message.(*protocol.AppendAnswer), (protocol.AppendAnswer{Term: 4, Passive: true, Index: 10}); got != want {
		t.Errorf("got answer %+v, want %+v", got, want)
	}
	m = New(0, Config{ID: me}, Start{State: protocol.HardState{Term: 4}})
	m.Step(0, other, &protocol.InstallCheckpoint{Term: 3})
	rd = m.Ready()
	if rd.Checkpoint != nil {
		t.Error("the offer of a deposed leader was handed out")
	}
	if got := rd.Messages[0].Message.(*protocol.AppendAnswer).Term; got != 4 {
		t.Errorf("the deposed leader was told of term %d, want 4", got)
	}
}

// [S] A gap between checkpoint and first entry: after an install the log goes on
// exactly where the checkpoint ends.
func TestInstallAboveTheEndBeginsTheLogAnew(t *testing.T) {
	h := history(30, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 5)
	m := holding(t, h[:10])
	at := protocol.ConfigurationAt{Index: 14, Configuration: protocol.Configuration{Target: 3}}
	m.Install(0, checkpointAt(h, 20, at))
	rd := m.Ready()
	if !rd.Delta.IsZero() || rd.Commit != 20 {
		t.Errorf("got delta %+v and commit %d, want none and 20", rd.Delta, rd.Commit)
	}
	// [S] Counterexample 3, by a checkpoint: the term rises to the entry's.
	if got := m.HardState().Term; got != 5 {
		t.Errorf("got term %d, want 5", got)
	}
	if w := rd.Write; w == nil || w.Truncate || !w.Empty() || w.State.Term != 5 {
		t.Fatalf("got write %+v, want the term and no entries", w)
	}
	m.Persisted(0, rd.Write.ID)
	if got := m.lastSum; got != h[19].Sum {
		t.Errorf("got sum %s, want %s", got, h[19].Sum)
	}
	if got := m.LastTime(); got != h[19].Time {
		t.Errorf("got time %d, want %d", got, h[19].Time)
	}
	if got := m.Configurations().All(); len(got) != 1 || got[0].Index != 14 {
		t.Errorf("got configurations %v, want that of the checkpoint", got)
	}
	if s := m.LogTerms(); s.PrevIndex != 20 || s.PrevTerm != 5 || s.PrevSum != h[19].Sum {
		t.Errorf("got a log after %d@%d", s.PrevIndex, s.PrevTerm)
	}
	if got := m.Take(0, run(h, 22, 30, 30)); got != Gap {
		t.Errorf("a run that leaves a gap: got %s", got)
	}
	if got := m.Take(0, run(h, 15, 30, 30)); got != Taken {
		t.Errorf("a run that begins below and joins: got %s, want taken", got)
	}
	check(t, m)
	if rd := m.Ready(); rd.Write.First != 21 || rd.Write.Truncate {
		t.Errorf("got write %+v, want one from 21 on", rd.Write)
	}
}

// An install that the log has superseded changes nothing, and one from below the
// log's beginning (counterexample 24) resets nothing.
func TestInstallWithinTheLogKeepsIt(t *testing.T) {
	h := history(20)
	for at := protocol.Index(1); at <= 20; at++ {
		m := holding(t, h)
		m.DropHead(8, h[7].Sum)
		before := m.LogTerms().Clone()
		m.Install(0, checkpointAt(h, at, protocol.ConfigurationAt{Index: 1}))
		after := m.LogTerms()
		if after.PrevIndex != before.PrevIndex || after.LastIndex() != 20 || m.lastSum != h[19].Sum || m.LastTime() != h[19].Time {
			t.Errorf("install at %d: the log is %d..%d, want %d..20", at, after.FirstIndex(), after.LastIndex(), before.FirstIndex())
		}
		if rd := m.Ready(); rd.Write != nil || !rd.Delta.IsZero() {
			t.Errorf("install at %d: got write %+v, delta %+v", at, rd.Write, rd.Delta)
		}
		check(t, m)
	}
}

// The configuration of a member is that of its checkpoint plus the entries above
// it: one whose log did not know it learns it.
func TestInstallTellsTheConfigurationThatTheLogDidNotKnow(t *testing.T) {
	h := history(20)
	var logTerms protocol.LogTerms
	logTerms.PrevIndex, logTerms.PrevTerm, logTerms.PrevSum = 10, 1, h[9].Sum
	for range 10 {
		logTerms.Append(1)
	}
	above := protocol.ConfigurationAt{Index: 15, Configuration: protocol.Configuration{Target: 5}}
	m := New(0, Config{ID: me}, Start{
		State: protocol.HardState{Term: 1, Commit: 20}, LogTerms: logTerms,
		Configurations: protocol.NewConfigurations(above), LastSum: h[19].Sum,
	})
	below := protocol.ConfigurationAt{Index: 7, Configuration: protocol.Configuration{Target: 3}}
	m.Install(0, checkpointAt(h, 12, below))
	if got := m.Configurations().All(); len(got) != 2 || got[0].Index != 7 || got[1].Index != 15 {
		t.Errorf("got %v, want those of 7 and 15", got)
	}
	m.Install(0, checkpointAt(h, 12, below))
	if got := len(m.Configurations().All()); got != 2 {
		t.Errorf("after the same again: got %d configurations, want 2", got)
	}
}

func TestInstallOfAnotherHistoryStopsTheMember(t *testing.T) {
	m := holding(t, history(10))
	m.Ready()
	m.Install(0, checkpointAt(history(10, 2), 8, protocol.ConfigurationAt{}))
	if !m.HasReady() {
		t.Fatal("it has nothing to say")
	}
	if rd := m.Ready(); !errors.Is(rd.Stop, protocol.ErrTwoHistories) || rd.Delta.Truncate || m.logTerms.LastIndex() != 10 {
		t.Errorf("got %v, truncated %t, log to %d; want a stop with all that is held", rd.Stop, rd.Delta.Truncate, m.logTerms.LastIndex())
	}
}

// What waits for the disk when a log is reset is gone, also from the account of
// what waits.
func TestInstallForgetsWhatWaitsForTheDisk(t *testing.T) {
	h := history(30)
	m := fresh()
	m.Take(0, run(h, 1, 5, 5))
	first := m.Ready().Write
	m.Take(0, run(h, 6, 9, 9))
	m.Install(0, checkpointAt(h, 20, protocol.ConfigurationAt{}))
	m.Persisted(0, first.ID)
	if m.unwritten != 0 {
		t.Errorf("got %d bytes that wait, want 0", m.unwritten)
	}
	if rd := m.Ready(); rd.Write != nil && !rd.Write.Empty() {
		t.Errorf("got write %+v, want no entries", rd.Write)
	}
	if got := m.Take(0, run(h, 21, 25, 25)); got != Taken {
		t.Errorf("got %s, want taken", got)
	}
	if rd := m.Ready(); rd.Write.First != 21 || rd.Write.Last != 25 {
		t.Errorf("got write %+v, want 21..25", rd.Write)
	}
}

func TestDropHeadForgetsReplacedConfigurations(t *testing.T) {
	h := history(20)
	m := holding(t, h)
	m.confs = protocol.NewConfigurations(protocol.ConfigurationAt{Index: 1}, protocol.ConfigurationAt{Index: 6}, protocol.ConfigurationAt{Index: 12})
	for _, c := range []struct {
		drop protocol.Index
		want []protocol.Index
	}{{5, []protocol.Index{1, 6, 12}}, {6, []protocol.Index{6, 12}}, {11, []protocol.Index{6, 12}}, {20, []protocol.Index{12}}} {
		m.DropHead(c.drop, h[c.drop-1].Sum)
		var got []protocol.Index
		for _, at := range m.Configurations().All() {
			got = append(got, at.Index)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("head dropped to %d: got configurations of %v, want %v", c.drop, got, c.want)
		}
	}
	// The log ends where it begins, and goes on.
	long := history(25)
	if got := m.Take(0, run(long, 21, 25, 25)); got != Taken {
		t.Errorf("got %s, want taken", got)
	}
	check(t, m)
}

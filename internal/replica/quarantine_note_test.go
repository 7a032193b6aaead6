package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// resumed is a member whose run before has ended in quarantine, of three actives. It begins
// from the first of its checkpoints, which have the digest 1; there are checkpoint entries at
// 5, 10 and 15, and the log is committed to 20.
func resumed(t *testing.T, noted storage.Quarantine, kept ...protocol.Index) *patient {
	t.Helper()
	rec := marked([]byte{1, 2, 3}, 1, 1)
	p := &patient{t: t, state: always(1)}
	restored := OpenedState{Quarantine: noted}
	for _, i := range kept {
		d := described(rec, i, 0)
		d.Digest = [16]byte{1}
		restored.Kept = append(restored.Kept, d)
	}
	if len(kept) > 0 {
		restored.Applied, p.applied = kept[0], kept[0]
	}
	p.kept = slices.Clone(restored.Kept)
	p.r = openOn(t, 1, Config{}, rec, restored)
	p.serve()
	return p
}

// divergedAt is a quarantine since the entry at 10, where the majority had a digest.
func divergedAt(until protocol.Index, right byte) storage.Quarantine {
	return storage.Quarantine{At: 10, Until: until, Digest: [16]byte{right}}
}

func (p *patient) keeps(what string, want ...protocol.Index) {
	p.t.Helper()
	var got []protocol.Index
	for _, d := range p.kept {
		got = append(got, d.Index)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("%s: kept are %v, want %v", what, got, want)
	}
}

// [S] Counterexample: a member dies in quarantine, before its bad checkpoints are gone. Its next run
// begins from one of them, and does nothing that the run before was not to do.
func TestAStartInQuarantineServesFeedsAndTestifiesNothing(t *testing.T) {
	p := resumed(t, divergedAt(18, 7), 15, 10)
	p.wants("it has just started", true)
	p.keeps("the one that it has begun from may be good", 15)
	if p.applied != 15 || len(p.asked) != 2 {
		t.Errorf("it has applied %d and asks %v, want nothing more, and both actives", p.applied, p.asked)
	}
	if g := p.r.progressNow(p.now); p.gate != 0 || g.Source || !g.Lost {
		t.Errorf("the gate is at %d, gossip is told %+v", p.gate, g)
	}
	p.r.Read(p.now, 1)
	p.r.Receive(p.now, id(2), &protocol.ManifestWant{Above: 1})
	for _, s := range p.r.Effects().Send {
		if d, ok := s.Message.(*protocol.Manifest); ok && len(d.Manifest) > 0 {
			t.Error("it offers a checkpoint")
		}
	}
	p.r.Read(p.now, 2)
	p.asks(2, 15, 7)
	if len(p.reads) != 1 || !errors.Is(p.reads[0], protocol.ErrNotServing) {
		t.Errorf("a read is answered by %v, want not serving", p.reads)
	}
	if len(p.answers) != 1 || p.answers[0].Known {
		t.Errorf("it testifies %+v", p.answers)
	}
	for range 100 {
		p.now = max(p.now.Add(1), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	if s := raft(p.r).State().String(); s != "follower" {
		t.Errorf("it is %s", s)
	}
	p.wants("nobody vouches for it", true)
}

// A majority has had another state: a good one takes its place, and the member serves when it has
// come to where it was.
func TestAStartInQuarantineHealsAsWithoutIt(t *testing.T) {
	p := resumed(t, divergedAt(18, 7), 15, 5)
	p.says(2, 15, 7)
	p.says(3, 15, 7)
	p.wants("two actives of three had something else at 15", true)
	rec := marked([]byte{1, 2, 3}, 1, 1)
	p.state = always(7)
	p.offer(rec, 10, 7) // which is what the majority had there, as it has noted
	p.wants("it has been installed", false)
	if !slices.Equal(p.replaced, []protocol.Index{10}) || p.applied < 18 || len(p.notes) != 1 || p.notes[0] != (storage.Quarantine{}) {
		t.Errorf("replaced at %v, applied %d, noted %v, want the one at 10, all of the log, and an end\n%s", p.replaced, p.applied, p.notes, p.events)
	}
	if !slices.Contains(p.bad, 15) {
		t.Errorf("given up are %v, want the bad one at 15", p.bad)
	}
}

// A run begins from before the state was wrong, from what the majority had where it was, or from a
// checkpoint whose digest a majority vouches for: the log is applied from there, up to where the
// state was.
func TestAStartInQuarantineFromAGoodCheckpoint(t *testing.T) {
	for _, from := range []protocol.Index{5, 10, 15} {
		p := resumed(t, divergedAt(25, 1), from)
		if from > 10 {
			p.says(2, from, 1)
		} else if len(p.asked) > 0 {
			t.Errorf("from %d: %v are asked, who may remember nothing of it", from, p.asked)
		}
		p.wants("it has not come to where it was", true)
		if p.applied != 20 || len(p.replaced) != 0 {
			t.Errorf("from %d: applied %d, replaced %v, want all of the log, and nothing", from, p.applied, p.replaced)
		}
		p.answers = nil
		p.asks(3, from, 1)
		if p.gate != 0 || len(p.answers) != 1 || p.answers[0].Known {
			t.Errorf("from %d: the gate is at %d, and it testifies %+v", from, p.gate, p.answers)
		}
		p = resumed(t, divergedAt(18, 1), from)
		if from > 10 {
			p.says(2, from, 1)
		}
		p.wants("it has come to where it was", false)
		if !slices.ContainsFunc(p.kept, func(c storage.Manifest) bool { return c.Index == from }) || len(p.bad) > 0 {
			t.Errorf("from %d: given up are %v, want nothing", from, p.bad)
		}
		if len(p.notes) != 1 || p.notes[0] != (storage.Quarantine{}) || p.gate == 0 {
			t.Errorf("from %d: noted %v, the gate is at %d", from, p.notes, p.gate)
		}
	}
}

// [S] The log may lead to the bad state again, as where a type is not deterministic: what it leads to
// is compared where the majority had another one.
func TestAStateThatGoesWrongAgainIsFoundWhereItWas(t *testing.T) {
	p := resumed(t, divergedAt(18, 7), 5)
	p.wants("it has another state again than the majority at 10", true)
	if p.gate != 0 || p.r.progressNow(p.now).Source {
		t.Error("it serves, or is a source")
	}
}

// [S] The state that was found wrong is not kept.
func TestAStartFromTheConvictedCheckpoint(t *testing.T) {
	p := resumed(t, divergedAt(18, 7), 10, 5)
	p.keeps("it is convicted", 5)
	p.says(2, 10, 1)
	p.says(3, 10, 1)
	p.wants("others have gone wrong alike", true)
}

// What this release cannot read may be good: nothing of it is given up.
func TestAStartInQuarantineLeavesWhatItCannotRead(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 1, 1)
	p := &patient{t: t, state: always(1)}
	p.kept = []storage.Manifest{described(rec, 15, 0)}
	p.r = openOn(t, 1, Config{}, rec, OpenedState{Quarantine: divergedAt(18, 7), Kept: slices.Clone(p.kept)})
	for _, s := range p.r.Effects().Install {
		if s.GiveUp != 0 {
			t.Errorf("gives %d up", s.GiveUp)
		}
	}
}

// A sole voter is a majority: nobody else could vouch for what it has.
func TestASoleVoterInQuarantineVouchesForItself(t *testing.T) {
	rec := marked([]byte{1}, 1, 1)
	p := &patient{t: t, state: always(1)}
	d := described(rec, 15, 0)
	d.Digest = [16]byte{1}
	p.kept, p.applied = []storage.Manifest{d}, 15
	p.r = openOn(t, 1, Config{}, rec, OpenedState{Quarantine: divergedAt(18, 7), Kept: slices.Clone(p.kept), Applied: 15})
	p.serve()
	for range 10 {
		p.now = max(p.now.Add(1), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	p.wants("it has come to where it was", false)
}

// Where nothing is left of the state nothing of it is wrong; it serves nobody before it has come to
// where it was.
func TestAStartInQuarantineWithoutAState(t *testing.T) {
	p := resumed(t, divergedAt(25, 1))
	p.wants("it had come further", true)
	if p.applied != 20 {
		t.Errorf("it has applied %d of 20", p.applied)
	}
	p = resumed(t, divergedAt(18, 1))
	p.wants("it has come to where it was", false)
}

// [S] What is noted and cannot be read counts: all checkpoints may be bad, and the state had come to
// what is committed at least. It is noted again, so that a next start knows.
func TestAStartWithWhatCannotBeRead(t *testing.T) {
	p := resumed(t, storage.Quarantine{At: 1}, 10, 5)
	p.wants("it is not known since when", true)
	p.keeps("all are in doubt", 10)
	if want := []storage.Quarantine{{At: 1, Until: 20}}; !slices.Equal(p.notes, want) {
		t.Errorf("noted %v, want %v", p.notes, want)
	}
	p.says(2, 10, 1)
	p.wants("one active has the same at 10, and this one", false)
	p = resumed(t, storage.Quarantine{At: 1, Until: 25})
	if s := p.r.Status(p.now).Quarantine; !strings.Contains(s, "since when cannot be read") || strings.Contains(s, "diverged at") {
		t.Errorf("without a state it says %q", s)
	}
}

// [S] The quarantine is to be on disk when it begins, with what has to be applied again. A disk that
// does not take it hinders nothing; that is said, and tried again.
func TestAQuarantineIsPutOnDisk(t *testing.T) {
	p := convicted(t, func(p *patient) { p.noDisk = protocol.ErrNoSpace })
	want := storage.Quarantine{At: 15, Until: 20, Digest: [16]byte{7}}
	if !slices.Equal(p.notes, []storage.Quarantine{want}) {
		t.Fatalf("noted %v, want %v", p.notes, want)
	}
	if s := p.r.Status(p.now).Quarantine; !strings.Contains(s, "not on disk") {
		t.Errorf("it says %q", s)
	}
	p.noDisk = nil
	for p.now < protocol.Instant(2*notePause) {
		p.now = max(p.now.Add(1), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	if s := p.r.Status(p.now).Quarantine; strings.Contains(s, "not on disk") || !slices.Equal(p.notes, []storage.Quarantine{want, want}) {
		t.Errorf("noted %v, want it twice, and it says %q", p.notes, s)
	}
}

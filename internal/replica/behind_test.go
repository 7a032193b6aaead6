package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// giver is a passive with the log to 100 of two actives, whose checkpoints at 60
// and 40 passive 7 and 8 may fetch. The drivers' half is here.
type giver struct {
	t       *testing.T
	r       *Replica
	now     protocol.Instant
	whole   storage.Opened
	pinned  []protocol.Index // what the store was asked to pin last
	drop    protocol.Index   // the last one that was asked for
	sent    []protocol.Envelope
	reads   []ChunkRead
	events  []protocol.Event
	refuses bool // the store pins nothing
	applied Applied
}

func newGiver(t *testing.T, cfg Config) *giver {
	t.Helper()
	confs := map[protocol.Index]protocol.Configuration{1: conf(2, []byte{1, 2}, 4)}
	g := &giver{t: t, whole: found(2, 101, 101, confs)}
	if cfg.RetainEntries == 0 {
		cfg.RetainEntries = -1
	}
	g.r = openOn(t, 9, cfg, begun(found(2, 100, 100, confs), 30), OpenedState{Applied: 60, Kept: g.kept(60, 40)})
	peers := []protocol.Peer{{ID: id(7), Role: protocol.RolePassive}, {ID: id(8), Role: protocol.RolePassive}, {ID: id(1), Role: protocol.RoleActive}, {ID: id(2), Role: protocol.RoleActive}}
	right(g.r, g.kept(60, 40)...)
	g.r.checkpoints.offer(g.now)
	g.r.SetPeers(g.now, peers)
	g.turn()
	// A log gives up only what it knows itself to be committed.
	g.receive(1, &protocol.Append{Term: 2, PrevIndex: 100, PrevTerm: 2, Commit: 101, Last: 101, Entries: g.whole.Tail[100:]})
	return g
}

func (g *giver) kept(list ...protocol.Index) []storage.Manifest {
	var out []storage.Manifest
	for _, i := range list {
		out = append(out, described(g.whole, i, 4))
	}
	return out
}

// turn carries out what the replica wants done.
func (g *giver) turn() {
	for range 20 {
		e := g.r.Effects()
		g.sent, g.reads, g.events = append(g.sent, envelopes(e.Send)...), append(g.reads, e.ReadChunk...), append(g.events, e.Events...)
		if p := e.Pin; p != nil {
			g.pinned = p.Indexes
			held := p.Indexes
			if g.refuses {
				held = nil
			}
			g.r.Pinned(g.now, *p, held)
		}
		if p := e.Persist; p != nil && p.Drop != 0 {
			g.drop = p.Drop
			g.r.Dropped(g.now, p.ID, storage.Begin{Index: p.Drop - 1, Term: 2, Sum: g.whole.Tail[p.Drop-2].Sum}, nil)
		} else if p != nil {
			g.r.Persisted(g.now, p.ID, nil)
		}
		for _, a := range e.Apply {
			done := g.applied
			done.Last, done.Results = a.Entries[len(a.Entries)-1].Index, make([]protocol.Result, len(a.Entries))
			g.r.Applied(g.now, done)
		}
	}
}

func envelopes(list []Send) (out []protocol.Envelope) {
	for i := range list {
		out = append(out, list[i].Envelope)
	}
	return out
}

func (g *giver) receive(from byte, m protocol.Message) {
	g.sent, g.reads = nil, nil
	g.r.Receive(g.now, id(from), m)
	g.turn()
}

// says lets a passive say how far behind it is.
func (g *giver) says(from byte, b protocol.Behind) { g.receive(from, &protocol.Have{Behind: b}) }

func (g *giver) after(d time.Duration) {
	g.now = g.now.Add(d)
	g.r.Tick(g.now)
	g.turn()
}

func (g *giver) takes(list ...protocol.Index) {
	g.r.Kept(g.now, right(g.r, g.kept(list...)...))
	g.turn()
}

// wantOffered compares the checkpoints that the member says it has, and gives a
// chunk of.
func (g *giver) wantOffered(what string, want ...protocol.Index) {
	g.t.Helper()
	g.receive(8, &protocol.Have{Nonce: 1})
	var got []protocol.Index
	for _, e := range g.sent {
		if h, ok := e.Message.(*protocol.Have); ok && h.AnswerTo == 1 {
			got = h.Checkpoints
		}
	}
	if !slices.Equal(got, want) {
		g.t.Errorf("%s: offers %v, want %v", what, got, want)
	}
}

func (g *giver) wantPinned(what string, want ...protocol.Index) {
	g.t.Helper()
	if !slices.Equal(g.pinned, want) {
		g.t.Errorf("%s: the store is asked to pin %v, want %v", what, g.pinned, want)
	}
}

// Counterexample: a passive is in the middle of a checkpoint, the others take two
// newer ones, and nobody has it any more.
func TestCheckpointThatIsFetchedStays(t *testing.T) {
	g := newGiver(t, Config{})
	g.wantPinned("nobody fetches")
	g.says(7, protocol.Behind{Needs: 61, Installing: 60, Left: 4})
	g.wantPinned("it is fetched", 60)
	g.takes(80, 60)
	g.takes(90, 80)
	g.takes(100, 90)
	g.wantOffered("three newer ones were taken", 100, 90, 60)
	g.receive(7, &protocol.ChunkWant{Index: 60, Sum: g.whole.Tail[59].Sum, Numbers: []uint32{2}})
	if len(g.reads) != 1 || g.reads[0].Index != 60 || g.reads[0].Number != 2 {
		t.Errorf("reads %+v, want chunk 2 of 60", g.reads)
	}
	g.says(7, protocol.Behind{Needs: 61})
	g.wantPinned("it is installed")
	g.wantOffered("it is installed", 100, 90)
}

// What the store cannot pin, because it was faster, or not read, is not offered.
func TestCheckpointThatCannotBePinnedIsNotOffered(t *testing.T) {
	g := newGiver(t, Config{})
	g.refuses = true
	g.says(7, protocol.Behind{Needs: 41, Installing: 40, Left: 4})
	g.takes(80, 60)
	g.wantOffered("the store did not pin it", 80, 60)

	g = newGiver(t, Config{})
	g.says(7, protocol.Behind{Needs: 41, Installing: 40, Left: 4})
	g.takes(80, 60)
	g.wantOffered("pinned", 80, 60, 40)
	g.r.ChunkRead(g.now, ChunkRead{To: id(7), Index: 40, Number: 1}, nil, protocol.ErrDirectory)
	g.turn()
	g.wantOffered("it cannot be read now", 80, 60, 40)
	g.r.ChunkRead(g.now, ChunkRead{To: id(7), Index: 40, Number: 1}, nil, protocol.ErrCorrupt)
	g.turn()
	g.wantOffered("damaged", 80, 60)
	g.wantPinned("damaged")
}

// [S] Pins are bounded: one may have any size, more than one have the bytes that
// the configuration gives them, and a disk that is nearly full keeps none.
func TestPinsAreBounded(t *testing.T) {
	both := func(cfg Config) *giver {
		g := newGiver(t, cfg)
		g.says(7, protocol.Behind{Needs: 41, Installing: 40, Left: 4})
		g.says(8, protocol.Behind{Needs: 61, Installing: 60, Left: 4})
		g.takes(90, 80)
		return g
	}
	g := both(Config{})
	g.wantOffered("two are fetched", 90, 80, 60, 40)
	g = both(Config{PinBytes: -1})
	g.wantOffered("no bytes for more than one", 90, 80, 40)
	g.wantPinned("no bytes for more than one", 40)
	g.r.Hamper(g.now, Hampered{Full: true})
	g.turn()
	g.wantOffered("the disk is nearly full", 90, 80)
	g.wantPinned("the disk is nearly full")
}

// Counterexample: a member has installed a checkpoint, and the log that goes on
// from it is gone. It begins anew, for ever.
func TestLogThatAnInstallingMemberNeedsStays(t *testing.T) {
	for name, x := range map[string]struct {
		cfg  Config
		does func(g *giver)
		want protocol.Index
	}{
		"nobody needs it":         {Config{}, func(*giver) {}, 91},
		"one installs":            {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 41, Installing: 40, Left: 4}) }, 41},
		"one catches up":          {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 55}) }, 55},
		"the lowest of two":       {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 55}); g.says(8, protocol.Behind{Needs: 45}) }, 45},
		"what nobody has":         {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 12}); g.says(8, protocol.Behind{Needs: 45}) }, 45},
		"it is level":             {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 55}); g.says(7, protocol.Behind{}) }, 91},
		"more bytes than may":     {Config{BehindBytes: 1}, func(g *giver) { g.says(7, protocol.Behind{Needs: 65}) }, 91},
		"the disk is nearly full": {Config{}, func(g *giver) { g.says(7, protocol.Behind{Needs: 55}); g.r.Hamper(g.now, Hampered{Full: true}) }, 91},
	} {
		g := newGiver(t, x.cfg)
		x.does(g)
		g.takes(100, 90)
		if g.drop != x.want {
			t.Errorf("%s: the log is dropped below %d, want %d", name, g.drop, x.want)
		}
	}
	// What was held back goes when it is not needed any more, without another
	// checkpoint; and when it does not come forward.
	for name, ends := range map[string]func(g *giver){
		"level":  func(g *giver) { g.says(7, protocol.Behind{}); g.after(time.Millisecond) },
		"silent": func(g *giver) { g.after(time.Minute) },
	} {
		g := newGiver(t, Config{})
		g.says(7, protocol.Behind{Needs: 55})
		g.takes(100, 90)
		if g.drop != 55 {
			t.Fatalf("the log is dropped below %d, want 55", g.drop)
		}
		if ends(g); g.drop != 91 {
			t.Errorf("%s: the log is dropped below %d, want 91", name, g.drop)
		}
	}
}

// lagging is a passive with the log to 20 that has heard of more.
func lagging(t *testing.T) *giver {
	t.Helper()
	confs := map[protocol.Index]protocol.Configuration{1: conf(2, []byte{1, 2}, 4)}
	g := &giver{t: t, whole: found(2, 100, 100, confs)}
	g.r = openOn(t, 9, Config{}, found(2, 20, 20, confs), OpenedState{})
	g.r.SetPeers(g.now, []protocol.Peer{{ID: id(7), Role: protocol.RolePassive}, {ID: id(1), Role: protocol.RoleActive}, {ID: id(2), Role: protocol.RoleActive}, {ID: id(3), Role: protocol.RoleActive}, {ID: id(4), Role: protocol.RoleActive}})
	g.turn()
	g.after(time.Second)
	return g
}

// hears lets it hear how far an active is.
func (g *giver) hears(from byte, lastIndex protocol.Index) {
	g.receive(from, &protocol.Have{First: 1, LastIndex: lastIndex, Commit: lastIndex, Applied: lastIndex, Checkpoints: []protocol.Index{80}})
}

func (g *giver) wantBehind(what string, want bool, says ...string) {
	g.t.Helper()
	s := g.r.Status(g.now)
	if (s.Behind != "") != want {
		g.t.Errorf("%s: says %q, want that it is far behind: %t", what, s.Behind, want)
	}
	for _, part := range says {
		if !strings.Contains(s.Behind, part) {
			g.t.Errorf("%s: says %q, want %q in it", what, s.Behind, part)
		}
	}
}

// saysNeeds returns what it tells the others that it needs.
func (g *giver) saysNeeds() protocol.Behind {
	g.receive(7, &protocol.Have{Nonce: 5})
	for _, e := range g.sent {
		if h, ok := e.Message.(*protocol.Have); ok && h.AnswerTo == 5 {
			return h.Behind
		}
	}
	g.t.Fatal("no answer")
	return protocol.Behind{}
}

func TestFarBehindByEntries(t *testing.T) {
	g := lagging(t)
	g.wantBehind("alone", false)
	g.hears(1, 20+farEntries)
	g.after(lookEvery)
	g.wantBehind("a checkpoint's worth", false)
	g.hears(1, 21+farEntries)
	g.after(lookEvery)
	g.wantBehind("more", true, "applied 20 of 4117, 4097 entries behind")
	if got, want := g.saysNeeds(), (protocol.Behind{Needs: 21}); got != want {
		t.Errorf("says %+v, want %+v", got, want)
	}
}

// [S] Only voters that the log names are believed: anybody could make all others think
// that they are far behind.
func TestNobodyElseMakesAMemberFeelBehind(t *testing.T) {
	g := lagging(t)
	g.hears(7, 1<<40)
	g.hears(3, 1<<40) // says that it is an active, and the log does not name it
	g.hears(4, 1<<40) // the log names it as a learner
	g.after(lookEvery)
	g.wantBehind("others claim a lot", false)
	if got := g.r.Known(); got >= 1<<40 {
		t.Errorf("others claim a lot: %d is known", got)
	}
	g.hears(1, 500)
	if got := g.r.Known(); got != 500 {
		t.Errorf("an active says 500: %d is known", got)
	}
}

// What a voter has said and said no more makes nobody feel behind for ever.
func TestWhatIsNotKnownAnyMoreIsNotLacking(t *testing.T) {
	for name, said := range map[string][]protocol.Index{"at once": {500}, "more and more": {15, 30, 500}} {
		g := lagging(t)
		for _, last := range said {
			g.hears(1, last)
			g.after(lookEvery)
		}
		g.hears(1, 20)
		g.after(farLag + 2*lookEvery)
		g.wantBehind(name+", and it has taken that back", false)
	}
	g := lagging(t)
	g.hears(1, 500)
	g.after(lookEvery)
	g.hears(1, 30)
	g.after(farLag + 2*lookEvery)
	g.wantBehind("it has taken a part of it back", true, "10 entries behind, for 11s at least")
}

func TestFarBehindByTime(t *testing.T) {
	g := lagging(t)
	g.hears(1, 30)
	g.after(lookEvery)
	g.after(farLag)
	g.wantBehind("for ten seconds", false)
	g.after(lookEvery)
	g.wantBehind("for longer", true, "10 entries behind, for 10s at least")
	// What lacks is sent: level again.
	g.receive(1, &protocol.Append{Term: 2, PrevIndex: 20, PrevTerm: 2, Commit: 30, Last: 30, Entries: g.whole.Tail[20:30]})
	g.after(lookEvery)
	g.wantBehind("it has come", false)
	if got := g.saysNeeds(); got != (protocol.Behind{}) {
		t.Errorf("says %+v, want that it is level", got)
	}
	var told []string
	for _, e := range g.events {
		if e.Kind == protocol.EventBehind {
			told = append(told, e.Text)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "10 entries behind") || told[1] != "level again" {
		t.Errorf("told %q, want that it is behind and then that it is level", told)
	}
}

// From its beginning to its end an installation is told to all: while it is fetched,
// while the state is built, and until the member is level.
func TestInstallingMemberSaysWhatItNeeds(t *testing.T) {
	g := lagging(t)
	d := described(g.whole, 80, 4)
	g.hears(1, 10_000)
	g.receive(1, &protocol.InstallCheckpoint{Term: 2, Manifest: storage.EncodeManifest(d)})
	g.r.InstallBegun(g.now, 80, []int{0, 1, 2}, nil)
	g.after(lookEvery)
	g.wantBehind("fetching", true, "fetches the checkpoint at 80, 3 of 4 chunks are to come")
	if got, want := g.saysNeeds(), (protocol.Behind{Needs: 81, Installing: 80, Left: 3}); got != want {
		t.Errorf("fetching: says %+v, want %+v", got, want)
	}
	for n := range 3 {
		g.r.ChunkAdded(g.now, n, nil)
		g.turn()
	}
	if got := g.saysNeeds(); got.Installing != 80 || got.Needs != 81 {
		t.Errorf("building: says %+v, want 80 and what follows it", got)
	}
	needs := func(when string) {
		if got, want := g.saysNeeds(), (protocol.Behind{Needs: 81}); got != want {
			t.Errorf("%s: says %+v, want %+v", when, got, want)
		}
	}
	g.r.InstallFinished(g.now, []storage.Manifest{d}, 0, nil)
	e := g.r.Effects()
	needs("while the log begins anew")
	g.r.Persisted(g.now, e.Persist.ID, nil)
	e = g.r.Effects()
	if len(e.Apply) != 1 || e.Apply[0].Installed != 80 {
		t.Fatalf("applies %+v, want the state of 80", e.Apply)
	}
	needs("while the state is put in")
	g.r.Applied(g.now, Applied{Last: 80})
	g.turn()
	needs("installed")
	g.after(lookEvery)
	g.wantBehind("installed", true, "applied 80 of 10000")
	if n := g.r.Status(g.now).Installs; n != 1 {
		t.Errorf("%d installations were begun, want 1", n)
	}
}

// Whoever does not get level at the rate that it is given says so, with figures,
// and asks for more; whoever does, does not.
func TestMemberThatDoesNotGetLevelAsksForMore(t *testing.T) {
	for name, x := range map[string]struct {
		grows, takes int // entries in each second
		pressed      bool
		says         string
	}{
		"the log grows faster":    {grows: 1000, takes: 1, pressed: true, says: "takes 1 entries a second while the log grows by 1000, so that it does not get level; it asks the others for more"},
		"the log does not grow":   {grows: 0, takes: 1},
		"it is level in a moment": {grows: 1, takes: 5},
	} {
		g := lagging(t)
		lastIndex := protocol.Index(20 + farEntries + 1)
		if x.takes == 5 {
			lastIndex = 100
		}
		for second := range 12 {
			g.hears(1, lastIndex)
			if x.takes == 5 && second == 0 {
				g.after(farLag) // it was told of the rest long ago
			}
			first := int(g.r.Status(g.now).Applied)
			g.receive(1, &protocol.Append{Term: 2, PrevIndex: protocol.Index(first), PrevTerm: 2, Commit: protocol.Index(first + x.takes), Last: protocol.Index(first + x.takes), Entries: g.whole.Tail[first : first+x.takes]})
			lastIndex += protocol.Index(x.grows)
			for range 4 {
				g.after(lookEvery)
			}
		}
		if got := g.saysNeeds().Pressed; got != x.pressed {
			t.Errorf("%s: says that it is pressed: %t, want %t", name, got, x.pressed)
		}
		var told []string
		for _, e := range g.events {
			if e.Kind == protocol.EventPressed {
				told = append(told, e.Text)
			}
		}
		if want := map[bool]int{true: 1}[x.pressed]; len(told) != want || want == 1 && !strings.Contains(told[0], x.says) {
			t.Errorf("%s: told %q, want %d times %q", name, told, want, x.says)
		}
	}
}

// A checkpoint that comes too slowly while the log grows is a reason to ask for
// more, too.
func TestSlowFetchAsksForMore(t *testing.T) {
	for _, grows := range []bool{true, false} {
		g := lagging(t)
		d := described(g.whole, 80, 1000)
		g.receive(1, &protocol.InstallCheckpoint{Term: 2, Manifest: storage.EncodeManifest(d)})
		var missing []int
		for n := range 1000 {
			missing = append(missing, n)
		}
		g.r.InstallBegun(g.now, 80, missing, nil)
		lastIndex := protocol.Index(10_000)
		for n := range 60 {
			g.hears(1, lastIndex)
			if grows {
				lastIndex += 100
			}
			g.r.ChunkAdded(g.now, n, nil)
			g.turn()
			g.after(lookEvery)
		}
		if got := g.saysNeeds().Pressed; got != grows {
			t.Errorf("the log grows: %t: says that it is pressed: %t", grows, got)
		}
		if grows {
			g.wantBehind("slow", true, "MiB at 0.5 MiB/s", "while the log grows by 400 entries a second")
		}
	}
}

// With as many checkpoints fetched as can be kept, a leader offers one of those.
func TestLeaderOffersWhatIsFetchedAlready(t *testing.T) {
	g := newGiver(t, Config{})
	offered := func() protocol.Index {
		m := &protocol.InstallCheckpoint{}
		g.r.checkpoints.fillIn(g.now, g.r.unreadable.givesAfter(), protocol.Envelope{Message: m}, m)
		g.r.Effects()
		d, err := storage.DecodeManifest(m.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		return d.Index
	}
	g.says(7, protocol.Behind{Needs: 41, Installing: 40, Left: 4})
	g.says(8, protocol.Behind{Needs: 61, Installing: 60, Left: 4})
	g.takes(90, 80)
	if got := offered(); got != 60 {
		t.Errorf("offered %d, want 60: two are fetched", got)
	}
	g.says(8, protocol.Behind{})
	if got := offered(); got != 90 {
		t.Errorf("offered %d, want 90, the newest", got)
	}
}

// Counterexample: a voter starts on what it had half a minute ago, knows who leads,
// has applied all that it knows of, and says that it serves.
func TestNothingIsProvenBeforeTheAgeIsKnown(t *testing.T) {
	g := lagging(t)
	ask := func() uint64 {
		for range 100 {
			g.sent = nil
			g.after(60 * time.Millisecond)
			for _, e := range g.sent {
				if h, ok := e.Message.(*protocol.Have); ok && h.Nonce != 0 && e.To == id(1) {
					return h.Nonce
				}
			}
		}
		t.Fatal("it asks nobody")
		return 0
	}
	answer := func(index protocol.Index) bool {
		g.receive(1, &protocol.Have{First: 1, LastIndex: index, Commit: index, AnswerTo: ask(), FreshKnown: true, FreshIndex: index, FreshSum: g.whole.Tail[index-1].Sum.Head(), FreshAge: int64(time.Millisecond)})
		return g.r.Status(g.now).Proven
	}
	if g.r.Status(g.now).Proven {
		t.Error("proven before anybody was heard")
	}
	if answer(25) {
		t.Error("proven by an age of what it does not have")
	}
	if !answer(20) {
		t.Error("not proven by an age of what it has")
	}
}

// A fetch whose answer is an error, of a store that is closed or a disk that is
// full, begins anew later: what it has stays with the store, and it is no other one.
func TestInstallsAreCounted(t *testing.T) {
	g := lagging(t)
	d := described(g.whole, 80, 4)
	for n := range 3 {
		g.after(10 * time.Second)
		g.receive(1, &protocol.InstallCheckpoint{Term: 2, Manifest: storage.EncodeManifest(d)})
		g.r.InstallBegun(g.now, 80, nil, errors.Join(protocol.ErrNoSpace))
		g.turn()
		if got := g.r.Status(g.now).Installs; got != uint64(n+1) {
			t.Fatalf("%d installations, want %s", got, fmt.Sprint(n+1))
		}
	}
}

package gossip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// holdingBench is a member with checkpoints at 80, 60 and 40 of ten chunks each.
func holdingBench(t *testing.T, role protocol.Role, passives int) *bench {
	b := newBench(t, role, chain(100, 10, "h"), 90, 3, passives, Config{Have: time.Hour})
	b.core.digest.at = never
	var list []Holding
	for _, i := range []protocol.Index{80, 60, 40} {
		list = append(list, Holding{Index: i, Sum: b.log[i-1].Sum, Chunks: 10, Manifest: fmt.Append(nil, i)})
	}
	b.core.Holds(b.now, list)
	b.core.Ready()
	return b
}

// says lets a member say how far behind it is.
func (b *bench) says(who protocol.MemberID, x protocol.Behind) {
	b.step(who, &protocol.Have{Behind: x})
}

func (b *bench) wantPinned(what string, want ...protocol.Index) {
	b.t.Helper()
	if got := b.core.Pinned(b.now); !slices.Equal(got, want) {
		b.t.Errorf("%s: got %v pinned, want %v", what, got, want)
	}
}

func (b *bench) wantNeeds(what string, want ...protocol.Index) {
	b.t.Helper()
	if got := b.core.Needs(b.now); !slices.Equal(got, want) {
		b.t.Errorf("%s: needed are %v, want %v", what, got, want)
	}
}

// A member says what it fetches to whoever it has to do with, and all of them keep
// it: also those that have given nothing of it yet.
func TestWhatIsFetchedIsPinnedByWhoeverHearsOfIt(t *testing.T) {
	b := holdingBench(t, protocol.RolePassive, 6)
	p := passiveID(1)
	b.says(p, protocol.Behind{Needs: 41, Installing: 40, Left: 10})
	b.wantPinned("fetched", 40)
	b.wantNeeds("fetched", 41)
	b.says(p, protocol.Behind{Needs: 41, Installing: 40})
	b.wantPinned("complete, a chunk may turn out to be damaged", 40)
	b.says(p, protocol.Behind{Needs: 45})
	b.wantPinned("installed")
	b.wantNeeds("installed, and catching up", 45)
	b.says(p, protocol.Behind{})
	b.wantNeeds("level")
	b.says(protocol.MemberID{99}, protocol.Behind{Needs: 41, Installing: 40, Left: 10})
	b.wantPinned("a stranger")
	b.wantNeeds("a stranger")
}

// Of two that fetch one checkpoint the second one still needs it when the first
// has it.
func TestPinIsHeldAsLongAsAnybodyFetches(t *testing.T) {
	b := holdingBench(t, protocol.RolePassive, 6)
	b.says(passiveID(1), protocol.Behind{Needs: 41, Installing: 40, Left: 10})
	b.says(passiveID(2), protocol.Behind{Needs: 41, Installing: 40, Left: 10})
	b.says(passiveID(1), protocol.Behind{})
	b.wantPinned("one of two has it", 40)
	b.says(passiveID(2), protocol.Behind{Needs: 81, Installing: 80, Left: 3})
	b.wantPinned("the other one fetches another", 80)
	b.wantNeeds("the other one fetches another", 81)
}

// [S] What somebody needs is kept only as long as it comes forward, and not for
// ever then: a member that hangs, or lies, must not fill the disks of the others.
func TestWhoDoesNotComeForwardIsNotWaitedFor(t *testing.T) {
	const chunks = 10
	for name, x := range map[string]struct {
		says func(at time.Duration) protocol.Behind
		want time.Duration
	}{
		"it asks for the same again and again": {
			func(time.Duration) protocol.Behind {
				return protocol.Behind{Needs: 41, Installing: 40, Left: chunks}
			}, needIdle + chunks*needIdleChunk},
		"it comes forward for ever": {
			func(at time.Duration) protocol.Behind {
				return protocol.Behind{Needs: 41 + protocol.Index(at/time.Second), Installing: 40, Left: chunks}
			}, needMax + chunks*needMaxChunk},
	} {
		b := holdingBench(t, protocol.RolePassive, 6)
		begin := b.now
		for at := time.Duration(0); at < 2*needMax; at += time.Second {
			b.now = begin.Add(at)
			b.says(passiveID(1), x.says(at))
			want := 0
			if at < x.want {
				want = 1
			}
			if p, n := len(b.core.Pinned(b.now)), len(b.core.Needs(b.now)); p != want || n != want {
				t.Fatalf("%s: after %v %d checkpoints are pinned and the log is needed by %d, want %d", name, at, p, n, want)
			}
		}
	}
	b := holdingBench(t, protocol.RolePassive, 6)
	b.says(passiveID(1), protocol.Behind{Needs: 41, Installing: 40, Left: chunks})
	b.now = b.now.Add(needSilence - ms)
	b.wantPinned("silent for less than half a minute", 40)
	b.now = b.now.Add(ms)
	b.wantPinned("silent for half a minute")
	b.wantNeeds("silent for half a minute")
}

// A member that died while it was behind, and could not say that it is not any
// more, is waited for when it comes back behind another time.
func TestWhoComesBackBehindIsWaitedForAgain(t *testing.T) {
	b := holdingBench(t, protocol.RolePassive, 6)
	b.says(passiveID(1), protocol.Behind{Needs: 41})
	b.now = b.now.Add(needMax)
	b.wantNeeds("silent for long")
	b.says(passiveID(1), protocol.Behind{Needs: 61, Installing: 60, Left: 10})
	b.wantNeeds("back", 61)
	b.wantPinned("back", 60)
	b.now = b.now.Add(needSilence - ms)
	b.wantNeeds("back, for a while", 61)
}

// With two checkpoints being fetched whoever comes next gets one of them: a third
// one would be given up before it is complete.
func TestNewcomersShareWhatIsPinned(t *testing.T) {
	b := holdingBench(t, protocol.RolePassive, 6)
	described := func(above protocol.Index) string {
		return string(b.step(passiveID(5), &protocol.ManifestWant{Above: above}).Messages[0].Message.(*protocol.Manifest).Manifest)
	}
	b.says(passiveID(1), protocol.Behind{Needs: 41, Installing: 40, Left: 10})
	if got := described(10); got != "80" {
		t.Errorf("one is pinned: got the manifest of %s, want 80", got)
	}
	b.says(passiveID(2), protocol.Behind{Needs: 61, Installing: 60, Left: 10})
	if got := described(10); got != "60" {
		t.Errorf("two are pinned: got the manifest of %s, want 60", got)
	}
	if got := described(70); got != "80" {
		t.Errorf("two are pinned and of no use: got the manifest of %s, want 80", got)
	}
}

// An active gives a quarter of what it can to a passive, and all of it to a voter,
// or to a passive that does not get level with its quarter. Voters come first.
func TestWhoNeedsItMoreGetsMore(t *testing.T) {
	const rate = 16 << 20
	// got returns how many bytes each of some members is given in ten seconds.
	got := func(behind map[protocol.MemberID]protocol.Behind, who ...protocol.MemberID) (out []int) {
		b := holdingBench(t, protocol.RoleActive, 6)
		b.core.cfg.ChunkServeBytes = rate
		list := []Holding{{Index: 80, Sum: b.log[79].Sum, Chunks: 1 << 16, Manifest: []byte("d")}}
		b.core.Holds(b.now, list)
		out = make([]int, len(who))
		next := make([]uint32, len(who))
		for range 1000 {
			b.now = b.now.Add(10 * ms)
			for i, id := range who {
				if x, ok := behind[id]; ok {
					b.says(id, x)
				}
				rd := b.step(id, &protocol.ChunkWant{Index: 80, Sum: b.log[79].Sum, Numbers: []uint32{next[i], next[i] + 1}})
				for _, r := range rd.ChunkReads {
					b.core.ChunkIs(b.now, r, make([]byte, chunkBytes))
					out[i] += chunkBytes
				}
				next[i] += 2
				b.core.Ready()
			}
		}
		return out
	}
	within := func(what string, bytes int, share float64) {
		t.Helper()
		want := share * 10 * rate
		if f := float64(bytes); f < 0.9*want || f > 1.1*want+rate/2 {
			t.Errorf("%s: got %d bytes in ten seconds, want about %.0f", what, bytes, want)
		}
	}
	pressed := map[protocol.MemberID]protocol.Behind{passiveID(1): {Needs: 81, Installing: 80, Left: 9, Pressed: true}}
	within("a passive", got(nil, passiveID(1))[0], 0.25)
	within("a passive that does not get level", got(pressed, passiveID(1))[0], 1)
	within("a voter", got(nil, activeID(3))[0], 1)
	both := got(pressed, passiveID(1), activeID(3))
	if both[1] < 4*both[0] {
		t.Errorf("a passive that does not get level was given %d bytes and a voter %d, want the voter to come first", both[0], both[1])
	}
}

// A voter asks actives at once, not only after refusals; the leader is asked by one
// that does not get level with a single other member.
func TestVoterAsksActivesToo(t *testing.T) {
	for name, x := range map[string]struct {
		role              protocol.Role
		pressed           bool
		actives, passives int
		follower, leader  bool
	}{
		"passive":                            {protocol.RolePassive, false, 3, 1, false, false},
		"pressed passive":                    {protocol.RolePassive, true, 3, 1, true, false},
		"voter":                              {protocol.RoleActive, false, 3, 1, true, false},
		"voter of three, one is away":        {protocol.RoleActive, false, 2, 0, true, false},
		"pressed voter of three":             {protocol.RoleActive, true, 2, 0, true, true},
		"voter, with the leader alone there": {protocol.RoleActive, false, 1, 0, false, true},
	} {
		b := below(t, x.actives, x.passives)
		b.core.Progress(b.now, Progress{First: 1, LastIndex: 10, Applied: 10, Commit: 10, Term: 1, Leader: activeID(1), Role: x.role, Source: true, Needs: 11, Pressed: x.pressed})
		var missing []int
		for i := range 100 {
			missing = append(missing, i)
		}
		b.core.Fetch(b.now, Fetching{Index: 40, Sum: b.log[39].Sum, Missing: missing})
		follower, leader := false, false
		for _, e := range only[*protocol.ChunkWant](b.core.Ready().Messages) {
			leader = leader || e.To == activeID(1)
			follower = follower || e.To[0] == 1 && e.To != activeID(1)
		}
		if follower != x.follower || leader != x.leader {
			t.Errorf("%s: asked followers: %t, the leader: %t, want %t and %t", name, follower, leader, x.follower, x.leader)
		}
	}
}

// What a member says of itself while it fetches, when it has all, and after.
func TestFetchingIsSaid(t *testing.T) {
	b, asked := fetchingBench(t, 2, 3, Config{FetchChunksMax: 4})
	said := func() protocol.Behind {
		return b.step(passiveID(2), &protocol.Have{First: 31, LastIndex: 90, Checkpoints: []protocol.Index{40, 30}, Nonce: 1}).Messages[0].Message.(*protocol.Have).Behind
	}
	if got, want := said(), (protocol.Behind{Needs: 41, Installing: 40, Left: 100}); got != want {
		t.Errorf("said %+v, want %+v", got, want)
	}
	first := asked[0].Message.(*protocol.ChunkWant).Numbers[0]
	b.step(asked[0].To, b.chunk(first))
	b.core.ChunkAdded(b.now, int(first), true)
	b.core.Ready()
	if got := said(); got.Left != 99 {
		t.Errorf("said %+v after a chunk, want 99 chunks to come", got)
	}
	b.core.StopFetch(b.now)
	if got := said(); got != (protocol.Behind{}) {
		t.Errorf("said %+v without a fetch, want that it is level", got)
	}
	b.core.Progress(b.now, Progress{First: 41, LastIndex: 50, Applied: 50, Commit: 90, Role: protocol.RolePassive, Source: true, Needs: 51})
	if got, want := said(), (protocol.Behind{Needs: 51}); got != want {
		t.Errorf("said %+v while it catches up, want %+v", got, want)
	}
}

// Members that have the checkpoint and are silent, because they are overloaded or
// this one was stopped, are no reason to begin another one at once; nor are they
// waited for for ever.
func TestSilentHoldersAreWaitedFor(t *testing.T) {
	b, _ := fetchingBench(t, 2, 3, Config{})
	silent := protocol.Instant(0)
	begin := b.now
	for !b.core.fetching.gone {
		if b.now.Sub(begin) > 5*time.Minute {
			t.Fatalf("still waits for those that are silent: %+v", b.core.fetching)
		}
		b.wait(50 * ms)
		who := b.core.fetching.survey(b.now)
		if some := who.passives || who.actives || who.leader; some {
			silent = 0
		} else if silent == 0 {
			silent = b.now
		}
	}
	if silent == 0 || b.now.Sub(silent) < silentAfter-100*ms {
		t.Errorf("another checkpoint is sought %v after the last member fell silent, want %v at least", b.now.Sub(silent), silentAfter)
	}
}

// Who is far behind has a stretch of its own under way from each member, as large as
// one answer may be; others ask one member for all, and for a quarter of that.
func TestFarBehindPullsFromSeveralAtOnce(t *testing.T) {
	pulls := func(needs protocol.Index) []protocol.Envelope {
		b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 10, 3, 6, Config{Have: time.Hour})
		b.core.digest.at = never
		b.core.Progress(b.now, Progress{First: 1, LastIndex: 10, Applied: 10, Commit: 10, Term: 1, Leader: activeID(1), Role: protocol.RolePassive, Source: true, Needs: needs})
		for _, m := range b.core.members.passives {
			b.core.Step(b.now, m.id, &protocol.Have{First: 1, LastIndex: 50_000, Applied: 50_000, Commit: 50_000})
		}
		b.core.Ready()
		return only[*protocol.Want](b.wait(100 * ms).Messages)
	}
	next := protocol.Index(11)
	far := pulls(11)
	for i, e := range far[:min(len(far), pullsMax)] {
		w := e.Message.(*protocol.Want)
		if len(w.Ranges) != 1 || w.Ranges[0].First != next || w.Bytes != farBytes || slices.ContainsFunc(far[:i], func(x protocol.Envelope) bool { return x.To == e.To }) {
			t.Errorf("pull %d asks %s for %v, %d bytes; want what begins at %d of another member, %d bytes", i, e.To.Short(), w.Ranges, w.Bytes, next, farBytes)
		}
		next = w.Ranges[0].Last + 1
	}
	if want := protocol.Index(11 + pullsMax*farBytes/entryBytes); len(far) < pullsMax || next != want {
		t.Errorf("%d pulls ask up to %d, want %d up to %d", len(far), next, pullsMax, want)
	}
	near := pulls(0)
	if w := near[0].Message.(*protocol.Want); w.Ranges[0].First != 11 || w.Ranges[0].Last != 50_000 || w.Bytes != pullBytes {
		t.Errorf("one that is not far behind asks for %v, %d bytes", w.Ranges, w.Bytes)
	}
}

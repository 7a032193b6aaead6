package gossip

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// aside is what every part stands on, without a core: a member with a flock around it, and
// what a part says. The other ports are filled by the test.
func aside(role protocol.Role, actives, passives int, cfg Config) base {
	cfg.ID = self
	cfg = cfg.withDefaults()
	b := base{cfg: &cfg, rng: rand.New(rand.NewPCG(1, 2)), self: &standing{started: true}}
	b.self.Progress = Progress{First: 1, LastIndex: 10, Applied: 10, Commit: 10, Term: 1, Leader: activeID(1), Role: role, Source: true}
	b.outbox = &outbox{from: self, self: b.self}
	b.members = &members{cfg: &cfg, rng: b.rng, self: b.self, outbox: b.outbox}
	b.outbox.members = b.members
	var peers []protocol.Peer
	for i := range actives {
		peers = append(peers, protocol.Peer{ID: activeID(i + 1), Role: protocol.RoleActive})
	}
	for i := range passives {
		peers = append(peers, protocol.Peer{ID: passiveID(i + 1), Role: protocol.RolePassive})
	}
	b.members.set(peers)
	return b
}

// said returns what a part has said, and forgets it.
func (b *base) said() Ready {
	out := b.outbox.ready
	b.outbox.ready = Ready{}
	return out
}

// records fills ports: it notes what a part asks of others.
type records struct {
	ended   []protocol.Index
	doubted []protocol.Index
	dropped []protocol.MemberID
	lacked  int
	over    int
	holes   []protocol.Range
}

func (r *records) fetchEnded(_ protocol.Instant, i protocol.Index) { r.ended = append(r.ended, i) }
func (r *records) question(_ protocol.Instant, _ protocol.MemberID, at protocol.Index) {
	r.doubted = append(r.doubted, at)
}
func (r *records) dropParent(_ protocol.Instant, m *member) { r.dropped = append(r.dropped, m.id) }
func (r *records) lacking(protocol.Instant)                 { r.lacked++ }
func (r *records) gone(protocol.Instant)                    { r.over++ }
func (r *records) knows(x protocol.Range) bool              { return x.Last <= 10 }
func (r *records) reached() protocol.Index                  { return 10 }
func (r *records) unseen(protocol.Range) []protocol.Range   { return r.holes }
func (r *records) missing(last protocol.Index, but []protocol.Range) []protocol.Range {
	s := ranges{list: r.holes}
	for _, x := range but {
		s.remove(x)
	}
	return s.list
}

// However many say that they are behind, a bounded number is remembered, and those
// that are not waited for any more make room.
func TestNeedsAreBounded(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 2*needsMax, Config{}), protocol.Instant(5000)
	ns := needs{members: b.members, pins: &records{}}
	for i, m := range b.members.passives {
		ns.learn(now, m, protocol.Behind{Needs: protocol.Index(10 + i)})
	}
	if n := len(ns.live(now)); n != needsMax {
		t.Errorf("%d members are waited for, want %d", n, needsMax)
	}
	now = now.Add(needSilence)
	ns.learn(now, b.members.passives[0], protocol.Behind{Needs: 7})
	if got := ns.live(now); !slices.Equal(got, []protocol.Index{7}) {
		t.Errorf("the others are silent: got %v needed, want 7 alone", got)
	}
}

// Whoever keeps checkpoints hears when a member takes another one, is level, or comes back
// after it was away for long, and not before.
func TestEndOfAFetchIsTold(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 2, Config{}), protocol.Instant(5000)
	r := &records{}
	ns, m := needs{members: b.members, pins: r}, b.members.passives[0]
	for _, x := range []struct {
		behind protocol.Behind
		after  time.Duration
		want   []protocol.Index
	}{
		{protocol.Behind{Needs: 41, Installing: 40, Left: 9}, 0, nil},
		{protocol.Behind{Needs: 41, Installing: 40, Left: 3}, time.Second, nil},
		{protocol.Behind{Needs: 61, Installing: 60, Left: 9}, time.Second, []protocol.Index{40}},
		{protocol.Behind{Needs: 61, Installing: 60, Left: 9}, needMax, []protocol.Index{40, 60}},
		{protocol.Behind{}, time.Second, []protocol.Index{40, 60, 60}},
	} {
		now = now.Add(x.after)
		if ns.learn(now, m, x.behind); !slices.Equal(r.ended, x.want) {
			t.Errorf("%+v: got the end of %v, want %v", x.behind, r.ended, x.want)
		}
	}
}

// [S] A claim that the log contradicts is gone and asked about; one that the log does not
// reach waits; one whose sum is not in memory is gone, and nobody is in doubt.
func TestClaimsAgainstALog(t *testing.T) {
	h := chain(100, 10, "h")
	for name, x := range map[string]struct {
		index protocol.Index
		sum   uint64
		cold  protocol.Index
		pairs int
		asks  int
	}{
		"agrees":        {index: 80, sum: h[79].Sum.Head(), pairs: 1},
		"contradicts":   {index: 80, sum: 1, asks: 1},
		"above":         {index: 95, sum: 1, pairs: 1},
		"not in memory": {index: 80, sum: 1, cold: 90},
	} {
		r := &records{}
		f := freshness{self: &standing{}, log: &bench{log: h, cold: x.cold}, doubt: r}
		f.learn(pair{index: x.index, sum: x.sum, at: 7, from: passiveID(1)})
		f.self.LastIndex = 90
		f.compareFresh(5000)
		if len(f.pairs) != x.pairs || len(r.doubted) != x.asks {
			t.Errorf("%s: got %d claims left and %d questions, want %d and %d", name, len(f.pairs), len(r.doubted), x.pairs, x.asks)
		}
		if age, ok := f.age(5007, 80); ok != (name == "agrees") || ok && age < 5000 {
			t.Errorf("%s: got the age %v, %v", name, age, ok)
		}
	}
}

// A gap that nobody holds is told, once; as soon as somebody does, it is asked for it, and a
// second member only for what the first one was not asked for.
func TestGapsAreAskedForOnce(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 8, Config{}), protocol.Instant(5000)
	r := &records{holes: []protocol.Range{{First: 11, Last: 20}}}
	l := links{base: b, intake: r, neighbors: neighbors{refreshAt: never}}
	p := pulling{base: b, heed: &heed{cfg: b.cfg, self: b.self}, intake: r, links: &l, tree: &tree{members: b.members, links: &l, intake: r}, seek: r}
	p.clear()
	p.evidence(now, 20, 0)
	if p.pull(now); r.lacked != 1 || len(b.said().Messages) != 0 {
		t.Fatalf("nobody holds it: told %d times", r.lacked)
	}
	for _, m := range b.members.passives[:2] {
		m.first, m.lastIndex = 1, 20
	}
	p.evidence(now, 20, 0)
	p.pull(now)
	p.evidence(now, 20, 0)
	p.pull(now)
	wants := only[*protocol.Want](b.said().Messages)
	if len(wants) != 1 || !slices.Equal(wants[0].Message.(*protocol.Want).Ranges, r.holes) {
		t.Fatalf("got %v, want one member asked for all", wants)
	}
	// It does not answer: the other one is asked.
	now = p.expiry()
	p.expirePulls(now)
	p.pull(now)
	again := only[*protocol.Want](b.said().Messages)
	if len(again) != 1 || again[0].To == wants[0].To {
		t.Errorf("got %v after silence, want the other holder", again)
	}
}

// Holes in a row that the anchor leaves end it, and nothing does where frames come.
func TestAnchorIsGivenUpForHoles(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 12, Config{}), protocol.Instant(5000)
	r := &records{}
	l := links{base: b, intake: r, neighbors: neighbors{refreshAt: never}}
	tr := tree{members: b.members, links: &l, intake: r, lessons: lessons{wanted: 1}}
	l.relink(now)
	anchor := l.parents[0]
	l.anchor = anchor.id
	for k := range protocol.Index(parentMisses) {
		tr.holed(now, 20+k) // all has come
	}
	if l.anchor != anchor.id {
		t.Fatal("the anchor is given up without a hole")
	}
	r.holes = []protocol.Range{{First: 30, Last: 30}}
	for k := range protocol.Index(parentMisses) {
		if l.anchor != anchor.id {
			t.Fatalf("the anchor is given up after %d holes, want %d", k, parentMisses)
		}
		tr.holed(now, 30+k)
	}
	if !l.anchor.IsZero() || anchor.link.in != linkPruned {
		t.Errorf("got the anchor %v, its link %v; want none, and the link pruned", l.anchor, anchor.link.in)
	}
}

// A forger loses its link and is named, once in a while; what is known is not looked at, and
// after a number of forgeries nothing of it is.
func TestForgerLosesItsLink(t *testing.T) {
	h := chain(40, 10, "h")
	b, now := aside(protocol.RolePassive, 1, 4, Config{}), protocol.Instant(5000)
	checked := 0
	b.cfg.Verify = func([]byte, protocol.Signature) error { checked++; return errUnsigned }
	r := &records{}
	tr := trust{cfg: b.cfg, self: b.self, members: b.members, outbox: b.outbox, intake: r, links: r}
	if !tr.genuine(now, passiveID(1), frame(h, activeID(1), 1, 10)) || checked != 0 {
		t.Errorf("a frame that says nothing new was looked at %d times", checked)
	}
	for range 2 * forgeriesBurst {
		f := frame(h, activeID(1), 11, 20)
		f.Signature.Key[0] = 1
		if tr.genuine(now, passiveID(1), f) {
			t.Fatal("a forged frame is genuine")
		}
	}
	if checked != forgeriesBurst || tr.refused != forgeriesBurst {
		t.Errorf("got %d signatures checked and %d refused, want %d", checked, tr.refused, forgeriesBurst)
	}
	if events := b.said().Events; !slices.Equal(r.dropped, []protocol.MemberID{passiveID(1)}) || len(events) != 1 {
		t.Errorf("got the links to %v dropped and %d events, want one of each", r.dropped, len(events))
	}
}

func (r *records) have(protocol.Instant) *protocol.Have { return &protocol.Have{} }

// [S] An answer counts once, from whom it was asked of, and from when the question went
// out: less its age, never from when it came.
func TestAnswersAreOfQuestions(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 1, Config{}), protocol.Instant(5000)
	r := &records{}
	f := freshness{self: b.self, log: &bench{log: chain(20, 10, "h")}, doubt: r}
	l := links{base: b, intake: r, neighbors: neighbors{refreshAt: never}}
	d := haves{
		base: b, clock: &protocol.WallAhead{}, carriers: &carriers{base: b, rng: b.rng, tellAt: never}, presence: r, links: &l, heed: &heed{cfg: b.cfg, self: b.self},
		trust: &trust{cfg: b.cfg, self: b.self, members: b.members, outbox: b.outbox, intake: r, links: r}, fresh: &f,
	}
	d.sendAll(now)
	asked := only[*protocol.Have](b.said().Messages)
	if len(asked) != 2 {
		t.Fatalf("got %d questions, want 2", len(asked))
	}
	to, nonce := asked[0].To, asked[0].Message.(*protocol.Have).Nonce
	other := asked[1].To
	came := now.Add(50 * ms)
	for name, x := range map[string]struct {
		from  protocol.MemberID
		nonce uint64
	}{"another nonce": {to, nonce + 1}, "somebody else": {other, nonce}} {
		d.answered(came, x.from, b.members.get(x.from), &protocol.Have{AnswerTo: x.nonce, FreshKnown: true, FreshIndex: 15, FreshAge: int64(10 * ms)})
		if len(f.pairs) != 0 {
			t.Errorf("%s: got %v, want nothing", name, f.pairs)
		}
	}
	for range 2 {
		d.answered(came, to, b.members.get(to), &protocol.Have{AnswerTo: nonce, FreshKnown: true, FreshIndex: 15, FreshAge: int64(10 * ms)})
		want := now.Add(-10*ms - 10*ms/ageRate - ageStep)
		if len(f.pairs) != 1 || f.pairs[0].at != want {
			t.Fatalf("got %v, want one claim of %v", f.pairs, want)
		}
		nonce = 0 // it was answered
	}
	if m := b.members.get(to); m.rtt != 50*ms || b.members.rtt != 50*ms {
		t.Errorf("got the round trips %v and %v, want 50ms", m.rtt, b.members.rtt)
	}
}

// Whom a member asks for chunks: who is near, who is far, an active, the leader last.
func TestRanksOfHolders(t *testing.T) {
	b := aside(protocol.RolePassive, 2, 2, Config{Zone: "here"})
	leader, active := b.members.actives[0], b.members.actives[1]
	near, far := b.members.passives[0], b.members.passives[1]
	near.peer.Zone = "here"
	for _, m := range b.members.all {
		m.checkpoints = []protocol.Index{40}
	}
	for name, x := range map[string]struct {
		role     protocol.Role
		refusals int
		pressed  bool
		without  []*member
		want     [4]int // near, far, active, leader
	}{
		"passives can":     {want: [4]int{5, 4, 0, 0}},
		"passives refuse":  {refusals: refusalsMax, want: [4]int{5, 4, 3, 0}},
		"a voter asks":     {role: protocol.RoleActive, want: [4]int{5, 4, 4, 0}},
		"pressed":          {pressed: true, want: [4]int{5, 4, 4, 2}},
		"actives alone":    {without: []*member{near, far}, want: [4]int{0, 0, 3, 0}},
		"the leader alone": {without: []*member{near, far, active}, want: [4]int{0, 0, 0, 2}},
	} {
		f := fetching{base: b, seek: &records{}}
		f.want.Index, f.refusals = 40, x.refusals
		f.self.Role, f.self.Pressed = x.role, x.pressed
		for _, m := range x.without {
			m.checkpoints = nil
		}
		who := f.survey(5000)
		if got := [4]int{f.rank(near, who), f.rank(far, who), f.rank(active, who), f.rank(leader, who)}; got != x.want {
			t.Errorf("%s: got the ranks %v, want %v", name, got, x.want)
		}
		for _, m := range x.without {
			m.checkpoints = []protocol.Index{40}
		}
	}
}

// A checkpoint that nobody gives any more is told once, after a second.
func TestFetchThatNobodyGivesIsTold(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 4, Config{}), protocol.Instant(5000)
	r := &records{}
	f := fetching{base: b, seek: r}
	f.begin(now, Fetching{Index: 40, Missing: []int{0, 1}})
	for _, x := range []struct {
		after time.Duration
		want  int
	}{{goneAfter - 1, 0}, {1, 1}, {goneAfter, 1}} {
		now = now.Add(x.after)
		if f.ask(now); r.over != x.want || f.fetch.gone != (x.want > 0) {
			t.Errorf("after %v: told %d times, want %d", now.Sub(5000), r.over, x.want)
		}
	}
}

// One question whose answer a stream held back for seconds, after a cut, made all pulls wait for four
// times an eighth of that.
func TestAStreamThatStoodStillDoesNotSlowPulls(t *testing.T) {
	b := aside(protocol.RolePassive, 3, 1, Config{})
	m := b.members.get(activeID(1))
	for range 20 {
		b.members.took(m, time.Millisecond)
	}
	b.members.took(m, 8*time.Second)
	if m.rtt > 10*time.Millisecond || b.members.rtt > 10*time.Millisecond {
		t.Errorf("a round trip of 1 ms is taken for one of %v, all for %v", m.rtt, b.members.rtt)
	}
	for range 40 { // what stays so is believed within two seconds of questions
		b.members.took(m, 300*time.Millisecond)
	}
	if m.rtt < 250*time.Millisecond {
		t.Errorf("a round trip of 300 ms is taken for one of %v", m.rtt)
	}
}

// An active to which no passive listens makes no frames: its log, which this one does not have, is not asked.
func TestNobodyToPushToCostsNothing(t *testing.T) {
	for _, mode := range []Mode{Hybrid, Flood} {
		b := aside(protocol.RoleActive, 3, 0, Config{Mode: mode})
		p := push{base: b, links: &links{}}
		for range 3 {
			b.self.LastIndex++
			b.self.Commit++
			p.pushCommitted(protocol.Instant(5000))
		}
		if out := b.said(); len(out.Messages) > 0 || p.done != b.self.LastIndex || p.ever {
			t.Errorf("%v: %d messages, pushed up to %d of %d", mode, len(out.Messages), p.done, b.self.LastIndex)
		}
	}
}

package active

import (
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// The situations of hashicorp/raft's fuzzy tests, in virtual time and from a
// seed: a client that never rests, one kind of trouble, and at the end the same
// questions. -seed N runs one seed and prints what happens; -seeds N changes
// how many are run, in proportion.

// fuzzy runs a voyage for each seed.
func fuzzy(t *testing.T, test func(v *voyage), voters ...string) {
	t.Helper()
	first, last := uint64(1), uint64(max(1, *seedsFlag/75))
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	var told, sent, leaders int
	for seed := first; seed <= last; seed++ {
		v := newVoyage(seed, voters...)
		if *seedFlag != 0 {
			v.loud, v.trace = true, t.Logf
		}
		if err := v.violation(func() { test(v); v.arrive() }); err != nil {
			t.Fatalf("seed %d, after %v: %v\nreplay: go test ./active -run '^%s$' -seed %d -v", seed, v.now.Sub(1_000_000_000), err, t.Name(), seed)
		}
		told, sent, leaders = told+len(v.told), sent+v.sent, leaders+v.leaders
	}
	t.Logf("seeds %d to %d: %d commands, %d acknowledged, %d leaderships", first, last, sent, told, leaders)
	if told == 0 {
		t.Error("no command was acknowledged: the test does not get there")
	}
}

// violation runs something and returns the invariant that it violates.
func (v *voyage) violation(do func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case invariant.Violation:
			err = r
		default:
			panic(r)
		}
	}()
	do()
	return nil
}

var five = []string{"a", "b", "c", "d", "e"}

// Nothing goes wrong: everything is acknowledged, and one leader does it all.
func TestFuzzyNoFaults(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.lead(3 * time.Second)
		leaders := v.leaders
		for range 200 {
			v.request(1 + v.rng.IntN(20))
			v.sail(v.between(0, 10*time.Millisecond))
		}
		v.sail(time.Second)
		invariant.Check(v.leaders == leaders, "%d leaders without a fault", v.leaders)
		invariant.Check(len(v.told) == v.sent && v.refused == 0, "%d of %d commands acknowledged without a fault, %d refused", len(v.told), v.sent, v.refused)
	}, five...)
}

// The leader and up to three others are cut off, again and again; the cuts of
// several rounds pile up. A cut that leaves a majority together costs one
// fail-over, not more.
func TestFuzzyLeaderPartitions(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.lead(3 * time.Second)
		on := v.load(40*time.Millisecond, 2)
		island := map[string]int{}
		for round := range 8 {
			off := []string{v.lead(20 * time.Second).name}
			for _, i := range v.rng.Perm(len(five))[:v.rng.IntN(4)] {
				off = append(off, five[i])
			}
			for _, name := range off {
				island[name] = round + 1
			}
			v.islands(island)
			v.sail(4 * time.Second)
			switch p := v.rng.IntN(10); {
			case p < 1: // stays
			case p < 4:
				clear(island)
			default:
				for _, name := range off {
					delete(island, name)
				}
			}
			v.islands(island)
			if v.together(island) >= 3 {
				v.lead(4 * time.Second)
			} else {
				v.sail(2 * time.Second)
				clear(island)
				v.islands(island)
			}
		}
		*on = false
	}, five...)
}

// islands cuts all links between members of different islands.
func (v *voyage) islands(of map[string]int) {
	clear(v.cut)
	for _, a := range v.nodes {
		for _, b := range v.nodes {
			if of[a.name] != of[b.name] {
				v.cut[[2]protocol.MemberID{a.id, b.id}] = true
			}
		}
	}
}

// together returns how many members the largest island has.
func (v *voyage) together(of map[string]int) int {
	size := map[int]int{}
	most := 0
	for _, n := range v.nodes {
		size[of[n.name]]++
		most = max(most, size[of[n.name]])
	}
	return most
}

// Vote requests reach two of five a second or two late: long after the election
// that they belong to. The other three elect without them, and the late
// requests depose nobody.
func TestFuzzySlowVoteRequests(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.slow(func(e protocol.Envelope) bool {
			_, vote := e.Message.(*protocol.Vote)
			return vote && (e.To == idOf("a") || e.To == idOf("b"))
		})
		v.succession()
	}, five...)
}

// The votes of three of five come a second or two late. One of the three has to
// win, with its own vote and those of the two that are quick.
func TestFuzzySlowVoteAnswers(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.slow(func(e protocol.Envelope) bool {
			_, answer := e.Message.(*protocol.VoteAnswer)
			return answer && (e.From == idOf("b") || e.From == idOf("d") || e.From == idOf("e"))
		})
		v.succession()
	}, five...)
}

func (v *voyage) slow(late func(protocol.Envelope) bool) {
	quick := v.delay
	v.delay = func(e protocol.Envelope) (time.Duration, bool) {
		if late(e) {
			return v.between(time.Second, 2*time.Second), true
		}
		return quick(e)
	}
}

// succession stops leader after leader, and wants another one each time. While
// nobody is stopped nobody may be deposed, however late the votes come.
func (v *voyage) succession() {
	v.lead(30 * time.Second)
	on := v.load(50*time.Millisecond, 2)
	for range 3 {
		v.lead(30 * time.Second)
		v.sail(3 * time.Second)
		leaders := v.leaders
		v.sail(4 * time.Second)
		invariant.Check(v.leaders == leaders, "a leader that works was deposed by late votes")
		// Those who are quick are a bare majority, so nobody may stay away.
		l := v.lead(30 * time.Second)
		v.stop(l, 100*time.Millisecond)
		v.sail(200 * time.Millisecond)
	}
	v.lead(30 * time.Second)
	// With two away every vote is needed, also those that come when their
	// election is long over: in vain, and harmless.
	for range 2 {
		l := v.lead(30 * time.Second)
		v.stop(l, 6*time.Second)
		v.stop(v.nodes[(slices.Index(v.nodes, l)+1+v.rng.IntN(4))%5], 7*time.Second)
		v.sail(8 * time.Second)
	}
	v.lead(30 * time.Second)
	*on = false
}

// The leadership is handed over again and again under load. No hand-over costs
// an election timeout, and nothing that was acknowledged gets lost in it.
func TestFuzzyLeadershipTransfer(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.lead(3 * time.Second)
		on := v.load(20*time.Millisecond, 4)
		for range 10 {
			v.sail(v.between(50*time.Millisecond, 800*time.Millisecond))
			l := v.lead(time.Second)
			transferee := v.nodes[v.rng.IntN(len(v.nodes))]
			err := l.m.Transfer(v.now, transferee.id)
			v.settled(l)
			invariant.Check((err == nil) == (transferee != l), "transfer from %s to %s: %v", l.name, transferee.name, err)
			if err != nil {
				continue
			}
			v.sail(LAN.Election / 2)
			invariant.Check(v.leader() == transferee && l.m.state == StateFollower, "%s does not lead in half an election timeout after the transfer", transferee.name)
		}
		*on = false
	}, five...)
}

// Three members become five under load. Each newcomer is a passive, then a
// learner, then a voter; both at once, or one after the other.
func TestFuzzyGrowth(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		v.lead(3 * time.Second)
		on := v.load(10*time.Millisecond, 5)
		v.sail(time.Second)
		v.join("d")
		v.join("e")
		if v.rng.IntN(2) == 0 {
			v.grow("d", "e")
		} else {
			v.grow("d")
			v.grow("e")
		}
		v.sail(time.Second)
		*on = false
		equalVoters(v, five...)
		v.stop(v.node("a"), 30*time.Second)
		v.stop(v.node("b"), 30*time.Second)
		v.lead(5 * time.Second)
	}, "a", "b", "c")
}

// grow makes passives learners, and voters when they have caught up.
func (v *voyage) grow(names ...string) {
	v.seats(protocol.SuffrageLearner, names...)
	v.seats(protocol.SuffrageVoter, names...)
}

func (v *voyage) seats(seat protocol.Suffrage, names ...string) {
	v.reconfigure(10*time.Second, func(_ *node, c protocol.Configuration) protocol.Configuration {
		for _, name := range names {
			c = c.With(protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: seat})
		}
		return c
	})
}

func (v *voyage) without(names ...string) {
	v.reconfigure(10*time.Second, func(_ *node, c protocol.Configuration) protocol.Configuration {
		for _, name := range names {
			c = c.Without(idOf(name))
		}
		return c
	})
}

func equalVoters(v *voyage, names ...string) {
	l := v.lead(5 * time.Second)
	var got []string
	for _, id := range l.m.current.Configuration.Voters() {
		got = append(got, nameOf(id))
	}
	invariant.Check(slices.Equal(got, names), "voters: got %v, want %v", got, names)
}

// Three grow to five, then two that do not lead are removed. The leadership
// does not move; those who left do not disturb it.
func TestFuzzyAddAndRemoveFollowers(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		l := v.lead(3 * time.Second)
		on := v.load(10*time.Millisecond, 5)
		v.join("d")
		v.join("e")
		v.grow("d", "e")
		var gone, stay []string
		for _, name := range five {
			if name != l.name && len(gone) < 2 {
				gone = append(gone, name)
			} else {
				stay = append(stay, name)
			}
		}
		v.without(gone...)
		v.sail(5 * time.Second)
		invariant.Check(v.leader() == l, "the leadership moved from %s, which was not changed", l.name)
		equalVoters(v, stay...)
		*on = false
		v.flock(100 * time.Millisecond)
		v.sail(2 * time.Second)
		for _, name := range gone {
			invariant.Check(v.member(name) == nil, "%s was removed and does not know", name)
		}
	}, "a", "b", "c")
}

// The leader of five is removed. It commits its own removal, steps down, and
// another is elected.
func TestFuzzyRemoveLeader(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		l := v.lead(3 * time.Second)
		on := v.load(10*time.Millisecond, 5)
		v.sail(time.Second)
		_, err := v.cluster.change(l.name, l.m.current.Configuration.Without(l.id))
		v.settled(l)
		invariant.Check(err == nil, "removal of the leader: %v", err)
		v.sail(50 * time.Millisecond)
		invariant.Check(l.m == nil, "the removed leader is still active")
		next := v.lead(3 * time.Second)
		invariant.Check(next != l, "the removed leader leads")
		v.sail(3 * time.Second)
		invariant.Check(v.leader() == next, "the leadership moved from %s without a cause", next.name)
		*on = false
	}, five...)
}

// One of five is cut off, removed by the others, and comes back. It does not
// depose the leader, whatever it tries, and hears of its removal.
func TestFuzzyRemovePartitioned(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		l := v.lead(3 * time.Second)
		on := v.load(50*time.Millisecond, 4)
		victim := v.nodes[v.rng.IntN(len(v.nodes))]
		v.islands(map[string]int{victim.name: 1})
		if victim == l {
			v.sail(LAN.Election + 50*time.Millisecond)
		}
		v.sail(3 * time.Second)
		v.lead(3 * time.Second)
		v.without(victim.name)
		v.sail(3 * time.Second)
		l = v.lead(3 * time.Second)
		leaders := v.leaders
		v.heal()
		v.sail(5 * time.Second)
		invariant.Check(v.leader() == l && v.leaders == leaders, "%s was deposed by a member that it had removed", l.name)
		v.flock(100 * time.Millisecond)
		v.sail(2 * time.Second)
		invariant.Check(victim.m == nil, "%s was removed and does not know", victim.name)
		invariant.Check(v.leader() == l && v.leaders == leaders, "%s was deposed by a member that it had removed", l.name)
		*on = false
	}, five...)
}

// Members come and go for as long as the test runs: crashes, replacements,
// hand-overs, lost messages, and no pause of the load. At most one of five is
// away at a time, so the cluster is to work all the while.
func TestFuzzyChurn(t *testing.T) {
	fuzzy(t, func(v *voyage) {
		quick := v.delay
		v.delay = func(e protocol.Envelope) (time.Duration, bool) {
			if v.rng.IntN(100) == 0 {
				return 0, false
			}
			return quick(e)
		}
		v.flock(100 * time.Millisecond)
		v.lead(5 * time.Second)
		on := v.load(20*time.Millisecond, 5)
		next := "f"
		for range 8 {
			l := v.lead(10 * time.Second)
			n := v.nodes[v.rng.IntN(len(v.nodes))]
			switch v.rng.IntN(3) {
			case 0:
				if !n.down {
					v.stop(n, v.between(10*time.Millisecond, 2*time.Second))
				}
				v.sail(2 * time.Second)
			case 1:
				_ = l.m.Transfer(v.now, protocol.MemberID{})
				v.settled(l)
				v.sail(500 * time.Millisecond)
			case 2:
				v.replace(next)
				next = string(rune(next[0] + 1))
			}
		}
		*on = false
	}, five...)
}

// replace puts a new member into the place of one that has a vote, in one joint
// change.
func (v *voyage) replace(newcomer string) {
	v.join(newcomer)
	v.seats(protocol.SuffrageLearner, newcomer)
	old := protocol.MemberID{}
	v.reconfigure(20*time.Second, func(l *node, c protocol.Configuration) protocol.Configuration {
		if voters := c.Voters(); old.IsZero() {
			old = voters[v.rng.IntN(len(voters))]
		}
		return c.Without(old).With(protocol.ActiveMember{ID: idOf(newcomer), Name: newcomer, Suffrage: protocol.SuffrageVoter})
	})
}

// Members give up the head of their logs as they please, so that whoever was
// away, or is new, finds nobody that could send it entries: it is offered a
// checkpoint, fetches it, and goes on from there, while it is written on. Leaders
// die meanwhile, and members in the middle of an install.
func TestFuzzyCompaction(t *testing.T) {
	var installs, heads int
	fuzzy(t, func(v *voyage) {
		v.compaction()
		v.lead(3 * time.Second)
		on := v.load(40*time.Millisecond, 4)
		next := "f"
		for range 6 {
			v.lead(10 * time.Second)
			n := v.nodes[v.rng.IntN(len(v.nodes))]
			switch v.rng.IntN(3) {
			case 0:
				if !n.down {
					v.stop(n, v.between(500*time.Millisecond, 3*time.Second))
				}
			case 1:
				v.islands(map[string]int{n.name: 1})
				v.sail(v.between(500*time.Millisecond, 3*time.Second))
				v.heal()
			case 2:
				v.replace(next)
				next = string(rune(next[0] + 1))
			}
			v.sail(time.Second)
			for _, n := range v.nodes {
				if n.installing != nil && v.rng.IntN(2) == 0 {
					v.stop(n, 100*time.Millisecond)
				}
			}
		}
		*on = false
		installs, heads = installs+v.check.counts.installs, heads+v.heads
	}, five...)
	t.Logf("%d checkpoints installed, %d heads dropped", installs, heads)
	if *seedFlag == 0 && (installs < 4 || heads < 40) {
		t.Errorf("got %d installs and %d heads dropped, want 4 and 40: the test does not get there", installs, heads)
	}
}

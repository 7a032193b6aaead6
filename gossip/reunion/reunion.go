// Package reunion decides whom of its flock a member looks for: whom it does not hear and
// should, where and how often it tries them, what it remembers for its next start, and when
// it forgets. What it hears comes from memberlist, or in the simulator from what stands for
// that; both run this core.
//
// memberlist speaks to the dead for half a minute, then forgets them. Two parts of a flock
// that were apart for longer do not know of each other any more, and stay apart, each
// content with itself. So every member remembers whom it does not hear, and tries them, at
// random.
//
// A Flock has no clock, no goroutine and no network: time comes in as an argument, and who
// calls it carries its tries out.
package reunion

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// triesPerTarget is how many tries in each interval a member gets that is
	// not heard, from all the others together: once one of them has found it, they
	// all hear of it. What a dead member costs does not grow with the flock.
	triesPerTarget = 2
	// triesMax bounds the tries that are under way; each has a stream of its own.
	triesMax = 24
	// triesEach bounds those to one target: the second is on its way when the
	// first, which began before the link worked again, still waits.
	triesEach = 2
	// firstTries is how many are tried at the start, one after the other, until somebody is
	// heard: firstShare of an interval apart. One that answers is enough, and each gives all that
	// it knows; many members that start at once would have their lists a dozen times.
	firstTries, firstShare = 4, 4
	// startExchanges is how many exchanges with somebody who is heard follow at the start: news of
	// who started at about the same time reaches each of the others by chance only, and in a
	// small flock one in some hundred times it does not.
	startExchanges = 2
	// exchangesMax bounds the exchanges of a try. The first tells both sides whether
	// they are thought dead, and they contradict; if so the second tells each that the
	// other has. A third is for a second that overtook the first.
	exchangesMax = 3
	// splitShare is the share of the members, one in so many, that are not heard,
	// from which on it is rather a split than deaths; see Settled, and
	// contradictEvery for how often that is done at most.
	splitShare, contradictEvery = 5, 5 * time.Second
	// newsPerInterval bounds the tries because of news in an interval, beside
	// one for each member.
	newsPerInterval = 4
)

// Config says who looks for others, and how often.
type Config struct {
	Self protocol.MemberID
	// Interval is the mean time between two tries of members that are not heard.
	Interval time.Duration
	Rand     *rand.Rand
	// Known are members that were heard before this start, and Addresses where
	// else there may be some. Those that are not heard are tried, at random and
	// for ever: the addresses, members for 24 h.
	Known     []Known
	Addresses []string
}

// Flock is a member's view of the others: who lives, who is not heard, and who is tried. It
// is not safe for concurrent use.
type Flock struct {
	self     protocol.MemberID
	rand     *rand.Rand
	interval time.Duration

	live   map[protocol.MemberID]protocol.Peer
	memory memory
	// claims are other addresses at which live members' ids were announced:
	// restarts that came before the death was noticed. Who died is asked there.
	claims map[protocol.MemberID]string
	free   []string // claimed addresses whose ids have died meanwhile

	wake     protocol.Instant
	underway int
	latest   protocol.Instant    // when the last one began
	begun    int                 // of the tries of the start
	checked  int                 // of the exchanges that follow
	denied   int                 // how often this member has heard that it is thought dead
	newsLeft int                 // tries because of news that are left in this interval
	streamed []protocol.MemberID // see Streamed
	// contradicted is when a split was last contradicted, if split says that one was.
	contradicted protocol.Instant
	split        bool
}

// Try is an attempt to exchange all that is known with whoever is at some addresses.
type Try struct {
	ID protocol.MemberID // zero: an address that was given
	// Addresses are where it may be; their hosts may be names.
	Addresses []string
	denied    int // see Flock
}

// New returns a flock of which nobody is heard so far.
func New(now protocol.Instant, c Config) *Flock {
	return &Flock{
		self: c.Self, rand: c.Rand, interval: c.Interval, wake: now, newsLeft: newsPerInterval,
		live: make(map[protocol.MemberID]protocol.Peer), claims: make(map[protocol.MemberID]string),
		memory: newMemory(now, c.Known, c.Addresses),
	}
}

// Hears reports whether a member is taken to be alive.
func (f *Flock) Hears(id protocol.MemberID) bool {
	_, live := f.live[id]
	return live
}

// Peer returns what a live member announces.
func (f *Flock) Peer(id protocol.MemberID) (peer protocol.Peer, live bool) {
	peer, live = f.live[id]
	return peer, live
}

// Size returns how many members are heard.
func (f *Flock) Size() int { return len(f.live) }

// Trying returns how many tries are under way.
func (f *Flock) Trying() int { return f.underway }

// Lost returns what is remembered of a member that is not heard.
func (f *Flock) Lost(id protocol.MemberID) (Known, bool) {
	if l := f.memory.of(id); l != nil {
		return l.Known, true
	}
	return Known{}, false
}

// Heard takes what a live member announces, and returns where it was heard before.
func (f *Flock) Heard(peer protocol.Peer) (was string) {
	if k, live := f.live[peer.ID]; live {
		was = k.Address
	} else if l := f.memory.of(peer.ID); l != nil {
		was = l.Number
	}
	f.live[peer.ID] = peer
	f.memory.found(&peer)
	return was
}

// Died takes note that a member is not heard any more, dead or by its own will. It reports
// whether it was heard, and so may have left (see Unsettled), and whether its id was claimed
// (see Freed).
func (f *Flock) Died(now protocol.Instant, id protocol.MemberID) (heard, claimed bool) {
	peer, heard := f.live[id]
	if heard {
		delete(f.live, id)
		f.memory.lose(knownOf(&peer, now), false)
	}
	address, claimed := f.claims[id]
	if claimed {
		delete(f.claims, id)
		f.free = append(f.free, address)
	}
	return heard, claimed
}

// Moved says that this member begins anew at another address: nobody is heard, and all who
// were are looked for. It returns those.
func (f *Flock) Moved(now protocol.Instant) []protocol.Peer {
	before := f.Peers()
	for i := range before {
		delete(f.live, before[i].ID)
		f.memory.lose(knownOf(&before[i], now), true)
	}
	clear(f.claims)
	f.begun, f.checked, f.wake = 0, 0, now
	return before
}

// Claimed takes note that a live member's id is claimed at another address, and reports
// whether that is news. Only the ids of the living are, so that there are no more claims
// than members.
func (f *Flock) Claimed(id protocol.MemberID, address string) bool {
	news := f.Hears(id) && f.claims[id] != address
	if news {
		f.claims[id] = address
	}
	return news
}

// Freed returns, once, the addresses that claimed ids whose deaths were noticed afterwards:
// they were refused, and would not ask again for long, so they are asked.
func (f *Flock) Freed() []string {
	list := f.free
	f.free = nil
	return list
}

// Unsettled returns the dead of whom nobody knows whether they have left by their own will.
// An exchange with oneself tells: see Left, and Settled.
func (f *Flock) Unsettled() (ids []protocol.MemberID) {
	for _, l := range f.memory.lost {
		if !l.settled {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// Settled says that this was found out. It reports whether this member is to announce
// itself anew: whoever does not hear so many is not heard by as many, which hold it dead.
// That is news of this member that is newer than that: when two sides meet, the first
// exchange has it. Otherwise each member of either side had to hear of its death, and to
// deny it, and all had to hear of that.
func (f *Flock) Settled(now protocol.Instant, ids []protocol.MemberID) (contradict bool) {
	for _, id := range ids {
		if l := f.memory.of(id); l != nil {
			l.settled = true
		}
	}
	if splitShare*len(f.memory.lost) < len(f.live)+len(f.memory.lost) || f.split && now.Sub(f.contradicted) <= contradictEvery {
		return false
	}
	f.split, f.contradicted = true, now
	return true
}

// Deadline is when Tick wants to be called.
func (f *Flock) Deadline() protocol.Instant { return f.wake }

// Tick returns a try, if there is one to make now.
func (f *Flock) Tick(now protocol.Instant) (t Try, ok bool) {
	if now < f.wake {
		return Try{}, false
	}
	f.wake = now.Add(f.interval/2 + time.Duration(f.rand.Int64N(max(1, int64(f.interval)))))
	if len(f.live) == 0 && f.begun < firstTries {
		f.begun++
		f.wake = now.Add(f.interval / firstShare)
	}
	f.newsLeft = newsPerInterval
	f.memory.expire(now)
	return f.tryAny(now)
}

// exchangeEach is for how many members known an exchange is made in each interval: its
// bytes grow with their number, so that with more of them there are fewer.
const exchangeEach = 50

// Streamed says to which members datagrams do not get through, though streams do. memberlist
// tells its news in datagrams; it probes such members over streams by itself, but would tell
// them only in the next exchange of all that is known, half a minute later. So there is one of
// those in each interval, with one of them. Where datagrams get through to most, there are
// fewer: the member that they do not get to tells and hears enough by its own exchanges, and
// all others' with it would grow with their number. The list is not written to.
func (f *Flock) Streamed(ids []protocol.MemberID) { f.streamed = ids }

// Exchange returns where the next exchange of Streamed, or of a start, is to be, empty for none,
// and the pause after it.
func (f *Flock) Exchange() (address string, pause time.Duration) {
	pause = f.interval * time.Duration(1+len(f.live)/exchangeEach)
	if len(f.live) > 0 && f.checked < startExchanges {
		f.checked++
		peers := f.Peers()
		address = peers[f.rand.IntN(len(peers))].Address
	} else if n := len(f.streamed); n > 0 && f.rand.IntN(max(n, len(f.live))) < n {
		address = f.live[f.streamed[f.rand.IntN(n)]].Address // empty for one that is gone
	}
	return address, pause/2 + time.Duration(f.rand.Int64N(max(1, int64(pause))))
}

// tryAny tries a member that is not heard, or, as often, an address that was
// given and at which nobody who is heard lives. The more members there are that
// do the same, the less often.
func (f *Flock) tryAny(now protocol.Instant) (t Try, ok bool) {
	members, addresses := f.memory.idle(f.live)
	wanted := triesPerTarget * float64(len(members)+len(addresses))
	if f.rand.Float64()*float64(len(f.live)+1) >= wanted || f.underway == triesMax {
		return Try{}, false
	}
	if len(members) == 0 || len(addresses) > 0 && f.rand.IntN(2) == 0 {
		g := addresses[f.rand.IntN(len(addresses))]
		g.trying++
		f.underway, f.latest = f.underway+1, now
		return Try{Addresses: []string{g.address}, denied: f.denied}, true
	}
	return f.begin(now, members[f.rand.IntN(len(members))]), true
}

// begin returns a lost member as a target.
func (f *Flock) begin(now protocol.Instant, l *lost) Try {
	l.trying++
	f.underway, f.latest = f.underway+1, now
	return Try{ID: l.ID, Addresses: f.memory.addresses(l), denied: f.denied}
}

// News says that something came from a member, by whatever way. If it is thought
// dead, that is news: it is tried at once where it was when it was last heard.
// Where the message came from does not matter, so nobody can be made to send
// anything to anywhere. Whoever hears nobody so far waits for a try that has just begun: it
// brings all that the other one knows, unless that one is gone.
func (f *Flock) News(now protocol.Instant, from protocol.MemberID) (t Try, ok bool) {
	l := f.memory.of(from)
	if f.Hears(from) || l == nil || len(f.live) == 0 && f.underway > 0 && now < f.latest.Add(f.interval/firstShare) || l.trying >= triesEach || f.newsLeft == 0 || f.underway == triesMax || l.tried && now.Sub(l.news) < f.interval {
		return Try{}, false
	}
	f.newsLeft--
	l.tried, l.news = true, now
	return f.begin(now, l), true
}

// Choose draws one of the addresses that a try's were resolved to, this member's own
// excepted.
func (f *Flock) Choose(at []string, own string) (address string, ok bool) {
	others := slices.DeleteFunc(slices.Clone(at), func(a string) bool { return a == own })
	if len(others) == 0 {
		return "", false
	}
	return others[f.rand.IntN(len(others))], true
}

// HeldDead says that another member thinks this one dead, or did, as its list has it.
func (f *Flock) HeldDead() { f.denied++ }

// Again reports whether a try of which some exchanges went well wants another one.
func (f *Flock) Again(t Try, exchanges int) bool {
	return exchanges < 2 && f.denied != t.denied || exchanges < exchangesMax && !t.ID.IsZero() && !f.Hears(t.ID)
}

// Tried takes note of a try's end, and of what its address was resolved to, if
// it was.
func (f *Flock) Tried(t Try, at []string) {
	f.underway--
	if !t.ID.IsZero() {
		if l := f.memory.of(t.ID); l != nil && l.trying > 0 { // or it was found and lost meanwhile
			l.trying--
		}
		return
	}
	for i := range f.memory.given {
		if g := &f.memory.given[i]; g.address == t.Addresses[0] {
			g.trying--
			if len(at) > 0 {
				g.at = at
			}
		}
	}
}

// Means takes note of what a name of a member that is not heard means now; empty: where it
// was heard. It reports whether that is another address than it meant so far.
func (f *Flock) Means(id protocol.MemberID, name, now string) (news bool) {
	l := f.memory.of(id)
	if l == nil {
		return false
	}
	news = now != "" && l.means[name] != now
	if l.means == nil {
		l.means = map[string]string{}
	}
	l.means[name] = now
	return news
}

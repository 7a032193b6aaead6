package gossip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// What fits into a datagram goes as one, as long as datagrams come back: firewalls often
// let TCP through and not UDP. The evidence is of each other member by itself, of both
// directions at once, and costs nothing while all is well: the answers to HAVEs.
const (
	// Datagrams to a member are doubted when it is asked once more after so many questions in
	// a row that it has not answered, for so long at least.
	doubtAsks, doubtAfter = 8, 500 * time.Millisecond
	// A member that has not answered is asked again before others, after askAgain. Where
	// patienceTrips round trips take longer, all of these times are that long.
	askAgain, patienceTrips = 200 * time.Millisecond, 4
	// echoEvery is between two pairs of echoes to a member that is doubted, and echoPauseMax
	// when it has been clear for a while that only streams get through.
	echoEvery, echoPauseMax = 250 * time.Millisecond, 5 * time.Second
	// So many pairs in a row of which only the stream's echo came back prove that it is
	// datagrams that are lost, and not the member that is gone.
	echoesMissed = 8
	// So many datagrams have to come back in a row where that was so. Where it was only
	// doubted one is enough.
	echoesBack = 3
	// Who answers neither so many times in a row is gone, or older than echoes: all is as
	// at first.
	echoesSilent = 10
	// The answers to so many pairs count. While nothing comes back so many are sent before
	// that is given up, so that whatever comes first makes the others more patient.
	echoesKept = echoesSilent
	// Pairs to a member that is lost, and to whom nothing was streamed since the last one, are
	// echoRest apart. The first thing that is streamed has one follow within echoPauseMax.
	echoRest = 30 * time.Second
	// echoToldFor is for how long another member's word counts that datagrams do not come
	// back to it. It repeats that with each pair.
	echoToldFor = 3 * echoRest
	// Who is lost is gathered for tellAfter before it is said, and said at most once in
	// tellEvery, which doubles up to tellEveryMax while there are more.
	tellAfter, tellEvery, tellEveryMax = time.Second, 10 * time.Second, 10 * time.Minute
	// echoSeed makes the numbers of echoes others than the other choices of a seed.
	echoSeed = 0xec40
	// toldNames is how many members a line for people names.
	toldNames = 8
)

// echoPair is an echo by datagram and one by stream.
type echoPair struct {
	number               uint64
	at                   protocol.Instant
	byDatagram, byStream bool // what has come back of it
	judged               bool
}

// carrier is what is known of the datagrams between this member and another one.
type carrier struct {
	unanswered int              // questions in a row
	since      protocol.Instant // the first of them
	last       protocol.Instant // the last of them

	// doubted says that all goes over the stream, and lost that this is proven.
	doubted, lost bool
	at            protocol.Instant // of the next pair of echoes
	pause         time.Duration
	// pairs are the last of them, echoesKept at most: an answer may come when the next one
	// is under way.
	pairs                []echoPair
	missed, back, silent int // pairs in a row
	// used says that something was streamed since the last pair.
	used bool

	// told is what the other one says, until toldUntil.
	told      protocol.CarrierState
	toldUntil protocol.Instant

	// said is set while people take datagrams for lost, and isBack when something proves
	// that they come back.
	said, isBack bool
}

// streams reports whether what could be a datagram goes over the stream.
func (c *carrier) streams() bool { return c.doubted || c.told != protocol.DatagramsWork }

// isLost reports whether it is known that datagrams do not come back.
func (c *carrier) isLost() bool { return c.lost || c.told == protocol.DatagramsLost }

// rests reports whether no pair is worth its cost: it is proven that datagrams are lost, the
// last pair has not come back, and nothing goes to the member that could be one.
func (c *carrier) rests(now protocol.Instant) bool {
	return c.lost && c.back == 0 && !c.used && now.Sub(c.pairs[len(c.pairs)-1].at) < echoRest
}

func (c *carrier) state() protocol.CarrierState {
	switch {
	case c.lost:
		return protocol.DatagramsLost
	case c.doubted:
		return protocol.DatagramsDoubted
	}
	return protocol.DatagramsWork
}

// carriers decides how messages go to each member.
//
// Who doubts tells the other one, over the stream: so both send by stream, also where
// datagrams are lost in one direction only, and a leader, which asks nobody, knows it, too.
type carriers struct {
	base
	rng *rand.Rand // of its own: nothing else is drawn otherwise because of it

	next   protocol.Instant // when tick has to look
	tellAt protocol.Instant
	toldAt protocol.Instant // when people were told last
	// quiet is for how long nothing is said of losses after that.
	quiet time.Duration
	// streamed are the members to whom all goes by stream, by id, and text says which of
	// them are lost; both are made anew when they change, and not written to.
	streamed []protocol.MemberID
	text     string
}

// asked takes note of a question. One that goes over the stream because the other one has
// said that datagrams are lost counts as well: a member that has forgotten that since, or was
// started anew, answers as a datagram, and who leads asks nothing by which it would find out.
func (s *carriers) asked(now protocol.Instant, m *member) {
	c := &m.carrier
	if c.doubted {
		return
	}
	if c.unanswered == 0 {
		c.since = now
	}
	c.last = now
	if c.unanswered++; c.unanswered > doubtAsks && now.Sub(c.since) >= c.patience(m.rtt, doubtAfter) {
		s.doubt(now, m)
	}
}

// answered takes note of the answer to a question.
func (s *carriers) answered(m *member) { m.carrier.unanswered = 0 }

// patience is how long an answer of a member may take: some round trips, and least at
// least.
func (c *carrier) patience(rtt, least time.Duration) time.Duration {
	return max(least, min(patienceTrips*rtt, echoPauseMax))
}

// doubt has all go over the stream to a member, and finds out what works.
func (s *carriers) doubt(now protocol.Instant, m *member) {
	c := &m.carrier
	c.doubted, c.pause, c.pairs, c.missed, c.back, c.silent = true, c.patience(m.rtt, echoEvery), nil, 0, 0, 0
	s.try(now, m)
	s.changed(now)
}

// try sends a pair of echoes, after it has judged the last one.
func (s *carriers) try(now protocol.Instant, m *member) {
	c := &m.carrier
	if len(c.pairs) > 0 {
		s.judge(now, m)
	}
	if !c.doubted {
		return
	}
	p := echoPair{number: max(s.rng.Uint64(), 1), at: now}
	if len(c.pairs) == echoesKept {
		c.pairs = append(c.pairs[:0], c.pairs[1:]...)
	}
	c.pairs, c.used = append(c.pairs, p), false
	s.outbox.send(m.id, &protocol.StreamEcho{Number: p.number, State: c.state()})
	s.outbox.send(m.id, &protocol.Echo{Number: p.number})
	if c.lost && c.back == 0 {
		c.pause = min(2*c.pause, echoPauseMax)
	} else {
		c.pause = c.patience(m.rtt, echoEvery)
	}
	c.at = now.Add(c.pause)
	s.next = min(s.next, c.at)
}

// judge takes from the last pair what it says by now. A datagram that came back was counted
// when it came.
func (s *carriers) judge(now protocol.Instant, m *member) {
	c := &m.carrier
	p := &c.pairs[len(c.pairs)-1]
	p.judged = true
	switch {
	case p.byDatagram:
		c.missed, c.silent = 0, 0
	case p.byStream:
		s.miss(now, m)
	default:
		c.back, c.silent = 0, c.silent+1
		if c.silent >= echoesSilent && !c.lost {
			s.works(now, m)
		}
	}
}

// miss counts a pair of which only the stream's echo came back.
func (s *carriers) miss(now protocol.Instant, m *member) {
	c := &m.carrier
	c.missed, c.back, c.silent = c.missed+1, 0, 0
	if c.missed == echoesMissed && !c.lost {
		c.lost = true
		s.changed(now)
	}
}

// answer returns the pair of which something came back, nil for none of the last, and takes
// from it how long that takes, so that the next ones are waited for long enough.
func (s *carriers) answer(now protocol.Instant, m *member, number uint64) *echoPair {
	if m == nil {
		return nil
	}
	i := slices.IndexFunc(m.carrier.pairs, func(p echoPair) bool { return p.number == number })
	if i < 0 {
		return nil
	}
	p := &m.carrier.pairs[i]
	if !p.byDatagram && !p.byStream {
		s.members.took(m, now.Sub(p.at))
	}
	return p
}

// works has what fits go as datagrams again.
func (s *carriers) works(now protocol.Instant, m *member) {
	c := &m.carrier
	c.isBack = c.isBack || c.lost
	c.doubted, c.lost, c.unanswered, c.pairs = false, false, 0, nil
	s.outbox.send(m.id, &protocol.StreamEcho{State: protocol.DatagramsWork})
	s.changed(now)
}

// onEcho answers as the question came.
func (s *carriers) onEcho(now protocol.Instant, from protocol.MemberID, e *protocol.Echo) {
	if s.members.mayAnswer(now, from) {
		s.outbox.send(from, &protocol.EchoAnswer{Number: e.Number})
	}
}

func (s *carriers) onEchoAnswer(now protocol.Instant, from protocol.MemberID, e *protocol.EchoAnswer) {
	m := s.members.get(from)
	p := s.answer(now, m, e.Number)
	if p == nil || p.byDatagram {
		return
	}
	c := &m.carrier
	p.byDatagram = true
	if p.judged {
		c.missed, c.silent = 0, 0
	}
	if c.back++; c.back >= echoesBack || !c.lost {
		s.works(now, m)
		return
	}
	c.at = min(c.at, now.Add(c.patience(m.rtt, echoEvery)))
	s.next = min(s.next, c.at)
}

// onStreamEcho answers over the stream, also who is not heard of yet, as onEcho does: what is
// found out must not depend on it. Only a member's word is taken.
func (s *carriers) onStreamEcho(now protocol.Instant, from protocol.MemberID, e *protocol.StreamEcho) {
	if e.Number != 0 && s.members.mayAnswer(now, from) {
		s.outbox.send(from, &protocol.StreamEchoAnswer{Number: e.Number})
	}
	m := s.members.get(from)
	if m == nil {
		return
	}
	c := &m.carrier
	if c.toldUntil = now.Add(echoToldFor); c.told != e.State {
		c.told, c.unanswered = e.State, 0
		c.isBack = e.State == protocol.DatagramsWork
		s.changed(now)
	}
	s.next = min(s.next, c.toldUntil)
}

func (s *carriers) onStreamEchoAnswer(now protocol.Instant, from protocol.MemberID, e *protocol.StreamEchoAnswer) {
	m := s.members.get(from)
	p := s.answer(now, m, e.Number)
	if p == nil || p.byStream {
		return
	}
	p.byStream = true
	if p.judged && !p.byDatagram {
		s.miss(now, m)
	}
}

// tick does what is due.
func (s *carriers) tick(now protocol.Instant) {
	for _, m := range s.members.all {
		c := &m.carrier
		if c.told != protocol.DatagramsWork && now >= c.toldUntil {
			c.told = protocol.DatagramsWork
			c.said = c.said && (c.isLost() || c.isBack) // silence proves nothing
			s.changed(now)
		}
		switch {
		case !c.doubted || now < c.at:
		case c.rests(now):
			c.at = now.Add(c.pause)
		default:
			s.try(now, m)
		}
	}
	if now >= s.tellAt {
		s.tell(now)
	}
	s.next = s.tellAt
	for _, m := range s.members.all {
		c := &m.carrier
		if c.doubted {
			s.next = min(s.next, c.at)
		}
		if c.told != protocol.DatagramsWork {
			s.next = min(s.next, c.toldUntil)
		}
	}
}

// changed takes note that messages go to somebody in another way, or that somebody has
// come or gone.
func (s *carriers) changed(now protocol.Instant) {
	var streamed []protocol.MemberID
	var lost []*member
	news := false
	for _, m := range s.members.all {
		c := &m.carrier
		if c.streams() {
			streamed = append(streamed, m.id)
		}
		if c.isLost() {
			c.isBack = false
			lost = append(lost, m)
		}
		news = news || c.isNews()
	}
	s.streamed, s.text = streamed, lostText(lost)
	if !news {
		return
	}
	if s.tellAt == never && now >= s.toldAt.Add(2*s.quiet) {
		s.quiet = 0
	}
	// That all is well again does not wait for long, however often losses were told of.
	quiet := s.quiet
	if len(lost) == 0 {
		quiet = tellEvery
	}
	if s.tellAt == never || len(lost) == 0 {
		s.tellAt = min(s.tellAt, max(now.Add(tellAfter), s.toldAt.Add(quiet)))
		s.next = min(s.next, s.tellAt)
	}
}

// isNews reports whether people take it for otherwise than it is known to be.
func (c *carrier) isNews() bool {
	if c.said {
		return c.isBack && !c.isLost()
	}
	return c.isLost()
}

// tell tells people of what they do not know yet. Each time that it tells of losses it is
// quiet for longer afterwards, until all is well: in a large flock there are new ones for a long while.
func (s *carriers) tell(now protocol.Instant) {
	s.tellAt = never
	var lost, known, back []*member
	for _, m := range s.members.all {
		switch c := &m.carrier; {
		case !c.isNews() && c.isLost():
			known = append(known, m)
		case !c.isNews():
		case c.said:
			back = append(back, m)
			c.said = false
		default:
			lost = append(lost, m)
			c.said = true
		}
	}
	if len(lost) > 0 {
		s.outbox.event(protocol.EventDatagramsLost, protocol.MemberID{}, s.self.LastIndex, lostText(append(lost, known...)))
		s.quiet = min(max(2*s.quiet, tellEvery), tellEveryMax)
	}
	if len(back) > 0 {
		s.outbox.event(protocol.EventDatagramsBack, protocol.MemberID{}, s.self.LastIndex, "UDP gets through again between this member and "+namesOf(back))
	}
	if len(lost)+len(back) > 0 {
		s.toldAt = now
	}
	if len(lost)+len(known) == 0 {
		s.quiet = min(s.quiet, tellEvery) // people take all for well: what comes next is no more of the same
	}
}

// lostText says between which members datagrams are lost, for people; "": nowhere.
func lostText(lost []*member) string {
	if len(lost) == 0 {
		return ""
	}
	return fmt.Sprintf("UDP does not get through between this member and %s, TCP does: entries and digests go over streams meanwhile, which costs more; let UDP through at these ports, both ways", namesOf(lost))
}

// namesOf are members and where their datagrams go, for people.
func namesOf(list []*member) string {
	var names []string
	for _, m := range list[:min(len(list), toldNames)] {
		names = append(names, fmt.Sprintf("%s at %s", m.peer.Name, m.peer.Address))
	}
	text := strings.Join(names, ", ")
	if n := len(list) - len(names); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// Streamed are the members to whom what could be datagrams goes over streams, sorted, and
// text says of which of them it is known that datagrams do not come back, for people. The
// list is not written to, and another one follows.
func (c *Core) Streamed() (members []protocol.MemberID, text string) {
	return c.carriers.streamed, c.carriers.text
}

package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
)

const (
	// A member is far behind while it installs a checkpoint; when it lacks more
	// entries than lie between two checkpoints, and more than farEntries; or when it
	// lacks what it has known of for farLag. It is level again at a quarter of
	// those entries, with nothing that it has known of for levelLag.
	farEntries       = 4096
	farLag, levelLag = 10 * time.Second, 2 * time.Second
	// lookEvery is how often a member looks where the others are, and trendEvery
	// after how long it looks whether it has come nearer.
	lookEvery, trendEvery = 250 * time.Millisecond, 5 * time.Second
	// looksMax is for how many looks it is remembered what was known then: more
	// than farLag.
	looksMax = 64
	// levelSoon is within what time a member should be level at the rate that it is
	// given: else it asks for more.
	levelSoon = 10 * time.Second
	// pressedPause is between two complaints of one that does not get level.
	pressedPause = 30 * time.Second
)

// behind is how far this member's state is behind what it knows to be committed.
type behind struct {
	ground
	install *installation
	gossip  interface {
		Heard() []gossip.Heard
		Age(protocol.Instant, protocol.Index) (time.Duration, bool)
	}

	next protocol.Instant
	high protocol.Index // the highest that is known to be committed
	// looks are what was known when, oldest first.
	looks []look
	far   bool
	// proven says that this member has known a bound on the age of its state since
	// it started: before, it may be far behind without knowing.
	proven bool
	// caughtUp is the highest index that was known to be committed then, as soon as a
	// leader was known as well; 0: not yet.
	caughtUp protocol.Index
	// begun is where this member was when it looked for its trend, since when.
	begun trend
	pace  pace
	// pressed says that it does not get level at the rate that it is given. It
	// stays so until it is level.
	pressed bool
	said    protocol.Instant // when that was told
	text    string           // of the last look
}

type look struct {
	at   protocol.Instant
	high protocol.Index
}

// trend is where a member was at a moment.
type trend struct {
	at            protocol.Instant
	installing    protocol.Index
	applied, high protocol.Index
	left          int
}

// pace is what came of one trend: entries, or bytes of chunks, per second.
type pace struct {
	known          bool
	takes, grows   float64 // entries
	bytes, toFetch float64
}

// prove notes that the age of the state is known, for the first time, and where the
// others are then.
func (b *behind) prove(now protocol.Instant, leader protocol.MemberID) {
	if !b.proven && b.standing.may(mayVouch) {
		_, b.proven = b.gossip.Age(now, b.log.applied)
	}
	if b.proven && b.caughtUp == 0 && !leader.IsZero() {
		b.caughtUp = max(1, b.known())
	}
}

// look finds out how far behind this member is.
func (b *behind) look(now protocol.Instant, distance protocol.Index) {
	if now < b.next {
		return
	}
	b.next = now.Add(lookEvery)
	b.high = b.known()
	b.note(now)
	gap, lag := b.gap(b.log.applied), b.lag(now, b.log.applied)
	limit := max(farEntries, distance)
	installs := b.install.Phase != install.None || !b.standing.may(mayApply)
	was := b.far
	switch {
	case installs || gap > limit || lag > farLag:
		b.far = true
	case gap <= limit/4 && lag <= levelLag:
		b.far, b.pressed, b.pace = false, false, pace{}
	}
	if b.far != was {
		b.begun = b.trendNow(now)
		text := "level again"
		if b.far {
			text = b.describe(now)
		}
		b.out.event(protocol.EventBehind, text)
	}
	if is := b.trendNow(now); is.installing != b.begun.installing {
		b.begun, b.pace = is, pace{} // what went before says nothing of it
	}
	if b.far && now >= b.begun.at.Add(trendEvery) {
		b.followTrend(now)
	}
	b.text = ""
	if b.far {
		b.text = b.describe(now)
	}
}

// note remembers since when what is known has been known. Of what was said to be committed and is
// known no more, because whoever said so has taken it back or is gone, only the part counts that still is.
func (b *behind) note(now protocol.Instant) {
	n := len(b.looks)
	for ; n > 0 && b.looks[n-1].high > b.high; n-- {
		if n == 1 || b.looks[n-2].high < b.high {
			b.looks[n-1].high = b.high
			break
		}
	}
	if b.looks = b.looks[:n]; n > 0 && b.looks[n-1].high >= b.high {
		return
	}
	if n == looksMax {
		b.looks = slices.Delete(b.looks, 0, 1)
	}
	b.looks = append(b.looks, look{now, b.high})
}

// Known returns the highest index that this member knows to be committed: its own,
// or what a voter that the log names said.
func (r *Replica) Known() protocol.Index { return r.behind.known() }

func (b *behind) known() protocol.Index { return max(b.log.commit, b.highestHeard()) }

// hurry has it looked where this member is at once.
func (b *behind) hurry(now protocol.Instant) { b.next = now }

// highestHeard is the highest index that a voter said it holds as committed.
// Nobody else is believed: whoever claims what nobody has would make all others
// think that they are behind.
func (b *behind) highestHeard() protocol.Index {
	var high, highPeer protocol.Index
	conf := b.log.latest()
	for _, h := range b.gossip.Heard() {
		if conf.IsVoter(h.ID) {
			high = max(high, h.LastIndex)
		}
		if p := b.flock.find(h.ID); p != nil && p.Role == protocol.RoleActive {
			highPeer = max(highPeer, h.LastIndex)
		}
	}
	if high == 0 && b.log.commit == 0 {
		return highPeer // a newcomer knows no configuration yet
	}
	return high
}

// gap is how many entries are lacking.
func (b *behind) gap(applied protocol.Index) protocol.Index {
	if b.high <= applied {
		return 0
	}
	return b.high - applied
}

// lag is for how long this member has known of something that it lacks.
func (b *behind) lag(now protocol.Instant, applied protocol.Index) time.Duration {
	for _, x := range b.looks {
		if x.high > applied {
			return now.Sub(x.at)
		}
	}
	return 0
}

func (b *behind) trendNow(now protocol.Instant) trend {
	t := trend{at: now, applied: b.log.applied, high: b.high}
	if x := b.install; x.Phase == install.Fetches {
		t.installing, t.left = x.D.Index, x.Left()
	}
	return t
}

// followTrend looks whether this member has come nearer, and asks for more, aloud,
// if it does not get level soon at this rate while the log grows.
func (b *behind) followTrend(now protocol.Instant) {
	was, is := b.begun, b.trendNow(now)
	b.begun = is
	seconds := is.at.Sub(was.at).Seconds()
	p := pace{known: true, grows: float64(is.high-min(was.high, is.high)) / seconds}
	switch {
	case is.installing != 0:
		each := float64(b.install.D.Bytes) / float64(max(b.install.Chunks(), 1))
		p.bytes, p.toFetch = each*float64(max(was.left-is.left, 0))/seconds, each*float64(is.left)
	case b.install.Phase == install.None && b.standing.may(mayApply):
		p.takes = float64(is.applied-min(was.applied, is.applied)) / seconds
	default:
		return // the state is built, or a checkpoint is looked for
	}
	b.pace = p
	if p.grows > 0 && !p.soon(b.gap(b.log.applied)) {
		if b.pressed && now < b.said.Add(pressedPause) {
			return
		}
		b.pressed, b.said = true, now
		b.out.event(protocol.EventPressed, b.describe(now)+"; it asks the others for more")
	}
}

// soon reports whether a member that lacks so many entries, or bytes of a
// checkpoint, gets there soon enough.
func (p *pace) soon(gap protocol.Index) bool {
	if p.toFetch > 0 {
		return p.bytes*levelSoon.Seconds() >= p.toFetch
	}
	return (p.takes-p.grows)*levelSoon.Seconds() >= float64(gap)
}

// describe says how far behind this member is, and how it goes on.
func (b *behind) describe(now protocol.Instant) string {
	text := fmt.Sprintf("applied %d of %d, %d entries behind", b.log.applied, b.high, b.gap(b.log.applied))
	if lag := b.lag(now, b.log.applied); lag >= time.Second {
		text += fmt.Sprintf(", for %v at least", lag.Round(time.Second))
	}
	named, _, _ := b.log.role.heeds(now)
	switch x, p := b.install, &b.pace; {
	case x.Phase == install.Begins || x.Phase == install.Fetches:
		text += fmt.Sprintf("; fetches the checkpoint at %d, %d of %d chunks are to come", x.D.Index, x.Left(), x.Chunks())
		if p.known && p.toFetch > 0 {
			text += fmt.Sprintf(", %.1f MiB at %.1f MiB/s", p.toFetch/(1<<20), p.bytes/(1<<20))
		}
		if p.known {
			text += fmt.Sprintf(", while the log grows by %.0f entries a second", p.grows)
		}
	case x.Phase != install.None:
		text += fmt.Sprintf("; builds the state of the checkpoint at %d", x.D.Index)
	case !b.standing.may(mayApply) && b.log.alone(named):
		text += "; its checkpoints do not reach its log, and it is the only voter: it waits for a passive member that has one; if there is none, " +
			"stop it and put the folder checkpoints of its directory back, or ask starling recover with the directories of all members, passive ones too"
	case !b.standing.may(mayApply):
		text += "; looks for a checkpoint of the others"
	case p.known:
		text += fmt.Sprintf("; takes %.0f entries a second while the log grows by %.0f", p.takes, p.grows)
		if p.takes <= p.grows {
			text += ", so that it does not get level"
		}
	}
	return text
}

// needs returns which entry of the log this member needs next, if it is far
// behind: others keep the log from there on for a while.
func (b *behind) needs() protocol.Index {
	switch {
	case !b.far:
		return 0
	case b.install.Phase != install.None:
		return b.install.D.Index + 1 // also while the log begins anew, and nothing is fetched any more
	case !b.standing.may(mayApply):
		return 0
	}
	return min(b.log.commit, b.log.tail.last()) + 1
}

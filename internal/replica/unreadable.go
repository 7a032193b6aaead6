package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

const (
	// A place that cannot be read is tried again after readPause, doubled each time up
	// to readPauseMax. One that fails again within readPauseMax of a try that went well
	// is still the same trouble.
	readPause, readPauseMax = 100 * time.Millisecond, 30 * time.Second
	// placesMax is how many places are told apart; beyond, the last one grows.
	placesMax = 64
	// sayPause is between two reports: a disk that fails as a whole is one report, and
	// not one for each record.
	sayPause = 10 * time.Second
)

// unreadable are the places of its log that this member cannot read, in order.
//
// Whoever needs entries of one, to feed or to apply, does not read there: the place
// is tried again by itself, at its own pace, so that a bad disk costs one read at a
// time and is reported once. Where a checkpoint covers a place, others are fed as if
// the log began above it.
type unreadable struct {
	ground
	reads *fetches
	kept  interface{ newest() protocol.Index }

	places    []place
	sayAt     protocol.Instant // not before it is anything said again
	repairing repairing
	// complainAt is not before it is said again that something cannot be repaired.
	complainAt protocol.Instant
}

// place is a stretch of the log. It is bad, or has been read again at healed.
type place struct {
	entries protocol.Range
	text    string
	pause   time.Duration
	next    protocol.Instant // when it is tried again
	trying  uint64           // the read that is under way, or 0
	said    bool
	healed  protocol.Instant // 0: it is bad
	failed  int              // reads, since it is bad
	// repairAt is when it may be repaired, repairPause the pause before that, and hopeless
	// says that it was tried in vain.
	repairAt    protocol.Instant
	repairPause time.Duration
	hopeless    bool
}

func (p *place) bad() bool { return p.healed == 0 }

// at returns the bad place that holds an entry, or nil.
func (u *unreadable) at(i protocol.Index) *place {
	for k := range u.places {
		if p := &u.places[k]; p.bad() && p.entries.First <= i && i <= p.entries.Last {
			return p
		}
	}
	return nil
}

// add remembers a place, and reports whether it is a new one.
func (u *unreadable) add(entries protocol.Range) (*place, bool) {
	at, known := slices.BinarySearchFunc(u.places, entries.First, func(p place, first protocol.Index) int { return cmp.Compare(p.entries.First, first) })
	if known {
		p := &u.places[at]
		p.entries.Last = max(p.entries.Last, entries.Last)
		return p, false
	}
	if len(u.places) == placesMax {
		last := &u.places[max(at, 1)-1]
		last.entries.First = min(last.entries.First, entries.First)
		last.entries.Last = max(last.entries.Last, entries.Last)
		return last, false
	}
	u.places = slices.Insert(u.places, at, place{entries: entries, pause: readPause})
	return &u.places[at], true
}

// String says what cannot be read, or is empty.
func (u *unreadable) String() string {
	if text := u.where(func(p *place) bool { return p.bad() }); text != "" {
		if how := u.repairing.String(); how != "" {
			text += "; " + how
		}
		return "this member " + text
	}
	return ""
}

// where says where the places are that are meant.
func (u *unreadable) where(meant func(*place) bool) string {
	text, n := "", 0
	for k := range u.places {
		if p := &u.places[k]; meant(p) {
			if n++; n == 1 {
				text = p.text
			}
		}
	}
	if n > 1 {
		text += fmt.Sprintf(" (and at %d places more)", n-1)
	}
	return text
}

func (p *place) unsaid() bool { return p.bad() && !p.said }

// say reports the places that have not been, once each.
func (u *unreadable) say(now protocol.Instant) {
	text := u.where((*place).unsaid)
	if text == "" || now < u.sayAt {
		return
	}
	for k := range u.places {
		u.places[k].said = u.places[k].said || u.places[k].bad()
	}
	u.sayAt = now.Add(sayPause)
	u.out.event(protocol.EventUnreadable, text)
}

// truncate forgets what held entries above an index: others take their place.
func (u *unreadable) truncate(after protocol.Index) {
	u.places = slices.DeleteFunc(u.places, func(p place) bool { return p.entries.Last > after })
}

// reset forgets all: it is of a log that is no more.
func (u *unreadable) reset() {
	u.reads.list = nil
	u.repairing.Stop()
	u.places = nil
}

// forget drops the places that the log no longer holds, and what has been healed
// for long.
func (u *unreadable) forget(now protocol.Instant, first protocol.Index) {
	u.places = slices.DeleteFunc(u.places, func(p place) bool {
		return p.entries.Last < first || !p.bad() && now >= p.healed.Add(readPauseMax)
	})
}

// cannotRead notes a read that failed, and reports whether that is news. What was truncated or dropped meanwhile is no
// trouble, unless it is needed for the state.
func (u *unreadable) cannotRead(now protocol.Instant, x *fetch, err error) (news bool) {
	entries := protocol.Range{First: x.first, Last: x.first}
	var where *storage.Unreadable
	if errors.As(err, &where) {
		entries = where.Entries
	} else if x.purpose != fetchApply {
		u.out.event(protocol.EventGaveUp, "reading the log: "+err.Error())
		return false
	}
	p, fresh := u.add(entries)
	switch {
	case fresh:
		p.next, p.failed = now.Add(p.pause), 1
	case p.bad():
		return false // it was begun before that was known
	default:
		p.later(now)
	}
	p.text, p.healed = unreadableText(err), 0
	u.say(now)
	return true
}

// unreadableText says what cannot be read, after "this member".
func unreadableText(err error) string {
	var where *storage.Unreadable
	if !errors.As(err, &where) {
		return "cannot read its log: " + err.Error()
	}
	text := fmt.Sprintf("cannot read its log at %s, offset %d: entries %d to %d: %v",
		where.Segment, where.Offset, where.Entries.First, where.Entries.Last, where.Err)
	if errors.Is(where.Err, protocol.ErrCorrupt) {
		text += "; what was damaged is repaired from the others"
	}
	return text
}

// later doubles the pause.
func (p *place) later(now protocol.Instant) {
	p.failed++
	p.pause = min(2*p.pause, readPauseMax)
	p.next = now.Add(p.pause)
}

// tick reads the places whose pause is over, and has them repaired.
func (u *unreadable) tick(now protocol.Instant) {
	u.say(now)
	u.repairing.tick(now)
	for k := range u.places {
		if p := &u.places[k]; p.bad() && p.trying == 0 && now >= p.next {
			first := max(p.entries.First, u.log.logTerms().FirstIndex())
			u.reads.add(fetch{purpose: fetchAgain, first: first, last: first})
			p.trying = u.reads.next
		}
	}
}

// triedAgain follows the answer: a place that gives its first entry is as good as
// any other.
func (u *unreadable) triedAgain(now protocol.Instant, x *fetch, err error) {
	k := slices.IndexFunc(u.places, func(p place) bool { return p.trying == x.id })
	if k < 0 {
		return // the log has lost it meanwhile
	}
	p := &u.places[k]
	p.trying = 0
	if err != nil {
		p.text = unreadableText(err)
		p.later(now)
		return
	}
	p.healed, p.failed, p.hopeless = max(now, 1), 0, false
	u.out.event(protocol.EventReadable, fmt.Sprintf("entries %d to %d can be read again", p.entries.First, p.entries.Last))
}

// deadline returns when the next place is tried, or reported.
func (u *unreadable) deadline() protocol.Instant {
	at := u.repairing.deadline()
	for k := range u.places {
		if p := &u.places[k]; p.bad() && p.trying == 0 {
			at = min(at, p.next)
		}
		if u.places[k].unsaid() {
			at = min(at, u.sayAt)
		}
	}
	return at
}

// upTo returns up to which index others get a checkpoint in place of
// entries that cannot be read; 0: nowhere.
func (u *unreadable) upTo() protocol.Index {
	upTo := protocol.Index(0)
	if newest := u.kept.newest(); u.standing.may(mayGive) {
		for k := range u.places {
			if p := &u.places[k]; p.bad() && p.entries.Last <= min(newest, u.log.commit) {
				upTo = max(upTo, p.entries.Last)
			}
		}
	}
	return upTo
}

// givesAfter returns the index after which others are given entries.
func (u *unreadable) givesAfter() protocol.Index {
	return max(u.log.logTerms().PrevIndex, u.upTo())
}

// stuck says why nothing can be applied, or is empty.
func (u *unreadable) stuck() string {
	if len(u.places) == 0 {
		return ""
	}
	next := u.log.handed + 1
	if next > u.log.commit || next >= u.log.tail.first || !u.standing.may(mayApply) {
		return ""
	}
	if p := u.at(next); p != nil {
		return p.text
	}
	return ""
}

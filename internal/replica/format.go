package replica

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// formats is what a member knows of the format levels that others know, what a leader
// does with it, and whether this member knows the level in force. See protocol.FormatLevel.
//
// [S] A leader raises the level when all voters and learners have said, each in its present
// run, that they know the next one: what an earlier run said may have been another
// release. One that is away has not said it. Members without a seat are waited for,
// passivesWait at most, and one that is not heard as long as a voter would be before it has
// failed: who is left behind takes no harm, for it applies nothing that it does not know.
type formats struct {
	ground
	who         *hearing
	checkpoints *checkpoints

	said []levelSaid // by id
	// toldTo is the leader that was told last, of which configuration, and tellAt when
	// it is told again: messages are lost.
	toldTo   protocol.MemberID
	toldConf protocol.Index
	tellAt   protocol.Instant

	// term is the one that this member leads, since when in it none but members without
	// a seat stand in the way of the next level (0: others do), older when one of those
	// was seen last, or the term began, and word says why the level is not raised.
	term         protocol.Term
	since, older protocol.Instant
	reason       string
}

// passivesWait is how long a leader waits for members without a seat.
const passivesWait = 24 * time.Hour

// levelsSaidMax bounds of how many members it is remembered. More actives there are not.
const levelsSaidMax = 4 * protocol.ActivesMax

// levelSaid is the present run of a member, as far as this one has let it in, and what
// that has said: 0, nothing so far.
type levelSaid struct {
	member protocol.MemberID
	run    protocol.RunID
	level  protocol.FormatLevel
}

func compareLevels(s levelSaid, id protocol.MemberID) int { return s.member.Compare(id) }

// of returns what is known of a member, to be filled in.
func (f *formats) of(id protocol.MemberID) *levelSaid {
	i, known := slices.BinarySearchFunc(f.said, id, compareLevels)
	if !known {
		if len(f.said) == levelsSaidMax {
			f.said, i = nil, 0 // they say it again
		}
		f.said = slices.Insert(f.said, i, levelSaid{member: id})
	}
	return &f.said[i]
}

// letIn takes note of the run that counts from now on, of a member with a seat: who has
// none says what it knows when it has one.
func (f *formats) letIn(id protocol.MemberID, run protocol.RunID) {
	if conf := f.log.latest(); !conf.Names(id) {
		return
	}
	if s := f.of(id); s.run != run {
		s.run, s.level = run, 0
	}
}

// onFormats takes what a member with a seat says of itself.
func (f *formats) onFormats(from protocol.MemberID, m *protocol.Formats) {
	if conf := f.log.latest(); !conf.Names(from) {
		return // ordinary, as with types: it has just lost its seat, or says it again when the log names it
	}
	if s := f.of(from); s.run == 0 || s.run == m.Run {
		s.run, s.level = m.Run, max(m.Level, protocol.FormatFirst)
	}
}

// knows reports whether a member has said in its present run that it knows a level.
func (f *formats) knows(id protocol.MemberID, level protocol.FormatLevel) bool {
	i, known := slices.BinarySearchFunc(f.said, id, compareLevels)
	return known && f.said[i].level >= level
}

// inForce is the level in force above what is committed.
func (f *formats) inForce() protocol.FormatLevel {
	return max(f.log.configurations().LevelAt(f.log.commit), protocol.FormatFirst)
}

// tell tells the leader up to which level this member knows them, while there is one
// to be raised to.
func (f *formats) tell(now protocol.Instant) {
	latest, known := f.log.configurations().Latest()
	if !f.log.knows() || !known || latest.Configuration.Level.Next() > f.cfg.Level {
		return
	}
	leader := f.who.leader()
	if leader.IsZero() || leader == f.cfg.ID || leader == f.toldTo && latest.Index == f.toldConf && now < f.tellAt {
		return
	}
	f.toldTo, f.toldConf, f.tellAt = leader, latest.Index, now.Add(f.patience())
	f.out.send(leader, &protocol.Formats{Run: f.cfg.Run, Level: f.cfg.Level})
}

// raise proposes the next format level when nothing stands in its way.
func (f *formats) raise(now protocol.Instant) {
	core := f.log.lead()
	if term := core.Term(); term != f.term {
		f.term, f.since, f.older, f.reason = term, 0, now, ""
	}
	latest, known := core.Configurations().Latest()
	next := latest.Configuration.Level.Next()
	if !known || next > f.cfg.Level {
		f.reason = ""
		return
	}
	word := f.waits(now, &latest, next)
	if word == "" {
		// Refused while a membership change is under way: it is tried again.
		_, err := core.ProposeConfiguration(now, latest.Index, latest.Configuration.At(next))
		if word = fmt.Sprintf("the format level rises to %d", next); err != nil {
			word = fmt.Sprintf("format level %d has to wait: %v", next, err)
		}
	}
	if word != f.reason {
		f.reason = word
		f.out.event(protocol.EventLevel, word)
	}
}

// waits says why the next level has to wait, or is empty.
func (f *formats) waits(now protocol.Instant, latest *protocol.ConfigurationAt, next protocol.FormatLevel) string {
	conf := &latest.Configuration
	older := slices.IndexFunc(f.flock.peers, func(p protocol.Peer) bool { return !conf.Names(p.ID) && !p.Level.Covers(next) })
	if older >= 0 {
		f.older = now
	}
	if conf.Autopilot.HoldLevel {
		f.since = 0
		return fmt.Sprintf("format level %d is held back by hand (`starling autopilot set --format-level auto` lets it rise)", next)
	}
	for _, m := range conf.Members {
		if m.ID != f.cfg.ID && !f.knows(m.ID, next) {
			f.since = 0
			return fmt.Sprintf("format level %d waits for %s, which has not said since it started that it knows it", next, m.Label())
		}
	}
	if f.since == 0 {
		f.since = now
	}
	if now >= f.since.Add(passivesWait) {
		return ""
	}
	if older >= 0 {
		return fmt.Sprintf("format level %d waits for %s, which has no seat and does not know it, for %v at most", next, f.flock.labelOf(f.flock.peers[older].ID), passivesWait)
	}
	// One that is not heard just now may be back in a moment.
	gone := cmp.Or(conf.Autopilot.FailedAfter, f.cfg.PolicyFailed, protocol.AutopilotFailedDefault)
	if now < f.older.Add(gone) {
		return fmt.Sprintf("format level %d waits until no member without a seat that does not know it was heard for %v", next, gone)
	}
	return ""
}

// unknownAt says why this member can do nothing above an index, because it does not know the
// format level in force there; empty: it does.
func (f *formats) unknownAt(i protocol.Index) string {
	if level := f.log.configurations().LevelAt(i); !f.cfg.Level.Covers(level) {
		return protocol.BeyondLevel("the log", level, f.cfg.Level)
	}
	return ""
}

// appliesTo is up to which entry this member may apply what is committed. [S] Nothing of a
// level that it does not know: it would pass over what others apply, and its state would
// be another one. Where a kept checkpoint is of such a level nothing was read at the
// start, and what was applied once is not applied again.
func (f *formats) appliesTo() protocol.Index {
	if kept := f.checkpoints.kept; len(kept) > 0 && !f.cfg.Level.Covers(kept[0].Configuration.Configuration.Level) {
		return f.log.handed
	}
	return min(f.log.commit, f.log.configurations().AppliesTo(f.cfg.Level))
}

// beyond is why this member applies nothing more, or empty.
func (f *formats) beyond() string { return f.unknownAt(f.log.commit) }

// meet asks whether the log, and what is committed, is of a level that this member does not
// know, says so once, and reports whether that has changed. [S] A raise that is not committed
// so far forbids to lead already: a leader would write above it.
func (f *formats) meet() (changed bool) {
	why, committed := f.unknownAt(protocol.IndexMax), f.beyond() != ""
	if why == f.standing.older && committed == f.standing.in[beyond] {
		return false
	}
	f.standing.older = why
	f.standing.set(outgrown, why != "")
	f.standing.set(beyond, committed)
	if committed {
		f.out.event(protocol.EventBeyond, why)
	}
	return true
}

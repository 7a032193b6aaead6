package active

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// A member whose log ends below the beginning of its leader's is brought a
// checkpoint instead of entries. The leader says so (Checkpoint), the owner
// fetches it from whoever has it, makes it durable and resets its log, and then
// tells the core (Install). Who fetches says so too (SetInstalling): it must
// not be elected, nor counted, on the ground of what it does not have yet.

// onInstallCheckpoint hands the leader's offer to the owner. It is answered with
// what this member holds as surely as its leader does: its committed entries,
// as far as they are durable. That tells a leader that offers in vain, because
// an answer was lost or the member got there by other ways, where to go on.
func (m *Member) onInstallCheckpoint(from protocol.MemberID, c *protocol.InstallCheckpoint) {
	if c.Term < m.hard.Term {
		m.send(from, &protocol.AppendAnswer{Term: m.hard.Term, Reject: true})
		return
	}
	if m.rivals(from, c.Term) {
		return
	}
	m.follow(from, c.Term)
	m.emit(protocol.EventCheckpoint, from, m.hard.Commit, "offered")
	m.ready.Checkpoint = &protocol.ManifestOffer{From: from, Manifest: c.Manifest}
	if !m.installing {
		held := min(m.hard.Commit, m.disk.stable)
		m.promise(from, m.acknowledgement(held), held)
	}
}

// SetInstalling says that a checkpoint is being fetched and installed, or that
// it was given up. Install ends it too.
//
// [S] Meanwhile the member votes by the log that it has, because a vote is a
// promise about that log; acknowledges nothing new, because the log may be
// reset at any moment: appends and runs of the flock are dropped, heartbeats
// answered; and does not campaign, not even when it is told to (TimeoutNow): it
// could not serve what it was elected for. A leader hands over and steps down.
func (m *Member) SetInstalling(now protocol.Instant, installing bool) {
	m.advance(now)
	m.installing = installing
	switch {
	case !installing:
	case m.state == StateLeader:
		m.nameTransferee()
		m.stepDown("it installs a checkpoint")
	case m.state != StateFollower:
		m.becomeFollower(m.hard.Term, protocol.MemberID{})
	}
}

// Install says that a checkpoint is in place and durable, and the log with it.
// Either the log has the checkpoint's last entry, with its term and log sum:
// then the owner has left the log alone, and everything in it stays. Or it has
// not: then the owner has reset it, on disk and in memory, to begin after that
// entry, with no write of entries under way, and everything in it is gone.
//
// [S] Nothing of a log that does not have the checkpoint's last entry is kept:
// what lies below would leave a gap, what lies above continues another log. A
// checkpoint at or below the commit index resets nothing, least of all one from
// below the log's beginning: whatever the owner falls back to, acknowledged
// entries stay.
func (m *Member) Install(now protocol.Instant, b protocol.Begin) {
	m.advance(now)
	m.installing = false
	term, held := m.logTerms.TermAt(b.Index)
	switch {
	case held && term == b.Term && !b.Anew:
		m.knowConfiguration(b)
		m.commitTo(b.Index)
	case b.Index <= m.hard.Commit:
		if held {
			m.contradicted(fmt.Sprintf("committed entry %d, of term %d here, is another one, of term %d, in a checkpoint of other members", b.Index, term, b.Term))
			return
		}
		m.knowConfiguration(b)
	default:
		m.beginAfter(b)
	}
	// The commit index may come from a leader of a later term than this member
	// has heard of, and its own leader may be deposed. To be acknowledged what
	// it does not hold gives that one nothing to commit: the majority that
	// elected the later leader did so before, acknowledges nothing in this term
	// any more, and has no member here; so one of them had acknowledged, before
	// it voted, whatever is committed in this term, and the later leader has it.
	m.committedElsewhere = max(m.committedElsewhere, min(b.Index, m.hard.Commit))
	m.emit(protocol.EventInstalled, protocol.MemberID{}, b.Index, fmt.Sprintf("the log is %d..%d", m.logTerms.FirstIndex(), m.logTerms.LastIndex()))
	if m.state == StateFollower && !m.leader.IsZero() {
		m.promise(m.leader, m.acknowledgement(m.hard.Commit), m.hard.Commit)
	}
}

// knowConfiguration learns the configuration in force at a checkpoint that the
// log goes on from, if the log did not know it. Those above it stay.
func (m *Member) knowConfiguration(b protocol.Begin) {
	if _, known := m.configs.At(max(b.Index, m.logTerms.PrevIndex)); known || b.Index < m.logTerms.PrevIndex {
		return
	}
	m.configs = protocol.NewConfigurations(append([]protocol.ConfigurationAt{b.Configuration}, m.configs.All()...)...)
	m.reconfigure()
}

// beginAfter gives up the whole log for one that is empty and begins after a
// checkpoint.
func (m *Member) beginAfter(b protocol.Begin) {
	if m.state == StateLeader {
		m.stepDown("it installs a checkpoint")
	}
	term := max(m.hard.Term, b.Term)
	if _, held := m.logTerms.TermAt(b.Index); held { // another one
		term = max(term, m.past())
	}
	if term > m.hard.Term || m.state != StateFollower {
		m.becomeFollower(term, protocol.MemberID{})
	}
	m.logTerms = protocol.LogTerms{PrevIndex: b.Index, PrevTerm: b.Term, PrevSum: b.Sum}
	m.lastTime = b.Time
	m.ready.Delta = protocol.Delta{}
	m.disk.takeBack(m.hard.Commit)
	m.disk.restart(b.Index)
	m.commitTo(b.Index)
	m.configs = protocol.NewConfigurations(b.Configuration)
	m.reconfigure()
}

// restart follows a log that was reset, durably, to begin after an index. The
// write in flight, if any, proves nothing of it.
func (d *disk) restart(after protocol.Index) {
	d.written, d.stable, d.cut = after, after, false
	if d.flight != nil {
		d.flight.last = min(d.flight.last, after)
	}
}

// DropHead follows the log when it loses its entries up to i, whose log sum is
// given. Only what is committed, and covered by a checkpoint that is durable,
// may go.
func (m *Member) DropHead(i protocol.Index, sum protocol.LogSum) {
	invariant.Check(i <= m.hard.Commit, "head dropped to %d, above the commit index %d", i, m.hard.Commit)
	invariant.Check(i <= m.disk.written, "head dropped to %d, the disk has been given %d", i, m.disk.written)
	m.logTerms.DropHead(i, sum)
	m.configs.DropHead(i)
	m.disk.stable = max(m.disk.stable, m.logTerms.PrevIndex)
	m.feedAbove()
}

// SetUnreadable says up to which index the owner can read no entry for others, and
// has a checkpoint to give instead; 0: it can read all. A leader feeds the others as
// if its log began after that; who has been offered a checkpoint that is needed no
// more is fed entries again. The log itself is as it was.
func (m *Member) SetUnreadable(now protocol.Instant, upTo protocol.Index) {
	m.advance(now)
	if upTo == m.unreadable {
		return
	}
	invariant.Check(upTo <= m.hard.Commit, "unreadable up to %d, above the commit index %d", upTo, m.hard.Commit)
	m.unreadable = upTo
	m.feedAbove()
}

// feedsAfter returns the index after which this member has entries for others.
func (m *Member) feedsAfter() protocol.Index { return max(m.logTerms.PrevIndex, m.unreadable) }

// feedAbove follows a move of feedsAfter.
func (m *Member) feedAbove() {
	if m.state == StateLeader {
		m.lead.keepAbove(m.feedsAfter())
		m.due = true
	}
}

// keepAbove follows the beginning of what the leader can feed: whoever was to be
// sent what is gone is asked whether it holds the last of that, and whoever can be
// fed from where it is needs no checkpoint.
func (l *leadership) keepAbove(prev protocol.Index) {
	for i := range l.progress {
		switch p := &l.progress[i]; {
		case p.state == ProgressCatchUp && p.next > prev:
			p.probe(p.next)
		case p.state != ProgressCatchUp && p.next <= prev:
			p.probe(prev + 1)
		}
	}
}

// catchUp gives up feeding entries to a member whose next one is below the
// log's beginning.
func (m *Member) catchUp(p *progress, next protocol.Index) {
	if p.state == ProgressCatchUp {
		p.next = next
		return
	}
	m.emit(protocol.EventCheckpoint, p.id, next, fmt.Sprintf("needs entries below %d, the first that this member can give", m.feedsAfter()+1))
	p.probe(next)
	p.state = ProgressCatchUp
}

// offer tells a member in catch-up that it needs a checkpoint, once in an
// election timeout (see progress.retry). Which one is the owner's to say.
func (m *Member) offer(p *progress) {
	if p.probing {
		return
	}
	p.probing, p.probeAt = true, m.now
	m.send(p.id, &protocol.InstallCheckpoint{Term: m.hard.Term})
}

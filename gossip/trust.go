package gossip

import (
	"slices"
	"sort"

	"github.com/starlinghq/starling/protocol"
)

const (
	// A span grows by frames that go on where it ends, up to spanBytes and
	// spanEntries: that many are held for one signature, and a pull gets whole
	// spans. spansMax bounds how many are kept.
	spanBytes, spanEntries, spansMax = 16 << 10, 1024, 4096
	// forgeriesPerSecond and forgeriesBurst bound how many signatures of one
	// member that turn out to be false are checked. What it sends beyond that is
	// dropped unseen.
	forgeriesPerSecond, forgeriesBurst = 50, 50
)

// trust is what a member knows of signatures, where frames are signed.
//
// An active signs what it pushes and what it gives to a pull, an answer about
// freshness, a log sum, the manifest of a checkpoint: what it knows to be
// committed. Everybody else repeats. [S] A member that has keys to check with
// takes nothing from the flock that no active has signed, and passes nothing on:
// so whoever sends such a thing has made it, and is blamed, not its origin.
type trust struct {
	cfg     *Config
	self    *standing
	members *members
	outbox  *outbox
	intake  known
	links   parents

	// chain is the one of the frames that this active has pushed, up to index.
	chain protocol.Chain
	index protocol.Index
	// spans are the signed runs that this member can repeat, by first index.
	spans []span
	// refused counts what was refused because of its signature.
	refused uint64
}

// known tells what came before.
type known interface {
	knows(protocol.Range) bool
}

// parents has a parent dropped that sent what nobody signed.
type parents interface {
	dropParent(now protocol.Instant, m *member)
}

// span is a run of the log, with the signature over its end. The chain before
// its beginning goes with it, so that others can reckon it themselves.
type span struct {
	r             protocol.Range
	before, after protocol.Chain
	signature     protocol.Signature
	bytes         int
}

// signs reports whether this member signs what it says: it has a key and is an
// active.
func (t *trust) signs() bool { return t.cfg.Sign != nil && t.self.Role == protocol.RoleActive }

// datagramRoom is how many bytes of entries fit into a datagram.
func (t *trust) datagramRoom() int {
	if t.signs() {
		return datagramEntriesBytes - protocol.FrameSignatureBytesMax
	}
	return datagramEntriesBytes
}

// sign signs a frame of this member's own log. Frames that are pushed one after
// the other share a chain, so that others can join them to longer runs.
func (t *trust) sign(f *protocol.Frame, pushed bool) {
	if !t.signs() {
		return
	}
	r := f.Range()
	if pushed && t.index+1 == r.First {
		f.Chain = t.chain
	}
	after := f.Chain.NextEntries(f.Before, f.Entries)
	f.Signature = t.cfg.Sign(protocol.LogStatement(r.Last, after))
	if pushed {
		t.chain, t.index = after, r.Last
	}
}

// genuine reports whether a frame is an active's, so far as that matters: of
// one that says nothing new nobody asks. It keeps the signature, to repeat it.
func (t *trust) genuine(now protocol.Instant, from protocol.MemberID, f *protocol.Frame) bool {
	r := f.Range()
	if !t.cfg.checks() || t.intake.knows(r) {
		return true
	}
	if !t.mayForge(now, from) {
		return false
	}
	after := f.Chain.NextEntries(f.Before, f.Entries)
	if err := t.verify(protocol.LogStatement(r.Last, after), &f.Signature); err != nil {
		t.forged(now, from, r.First, "a frame: "+err.Error())
		return false
	}
	f.Commit = r.Last // more than that is not signed
	t.add(span{r: r, before: f.Chain, after: after, signature: f.Signature, bytes: protocol.RawSize(f.Entries)})
	return true
}

// verify checks a statement that this member would take.
func (t *trust) verify(statement []byte, s *protocol.Signature) error {
	if s.IsZero() {
		return errUnsigned
	}
	return t.cfg.Verify(statement, *s)
}

// mayForge reports whether a member's next false signature would still be looked
// at.
func (t *trust) mayForge(now protocol.Instant, from protocol.MemberID) bool {
	return t.members.budget(from).forgeries.take(now, 0, forgeriesPerSecond, forgeriesBurst)
}

// forged says who sent something that no active has signed, and prefers others
// for a while. What it sends meanwhile and is signed is taken all the same: who
// sends a datagram is not proven.
func (t *trust) forged(now protocol.Instant, from protocol.MemberID, at protocol.Index, what string) {
	t.refused++
	t.members.budget(from).forgeries.take(now, 1, forgeriesPerSecond, forgeriesBurst)
	m := t.members.get(from)
	if m == nil || now < m.distrustUntil {
		return
	}
	m.distrustUntil = now.Add(avoidFor)
	t.outbox.event(protocol.EventForged, from, at, what)
	t.links.dropParent(now, m)
}

// add keeps a span, as part of the one that it goes on from if that is small.
// The oldest are forgotten first: whoever wants what is older asks an active.
func (t *trust) add(s span) {
	at := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].r.First > s.r.First })
	for i := at - 1; i >= 0 && i >= at-linksMax; i-- {
		p := &t.spans[i]
		if p.r == s.r {
			return
		}
		if p.r.Last+1 == s.r.First && p.after == s.before && p.bytes+s.bytes <= spanBytes && s.r.Last-p.r.First < spanEntries {
			p.r.Last, p.after, p.signature = s.r.Last, s.after, s.signature
			p.bytes += s.bytes
			return
		}
	}
	t.spans = slices.Insert(t.spans, at, s)
	if len(t.spans) > spansMax {
		t.spans = slices.Delete(t.spans, 0, 1)
	}
}

// find returns the shortest run of whole spans, joined by their chains, that
// begins at or before r.First and ends at last index at most: as much of r as fits into
// bytes, or one span, however large it is.
func (t *trust) find(r protocol.Range, lastIndex protocol.Index, bytes int) (span, bool) {
	at := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].r.First > r.First })
	for i := at - 1; i >= 0 && i >= at-linksMax; i-- {
		if s := t.spans[i]; s.r.Last >= r.First && s.r.Last <= lastIndex {
			return t.grow(s, i+1, r.Last, lastIndex, bytes), true
		}
	}
	return span{}, false
}

// grow adds the spans that go on from s.
func (t *trust) grow(s span, from int, last, lastIndex protocol.Index, bytes int) span {
	for i := from; i < len(t.spans) && t.spans[i].r.First <= s.r.Last+1 && s.r.Last < last; i++ {
		q := &t.spans[i]
		if q.r.First != s.r.Last+1 || q.before != s.after || q.r.Last > lastIndex || s.bytes+q.bytes > bytes {
			continue
		}
		s.r.Last, s.after, s.signature = q.r.Last, q.after, q.signature
		s.bytes += q.bytes
	}
	return s
}

// repeats fits a range that is asked for to what this member can prove: the
// range to give instead, and its bytes. An active proves anything, and where
// nobody checks there is nothing to prove.
func (t *trust) repeats(r protocol.Range, left int) (protocol.Range, int, bool) {
	if !t.cfg.checks() || t.signs() {
		return r, left, true
	}
	s, ok := t.find(r, t.self.LastIndex, left)
	return s.r, max(left, s.bytes), ok && s.r.First >= t.self.First
}

// prove puts a signature to a frame that was asked for: this member's own, or
// one that it repeats, over as many of the entries as that one is for. False if
// there is none any more: nothing is sent then, for it would be refused.
func (t *trust) prove(f *protocol.Frame) bool {
	t.sign(f, false)
	if !t.cfg.checks() || t.signs() {
		return true
	}
	r := f.Range()
	s, ok := t.find(r, r.Last, protocol.RawSize(f.Entries))
	if !ok || s.r.First != r.First {
		return false
	}
	n := s.r.Last - r.First + 1
	f.Entries = f.Entries[:n:n]
	f.Chain, f.Signature, f.Commit = s.before, s.signature, s.r.Last
	return true
}

// signFreshness signs an answer to a HAVE.
func (t *trust) signFreshness(h *protocol.Have) {
	if t.signs() {
		h.Signature = t.cfg.Sign(protocol.FreshnessStatement(h))
	}
}

// checkFreshness reports whether an answer to a HAVE may be believed: its freshness,
// and who leads. [S] Signed, it is of an active, and made for this question: of
// one that was made before, the age would be too small by now. A passive may be
// asked, too; what it says is for display.
func (t *trust) checkFreshness(now protocol.Instant, from protocol.MemberID, h *protocol.Have) bool {
	if !t.cfg.checks() {
		return true
	}
	if h.Signature.IsZero() {
		t.noteUnsigned(from, h.FreshIndex)
		return false
	}
	if !t.mayForge(now, from) {
		return false
	}
	if err := t.verify(protocol.FreshnessStatement(h), &h.Signature); err != nil {
		t.forged(now, from, h.FreshIndex, "an answer about freshness: "+err.Error())
		return false
	}
	if m := t.members.get(from); m != nil {
		m.keyless = 0
	}
	t.outbox.ready.Led = &Led{Term: h.Term, Leader: h.Leader}
	return true
}

// keylessMin is how many answers in a row without a signature tell an active without
// a key from one that was a passive when it answered.
const keylessMin = 16

// noteUnsigned notes an answer without a signature. That of a passive is for display. An
// active that gives several has no key: if it leads, nobody who checks signatures hears
// from it how old his state is, and all ages grow for ever. So it counts as refused and
// is named, ever less often; it is not avoided, for it does nothing wrong.
func (t *trust) noteUnsigned(from protocol.MemberID, at protocol.Index) {
	m := t.members.get(from)
	if m == nil || m.peer.Role != protocol.RoleActive {
		return
	}
	if m.keyless++; m.keyless < keylessMin {
		return
	}
	t.refused++
	if m.keyless&(m.keyless-1) == 0 {
		t.outbox.event(protocol.EventForged, from, at, "answers about freshness: this active has no key and signs nothing, so that "+
			"nobody who checks signatures believes its word, and, if it leads, ages grow: start it again with --sign-key, or make it a passive")
	}
}

// Led says who leads, as an active has signed it.
type Led struct {
	Term   protocol.Term
	Leader protocol.MemberID
}

// distrusted reports whether a member has sent what nobody has signed, lately.
func (m *member) distrusted(now protocol.Instant) bool { return now < m.distrustUntil }

// errUnsigned is what is wrong with a message without a signature.
const errUnsigned = unsigned("it carries no signature: its sender has no key and signs nothing, or repeats somebody who has none")

type unsigned string

func (u unsigned) Error() string { return string(u) }

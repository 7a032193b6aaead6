package founding

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Config says what a member was told.
type Config struct {
	// ID is of this attempt to start.
	ID protocol.MemberID
	// Begins says that the member was told to begin a cluster, Expect with how
	// many members that find each other; 0: with those that it names.
	Begins bool
	Expect int
	// Held says that no promises are asked for yet, until Release: whoever has this
	// member in its cluster needs a moment to call it.
	Held bool
	// Level is the highest format level that this member knows.
	Level protocol.FormatLevel
	// Promise is what an earlier attempt has given; nil: nothing, or it was
	// lifted.
	Promise *Promise
}

// Verdict is how the start goes on; empty: it waits.
type Verdict struct {
	// Begin says that this member begins the cluster. Nothing is answered from
	// then on: the cluster answers.
	Begin bool
	// Level, with Begin, is the format level that the cluster begins at: the highest that
	// this member knows and all whom it names.
	Level protocol.FormatLevel
	// Join is the cluster to join.
	Join *protocol.JoinInfo
	// Err says that no waiting helps.
	Err error
}

// Founder is one attempt of a member to find its cluster. It is used by one
// goroutine at a time.
type Founder struct {
	cfg   Config
	self  Place
	peers []peer // by name
	// own are the places that have turned out to be this member's: its host's
	// name may mean something else at home. They are not asked again.
	own     []Place
	promise *Promise
	written bool // the promise is durable
	verdict Verdict
	// stranger is what the last question of one with another list said.
	stranger string
	// called is who has a cluster and calls this member at its address; promisedTo the
	// attempt of this run to which the promise was given.
	called     string
	promisedTo protocol.MemberID
}

// standing is what a peer has answered last.
type standing uint8

const (
	silent   standing = iota
	has               // it has no cluster
	promised          // and has promised not to begin one
	refused           // and does not promise, for now
)

// againMax is how many answers of a peer show that it was there after another one
// came: the first may have been under way by then, the second was asked for later.
const againMax = 2

type peer struct {
	Place
	// named says that it was named here, as opposed to one that has asked.
	named bool
	standing
	said *protocol.Founding
	why  string // silent or refused
	// again is how often it has answered since more than expected are there, and
	// the last of them came; againMax at most.
	again uint8
}

// New returns a founder that has yet to be told whom it names.
func New(cfg Config) *Founder {
	return &Founder{cfg: cfg, promise: cfg.Promise, written: cfg.Promise != nil}
}

// Name says where this member is and whom it was told to ask; the member itself
// may be among them. It may be said again, with other addresses.
func (f *Founder) Name(self Place, named []Place) {
	before, old := f.list(), f.self.Name
	f.self = self
	peers := slices.DeleteFunc(slices.Clone(f.peers), func(p peer) bool { return p.named })
	for _, p := range named {
		if p.is(self) || f.isOwn(p) {
			// As the others name it, and the same each time.
			if f.self.Name == self.Name || p.Name == old {
				f.self.Name = p.Name
			}
			continue
		}
		peers = slices.DeleteFunc(peers, func(o peer) bool { return !o.named && o.is(p) })
		if slices.ContainsFunc(peers, func(o peer) bool { return o.is(p) }) {
			continue
		}
		next := peer{Place: p, named: true, why: "not asked yet"}
		if i := slices.IndexFunc(f.peers, func(o peer) bool { return o.Place == p }); i >= 0 {
			next = f.peers[i]
			next.named = true
		}
		peers = append(peers, next)
	}
	f.setPeers(peers)
	f.renewed(before)
	f.decide()
}

// isOwn reports whether a place has turned out to be this member's own. A name
// that means another address now is to be asked again.
func (f *Founder) isOwn(p Place) bool {
	return slices.ContainsFunc(f.own, func(o Place) bool { return o.Name == p.Name && (p.Address == "" || o.Address == p.Address) })
}

func (f *Founder) setPeers(peers []peer) {
	slices.SortFunc(peers, func(a, b peer) int { return compareAddresses(a.Name, b.Name) })
	f.peers = peers
}

// renewed forgets the promises that others have given for another list.
func (f *Founder) renewed(before list) {
	if now := f.list(); slices.Equal(now.names, before.names) && slices.Equal(now.addresses, before.addresses) {
		return
	}
	for i := range f.peers {
		if f.peers[i].standing == promised {
			f.peers[i].standing = has
		}
	}
}

// list is all that this member names, itself included.
func (f *Founder) list() list {
	places := []Place{f.self}
	for _, p := range f.peers {
		places = append(places, p.Place)
	}
	return listOf(places)
}

// begins reports whether this member may still begin. [S] Who has promised does
// not, whether the promise has reached the disk or anybody.
func (f *Founder) begins() bool {
	return f.cfg.Begins && f.promise == nil && f.called == "" && (f.cfg.Expect == 0 || f.told() == f.cfg.Expect)
}

func (p *peer) told() bool { return p.standing != silent && p.said.Told }

// countAgain counts the answers that show who of too many is still there: one of
// them may be what another one was before it got a new address.
func (f *Founder) countAgain(p *peer, came bool) {
	switch {
	case f.told() <= f.cfg.Expect || came && p.told():
		for i := range f.peers {
			f.peers[i].again = 0
		}
	case f.cfg.Expect > 0:
		p.again = min(p.again+1, againMax)
	}
}

// tooMany reports whether more than expected were told to begin, and all of them
// are there.
func (f *Founder) tooMany() bool {
	return f.cfg.Expect > 0 && f.told() > f.cfg.Expect &&
		!slices.ContainsFunc(f.peers, func(p peer) bool { return p.told() && p.again < againMax })
}

// told counts who was told to begin, this member included.
func (f *Founder) told() int {
	n := 1
	for _, p := range f.peers {
		if p.told() {
			n++
		}
	}
	return n
}

// heardAll reports whether this member knows its list: all have answered, so that
// none of them is the member itself by another name.
func (f *Founder) heardAll() bool {
	return !slices.ContainsFunc(f.peers, func(p peer) bool { return p.standing == silent })
}

// statement is what this member says of itself.
func (f *Founder) statement() *protocol.Founding {
	l := f.list()
	return &protocol.Founding{
		ID: f.cfg.ID, Name: f.self.Name, Address: f.self.Address, Names: l.names, Addresses: l.addresses,
		Told: f.cfg.Begins, Expect: f.cfg.Expect, Begins: f.begins() && f.heardAll(), Level: f.cfg.Level,
	}
}

// Question is what the peers are asked now.
func (f *Founder) Question() *protocol.Founding {
	q := f.statement()
	q.Promise = f.asks()
	return q
}

// asks reports whether it is time to ask for promises: all have answered that
// they have no cluster, none of them goes first, and none was told another list:
// that is to be corrected before anybody is bound.
func (f *Founder) asks() bool {
	return f.begins() && f.heardAll() && !f.cfg.Held &&
		!slices.ContainsFunc(f.peers, func(p peer) bool { return f.first(&p) || f.otherList(p.Place, p.said) != "" })
}

// otherList says that a member was told to begin with another list; empty: it was
// not.
func (f *Founder) otherList(at Place, said *protocol.Founding) string {
	if !f.cfg.Begins || f.cfg.Expect > 0 || !said.Told || f.list().equal(listIn(said)) {
		return ""
	}
	return fmt.Sprintf("a member at %s was told --bootstrap with the members %s, this one with %s: give both the same --join",
		at, listIn(said), f.list())
}

// first reports whether a peer that may begin has the lower address.
func (f *Founder) first(p *peer) bool {
	if !p.said.Begins {
		return false
	}
	same, order := compare(f.statement(), p.said)
	return same && order >= 0
}

// Peers are the places to ask.
func (f *Founder) Peers() (places []Place) {
	for _, p := range f.peers {
		places = append(places, p.Place)
	}
	return places
}

// Answered takes what a peer has answered to a question.
func (f *Founder) Answered(at Place, q *protocol.Founding, info *protocol.JoinInfo) {
	i := slices.IndexFunc(f.peers, func(p peer) bool { return p.Place == at })
	if i < 0 || f.decided() {
		return
	}
	if !info.Cluster.IsZero() {
		f.verdict.Join = info
		return
	}
	said := info.Founding
	switch {
	case said == nil:
		f.silence(i, "does not say whether it has a cluster")
	case said.ID == f.cfg.ID:
		f.ownPlace(i)
	default:
		p := &f.peers[i]
		came := !p.told()
		p.said, p.standing, p.why = said, has, ""
		f.countAgain(p, came)
		if f.begins() && f.heardAll() && said.Begins && f.cfg.Expect == 0 {
			f.compareWith(p)
		}
		if q.Promise {
			f.noteAnswer(p, q)
		}
	}
	f.decide()
}

// compareWith ends the start if another one was told to begin with another list.
// Both know theirs.
func (f *Founder) compareWith(p *peer) {
	if mine := f.statement(); !listIn(mine).equal(listIn(p.said)) {
		f.verdict.Err = protocol.ErrInvalid.With(fmt.Sprintf(
			"no cluster begins: this member, at %s, was told --bootstrap with the members %s, and the one at %s with %s; give both the same --join (the own address may be left out)",
			f.self, listIn(mine), p.Place, listIn(p.said)))
	}
}

func (l list) equal(o list) bool {
	same, _ := l.same(o)
	return same
}

// noteAnswer takes the answer to a question for the promise, if that was asked
// for the list of now.
func (f *Founder) noteAnswer(p *peer, q *protocol.Founding) {
	switch {
	case !p.said.Promise:
		p.standing, p.why = refused, p.said.Why
	case listIn(q).equal(f.list()):
		p.standing = promised
	}
}

// ownPlace takes note that a place is this member's own, by another name.
func (f *Founder) ownPlace(i int) {
	before := f.list()
	f.own = append(slices.Clip(f.own), f.peers[i].Place)
	f.self.Name = f.peers[i].Name
	f.peers = slices.Delete(f.peers, i, i+1)
	f.renewed(before)
}

// Silent takes note that a peer does not answer, and why.
func (f *Founder) Silent(at Place, why string) {
	if i := slices.IndexFunc(f.peers, func(p peer) bool { return p.Place == at }); i >= 0 && !f.decided() {
		f.silence(i, why)
	}
}

// silence: what a peer has said before does not count any more. One that was not
// named is forgotten.
func (f *Founder) silence(i int, why string) {
	if !f.peers[i].named {
		before := f.list()
		f.peers = slices.Delete(f.peers, i, i+1)
		f.renewed(before)
		return
	}
	f.peers[i].standing, f.peers[i].said, f.peers[i].why = silent, nil, why
}

// decide sees whether all that this member must know is known.
func (f *Founder) decide() {
	alone := len(f.peers) == 0 && f.cfg.Expect == 0
	switch {
	case f.decided():
		return
	case alone && !f.cfg.Begins:
		f.verdict.Err = protocol.ErrInvalid.With(
			"a member without a data directory of an earlier start needs --join with the address of a running member, or --bootstrap to begin a new cluster")
		return
	case alone && f.promise != nil:
		f.verdict.Err = protocol.ErrInvalid.With(fmt.Sprintf(
			"no cluster begins: this member has promised %s not to begin one, while both had none; join that one's cluster with --join, or, if there is none and never will be, lift the promise with --forget-promise",
			f.promise.To))
		return
	case !f.cfg.Begins:
		return
	case f.tooMany():
		f.verdict.Err = protocol.ErrInvalid.With(fmt.Sprintf(
			"no cluster begins: %d members were told to begin one, of %d expected: %s; give --expect to so many, and --join alone to the others",
			f.told(), f.cfg.Expect, f.list()))
		return
	}
	// [S] All of them, and none by its silence.
	f.verdict.Begin = f.begins() && !slices.ContainsFunc(f.peers, func(p peer) bool { return p.standing != promised })
	if f.verdict.Begin {
		f.verdict.Level = f.commonLevel()
	}
}

// commonLevel is the highest format level that all know.
func (f *Founder) commonLevel() protocol.FormatLevel {
	level := f.cfg.Level
	for _, p := range f.peers {
		level = min(level, p.said.Level)
	}
	return level
}

func (f *Founder) decided() bool {
	return f.verdict.Begin || f.verdict.Join != nil || f.verdict.Err != nil
}

// Verdict says how the start goes on. Once it says something it stays so.
func (f *Founder) Verdict() Verdict { return f.verdict }

// Asked answers a question. If write is not nil it must be durable before the
// answer is given, and Written is to be called in between; if it cannot be, no
// answer is given. There is none once the verdict is there, either.
func (f *Founder) Asked(q *protocol.Founding) (answer *protocol.JoinInfo, write *Promise) {
	if f.decided() || f.self.Name == "" {
		return nil, nil
	}
	said := f.statement()
	if q.ID != f.cfg.ID {
		f.meet(q)
		said = f.statement()
		if q.Promise {
			if said.Why = f.refuse(said, q); said.Why == "" {
				write = f.give(q)
				said = f.statement()
				said.Promise = true
			}
		}
	}
	return &protocol.JoinInfo{Founding: said}, write
}

// Called takes note that a member of a cluster calls this one at its address.
//
// [S] That cluster has it as one of its own: the directory of this member was lost. It
// begins none, and promises nothing to who would begin one with it, since those whom it
// names may all have lost theirs, or be new.
func (f *Founder) Called(by string) {
	if f.called == "" && !f.decided() {
		f.called = by
	}
}

// Release ends Config.Held.
func (f *Founder) Release() {
	f.cfg.Held = false
	f.decide()
}

// meet takes note of who asks: of one that is to be found, and of another list.
func (f *Founder) meet(q *protocol.Founding) {
	if !f.cfg.Begins || !q.Told {
		return
	}
	if place := (Place{q.Name, q.Address}); f.cfg.Expect > 0 && q.Expect > 0 && len(f.peers) < protocol.FoundingMax-1 &&
		place.Address != "" && !place.is(f.self) && !slices.ContainsFunc(f.peers, func(p peer) bool { return p.is(place) }) {
		before := f.list()
		f.setPeers(append(slices.Clone(f.peers), peer{Place: place, why: "not asked yet"}))
		f.renewed(before)
	}
	f.stranger = f.otherList(Place{q.Name, q.Address}, q)
}

// refuse says why this member does not promise; empty: it does.
func (f *Founder) refuse(said, q *protocol.Founding) string {
	same, order := compare(said, q)
	switch {
	case f.called != "":
		return f.called + " calls it at its address, and has a cluster"
	case f.promise != nil && f.promisedTo != q.ID && !f.promise.list().equal(listIn(q)):
		return fmt.Sprintf("it has promised %s not to begin a cluster with the members %s, and is asked by one with %s; --forget-promise lifts that",
			f.promise.To, f.promise.list(), listIn(q))
	case !f.begins(): // heard or not: it will ask itself
		return ""
	case !same:
		return fmt.Sprintf("it was told to begin with the members %s, and is asked by one with %s", listIn(said), listIn(q))
	case order == 0:
		return "both say that they are at " + said.Name
	case order < 0:
		return "it was told to begin as well, and has the lower address"
	}
	return ""
}

// give promises, and returns what is to be written first.
func (f *Founder) give(q *protocol.Founding) *Promise {
	if f.promise == nil || !f.promise.list().equal(listIn(q)) {
		f.written, f.promisedTo = false, q.ID
		f.promise = &Promise{To: Place{q.Name, q.Address}.String(), Names: q.Names, Addresses: q.Addresses}
	}
	if f.written {
		return nil
	}
	return f.promise
}

// Written says that the promise is durable.
func (f *Founder) Written() {
	invariant.Check(f.promise != nil, "a promise was written that nobody has given")
	f.written = true
}

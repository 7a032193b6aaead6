// Package policy decides who should be active: a pure function of the
// configuration, of who is alive, and of how far everybody is.
//
// The leader's member asks it now and then and proposes what it says. Voters
// that have failed for a while, or that wish to be active no more, are replaced,
// each in one joint change. Otherwise the configuration grows, or shrinks, to as
// many voters as it aims at. A passive first becomes a learner; all learners
// that have acknowledged enough become voters in one change, so that one voter
// becomes three without two on the way. Where a passive is missing, for a seat or
// by number, a reserve is asked to follow. A member that has moved is entered where
// it is, which is no question of policy and happens although the policy is
// switched off. Nothing here is a safety rule: those are
// checked again by the role that takes the proposal. No voter is taken for
// failed on the word of the membership alone, and no change is asked for that
// leaves a majority which does not answer.
//
// What it goes by is in the configuration (protocol.Autopilot), so that every
// leader decides alike.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Config tunes the decisions where the configuration says nothing. A zero field
// means its default.
type Config struct {
	// Stable is how long a member must have been alive without a break before
	// it gets a seat. Shorter grows faster, and hands seats to members that
	// are just coming and going. Default 1 s.
	Stable time.Duration
	// LagMax is how many entries a member may be behind the commit index and
	// still count as caught up. Default 1,024.
	LagMax protocol.Index
	// FailedAfter is how long a voter must have failed before another member
	// takes its seat. Shorter than a restart takes, and every restart costs a
	// seat. Default 30 s.
	FailedAfter time.Duration
	// MovedAfter is how long a member must have answered at another address than
	// the configuration's before that is entered. Shorter than an election timeout,
	// and what it has answered may have been asked at the old one. Default 5 s.
	MovedAfter time.Duration
}

// The defaults of Config.
const (
	StableDefault                = protocol.AutopilotStableDefault
	LagMaxDefault protocol.Index = 1024
	FailedDefault                = protocol.AutopilotFailedDefault
	MovedDefault                 = 5 * time.Second
)

// Peer is a live member, the leader itself included, and what is known of its
// log.
type Peer struct {
	protocol.Peer
	// Since is when the member was first seen alive, eligible and in its role,
	// without a break until now.
	Since protocol.Instant
	// LastIndex is the highest index that the member said it holds. LastIndexKnown is
	// false as long as it has said nothing.
	LastIndex      protocol.Index
	LastIndexKnown bool
	// Activated is when this leader asked the member, a reserve, to follow; 0: it
	// has not, or the member has followed since.
	Activated protocol.Instant
}

// Progress is how far the leader knows a member of the configuration to be.
type Progress struct {
	ID protocol.MemberID
	// Match is the highest index that the member has acknowledged as durable.
	Match protocol.Index
	// Active says that the member answered the leader lately, or that it has not
	// had the time to: the leader was elected just now. Answers says that it did.
	Active, Answers bool
	// CatchUp says that it is being brought a checkpoint: its log ends below
	// the beginning of the leader's.
	CatchUp bool
}

// Input is all that a decision depends on. The order of the lists does not
// matter.
type Input struct {
	Now protocol.Instant
	// Self is the leader, whose seat is never taken: it hands over first. It is
	// among the Peers.
	Self protocol.MemberID
	// Configuration is the latest one in the leader's log, committed or not.
	Configuration protocol.ConfigurationAt
	// Commit is the leader's commit index. OwnTerm says that an entry of its
	// own term has been committed: before that no change may be proposed.
	Commit   protocol.Index
	OwnTerm  bool
	Peers    []Peer
	Progress []Progress
	// Transferees are the voters that could lead in the leader's place, the best first.
	Transferees []protocol.MemberID
	Failing     []Failing
	Moving      []Moving // see Moved
	// Changed is since when the leader has seen this configuration; 0: it does not know.
	Changed protocol.Instant
	// Signed says that the leader believes only what actives have signed: who has no key
	// gets no seat, and no vote.
	Signed bool
	// Short is since when ShortOfPassives has been true without a break; 0: it
	// is false.
	Short protocol.Instant
}

// Action is what a decision asks for.
type Action uint8

const (
	// Wait asks for nothing.
	Wait Action = iota
	// AddLearner gives a passive the seat of a learner.
	AddLearner
	// PromoteLearner makes one learner, or several, voters.
	PromoteLearner
	// Replace makes a learner a voter in place of a failed one.
	Replace
	// Remove takes a seat away.
	Remove
	// HandOver hands the leadership to a voter, so that the leader's own seat
	// can be taken.
	HandOver
	// Activate asks a reserve to follow. It is said again until the member is seen
	// to follow.
	Activate
	// Move enters the address of a member that has moved.
	Move
)

// String returns the action's name.
func (a Action) String() string {
	return protocol.EnumText(a, "action", "wait", "add-learner", "promote-learner", "replace", "remove", "hand-over", "call", "move")
}

// Decision is the next change, or why there is none.
type Decision struct {
	Action Action
	// Member is whom the change is about, the first of several; of HandOver the
	// transferee.
	Member protocol.MemberID
	// Out is who loses its seat, if anybody does.
	Out protocol.MemberID
	// First says of a Activate that it is no repetition of the last one.
	First bool
	// Version is the configuration that Next was made from: a proposal that
	// meets another one must be refused.
	Version protocol.Index
	Next    protocol.Configuration
	// Why is a sentence for people, in every case.
	Why string
	// Again is when the passing of time alone can change the answer; zero if
	// it cannot.
	Again protocol.Instant
}

// Decide returns the next change of the configuration.
func Decide(cfg Config, in Input) Decision {
	set := in.Configuration.Configuration.Autopilot
	v := newView(Config{
		Stable:      cmp.Or(set.Stable, cfg.Stable, StableDefault),
		LagMax:      cmp.Or(cfg.LagMax, LagMaxDefault),
		FailedAfter: cmp.Or(set.FailedAfter, cfg.FailedAfter, FailedDefault),
		MovedAfter:  cmp.Or(cfg.MovedAfter, MovedDefault),
	}, in)
	if why := v.refuse(); why != "" {
		return v.wait(why)
	}
	if d, ok := v.move(); ok {
		return d
	}
	if v.current.Autopilot.Off {
		return v.wait("switched off: seats change by hand only")
	}
	return v.decide()
}

// Wanted returns how many voters the policy aims at: the target, and never
// fewer than the floor.
func Wanted(c protocol.Configuration) int { return max(c.Target, c.Autopilot.Floor) }

// decide looks at the seats first. A reserve that a seat needs also counts as
// the passive that is missing.
func (v *view) decide() Decision {
	call, missing := v.reinforce()
	d := v.voterChange()
	if why := v.unborne(d); why != "" {
		d = v.wait(why)
	}
	if d.Action == Wait && missing {
		return call
	}
	return d
}

func (v *view) voterChange() Decision {
	for _, try := range []func() (Decision, bool){v.shrink, v.replace, v.forget, v.release} {
		if d, ok := try(); ok {
			return d
		}
	}
	return v.grow()
}

// view is an input in order: by id, so that equal inputs give equal decisions.
type view struct {
	Config
	Input
	current protocol.Configuration
	wanted  int
	peers   []Peer
	again   protocol.Instant
	note    []string // what would be done if it could be
}

func newView(cfg Config, in Input) *view {
	v := &view{Config: cfg, Input: in, current: in.Configuration.Configuration, peers: slices.Clone(in.Peers)}
	v.wanted = Wanted(v.current)
	slices.SortFunc(v.peers, func(a, b Peer) int { return a.ID.Compare(b.ID) })
	v.Moving = slices.SortedFunc(slices.Values(v.Moving), func(a, b Moving) int { return a.ID.Compare(b.ID) })
	return v
}

// refuse says why nothing may be changed now, whatever would be good.
func (v *view) refuse() string {
	switch {
	case v.Configuration.Index > v.Commit:
		return fmt.Sprintf("the change at index %d is not committed yet", v.Configuration.Index)
	case v.current.Joint():
		return fmt.Sprintf("the change at index %d is not complete yet", v.Configuration.Index)
	case !v.OwnTerm:
		return "the leader has not committed an entry of its own term yet"
	}
	return ""
}

// unborne says why a change must not be made although it is good otherwise: of
// the voters that it leaves no majority answers, and nothing could be committed
// any more. Who has not answered this leader yet does not count as one who does:
// it may have been dead for long.
func (v *view) unborne(d Decision) string {
	voters, answer := d.Next.Voters(), 0
	if slices.Equal(voters, v.current.Voters()) {
		return ""
	}
	for _, id := range voters {
		if id == v.Self || v.progress(id).Answers {
			answer++
		}
	}
	if 2*answer > len(voters) {
		return ""
	}
	return fmt.Sprintf("not done, because of the %d voters that would be left %d answer: %s", len(voters), answer, d.Why)
}

// grow fills the seats up to the target. Learners come first, so that the
// uncomfortable configurations on the way (two voters survive the loss of
// nobody) last only as long as a commit takes.
func (v *view) grow() Decision {
	voters := len(v.current.Voters())
	if voters >= v.wanted {
		return v.wait(fmt.Sprintf("%d voters of %d wanted", voters, v.wanted))
	}
	l := v.learners()
	var why []string
	if voters+l.count() < v.wanted {
		c, zones := v.candidates(), v.zones(protocol.SuffrageLearner)
		switch {
		case len(v.current.Members) >= protocol.ActivesMax:
			why = append(why, fmt.Sprintf("the configuration names %d members, no more fit", len(v.current.Members)))
		case len(c.can) > 0 && c.coming == "":
			return v.addLearner(v.choose(c.can, zones))
		case len(c.can) > 0:
			return v.wait(fmt.Sprintf("%d voters of %d wanted: %s, and wishes to be active", voters, v.wanted, c.coming))
		default:
			if d, ok := v.activateFor(c, zones, fmt.Sprintf("%d voters of %d wanted, and no passive can become one", voters, v.wanted)); ok {
				return d
			}
			if len(c.cannot) == 0 {
				why = append(why, "no passive wishes to be active")
			}
		}
		why = append(why, c.cannot...)
	}
	// An even number of voters survives no more deaths than one less does: it
	// is worth waiting for a learner that will make it odd.
	n := min(len(l.ready), v.wanted-voters)
	if n > 0 && ((voters+n)%2 == 1 || len(l.coming) == 0) {
		return v.promote(l.ready, n)
	}
	why = slices.Concat(why, l.coming, l.silent)
	return v.wait(fmt.Sprintf("%d voters of %d wanted: %s", voters, v.wanted, strings.Join(why, "; ")))
}

// learners are those that somebody counts on: what is said of the ones that
// must wait, because they are catching up or do not answer, is for people.
type learners struct {
	ready          []Peer
	coming, silent []string
}

func (l *learners) count() int { return len(l.ready) + len(l.coming) + len(l.silent) }

// learners returns the live learners. Dead ones hold a seat that nobody counts
// on: another passive may take their place. The same goes for those that do not
// wish to be active any more.
func (v *view) learners() (l learners) {
	for _, m := range v.current.Members {
		if m.Suffrage != protocol.SuffrageLearner {
			continue
		}
		p, alive := v.peer(m.ID)
		progress := v.progress(m.ID)
		if !alive && !progress.Active || alive && (!p.Eligible || v.Barred(p) != "") {
			continue
		}
		if !alive {
			p = Peer{Peer: protocol.Peer{ID: m.ID, Name: m.Name, Address: m.Address}}
		}
		// The latest configuration is at or above the entry that made the
		// member a learner, so acknowledging it is enough, and shows that the
		// member can follow.
		need := max(v.Configuration.Index, v.behind())
		switch {
		case !progress.Active:
			l.silent = append(l.silent, fmt.Sprintf("learner %s does not answer", m.Label()))
		case progress.CatchUp:
			l.coming = append(l.coming, fmt.Sprintf("learner %s is being brought a checkpoint", m.Label()))
		case progress.Match < need:
			l.coming = append(l.coming, fmt.Sprintf("learner %s has acknowledged %d, needs %d", m.Label(), progress.Match, need))
		default:
			l.ready = append(l.ready, p)
		}
	}
	return l
}

// candidates are the passives that can become learners, and why others that
// wish to be active cannot yet. Those are waited for until patience ends.
type candidates struct {
	can      []Peer
	cannot   []string
	patience protocol.Instant
	// coming is one that wishes to be active, and can become a learner by the
	// passing of time alone, while only others can now; empty: none.
	coming string
}

func (v *view) candidates() (c candidates) {
	for _, p := range v.peers {
		if !p.Eligible || p.Role == protocol.RoleReserve || v.current.Names(p.ID) {
			continue
		}
		stable := p.Since.Add(v.Stable)
		since := p.Since
		cannot := func(format string, args ...any) {
			c.cannot = append(c.cannot, label(p)+" "+fmt.Sprintf(format, args...))
			c.patience = max(c.patience, since.Add(v.FailedAfter))
		}
		switch {
		case p.Role != protocol.RolePassive:
			// It was active, or does not know: its log has yet to tell it. However long it
			// has been there, it was not for a seat that it has just lost.
			since = max(since, v.Changed)
			cannot("is not passive yet")
		case v.Barred(p) != "":
			c.cannot = append(c.cannot, label(p)+" "+v.Barred(p))
		case stable > v.Now:
			v.lookAgain(stable)
			cannot("has been alive for %v of %v", v.Now.Sub(p.Since).Round(time.Millisecond), v.Stable)
			if p.Wishes {
				c.coming = c.cannot[len(c.cannot)-1]
			}
		case !p.LastIndexKnown:
			cannot("has not said what it holds")
		case p.LastIndex < v.behind():
			cannot("holds %d of %d", p.LastIndex, v.Commit)
		default:
			c.can = append(c.can, p)
		}
	}
	// One that comes and goes must not keep a seat empty for ever.
	if slices.ContainsFunc(c.can, func(p Peer) bool { return p.Wishes || p.Since.Add(v.FailedAfter) <= v.Now }) {
		c.coming = ""
	}
	return c
}

// NoKey is why a member gets no seat that cannot sign.
const NoKey = "has no key, and would sign nothing of what those follow who check signatures: start it again with --sign-key"

// Barred returns why a member may have no seat although it wishes for one, or is empty: it
// could not sign, or, [S], could not apply what is in the log.
func (in *Input) Barred(p Peer) string {
	level := in.Configuration.Configuration.Level
	switch {
	case in.Signed && !p.Signs:
		return NoKey
	case !p.Level.Covers(level):
		return fmt.Sprintf("knows the format levels up to %d only, and the log is at %d: start it again with a newer release", p.Level.Number(), level.Number())
	}
	return ""
}

// behind returns the lowest index whose holder counts as caught up.
func (v *view) behind() protocol.Index {
	if v.Commit < v.LagMax {
		return 0
	}
	return v.Commit - v.LagMax
}

func (v *view) addLearner(p Peer, zone string) Decision {
	line := protocol.ActiveMember{ID: p.ID, Name: p.Name, Address: p.Reach(), Suffrage: protocol.SuffrageLearner}
	why := fmt.Sprintf("%s becomes a learner%s: %d voters of %d wanted, alive for %v, holds %d of %d",
		label(p), zone, len(v.current.Voters()), v.wanted, v.Now.Sub(p.Since).Round(time.Millisecond), p.LastIndex, v.Commit)
	return v.change(AddLearner, line, why)
}

// promote makes up to n learners voters in one change, one zone after the other.
func (v *view) promote(ready []Peer, n int) Decision {
	d := Decision{Action: PromoteLearner, Version: v.Configuration.Index, Next: v.current}
	zones := v.zones(protocol.SuffrageVoter)
	var why []string
	for ; n > 0 && len(ready) > 0; n-- {
		p, zone := v.choose(ready, zones)
		ready = slices.DeleteFunc(ready, func(r Peer) bool { return r.ID == p.ID })
		zones = append(zones, p.Zone)
		line, _ := v.current.Find(p.ID)
		line.Suffrage = protocol.SuffrageVoter
		d.Next = d.Next.With(line)
		if d.Member.IsZero() {
			d.Member = p.ID
		}
		why = append(why, fmt.Sprintf("%s becomes a voter%s: %d voters of %d wanted, acknowledged %d of %d",
			line.Label(), zone, len(v.current.Voters()), v.wanted, v.progress(p.ID).Match, v.Commit))
	}
	d.Why = strings.Join(why, "; ")
	return d
}

func (v *view) change(action Action, line protocol.ActiveMember, why string) Decision {
	return Decision{Action: action, Member: line.ID, Version: v.Configuration.Index, Next: v.current.With(line), Why: why}
}

func (v *view) wait(why string) Decision {
	why = strings.Join(append(v.note, why), "; ")
	return Decision{Version: v.Configuration.Index, Next: v.current, Why: why, Again: v.again}
}

func (v *view) peer(id protocol.MemberID) (Peer, bool) {
	i, ok := slices.BinarySearchFunc(v.peers, id, func(p Peer, id protocol.MemberID) int { return p.ID.Compare(id) })
	if !ok {
		return Peer{}, false
	}
	return v.peers[i], true
}

func (v *view) progress(id protocol.MemberID) Progress {
	for _, p := range v.Progress {
		if p.ID == id {
			return p
		}
	}
	return Progress{ID: id}
}

func label(p Peer) string {
	return protocol.ActiveMember{ID: p.ID, Name: p.Name}.Label()
}

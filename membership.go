package starling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// membershipPause is between two looks at a learner that is catching up, or at a
	// change that somebody else has begun.
	membershipPause = 100 * time.Millisecond
	// withdrawTime is how long the seat of a learner that has not become a voter is
	// tried to be taken back, beyond the end of the caller's context.
	withdrawTime = 2 * time.Second
)

// Actives is who has a seat in a cluster, by the word of its leader. Version is that of
// the configuration, which is committed.
type Actives struct {
	Version Index
	// Voters and Learners are names, sorted.
	Voters, Learners []string
	Leader           string
	// Actives is how many voters the autopilot aims at, Floor how many it leaves at
	// least, 0 for none. AutopilotOff says that it does neither.
	Actives, Floor int
	AutopilotOff   bool
	// Changed says that the call has changed something. Without it there was nothing to do:
	// it was so already.
	Changed bool
	// Member is the name of the member that the call was about, if it was about one.
	Member string
	// Note is what else people should know; empty: nothing.
	Note string
}

// String says in one line who has a seat, and how many voters are wanted.
func (s Actives) String() string {
	text := "voters " + strings.Join(s.Voters, " ")
	if len(s.Learners) > 0 {
		text += ", learners " + strings.Join(s.Learners, " ")
	}
	return fmt.Sprintf("%s, %d wanted, version %d", text, s.Actives, s.Version)
}

// Actives asks the leader who has a seat, and has it prove that it leads. ErrNoLeader when
// ctx ends: there is none. ErrNoQuorum, after two seconds without one: there can be none, and
// which voters are heard. So it is for all calls about seats.
func (c *Client) Actives(ctx context.Context) (Actives, error) {
	now, err := c.activesNow(ctx)
	if err != nil {
		return Actives{}, fmt.Errorf("asking for the seats: %w", err)
	}
	return activesOf(now), nil
}

// Promote makes a live, eligible member a voter: first a learner, then, when it
// has caught up, a voter. Only then the policy aims at one more voter, if it aimed at
// fewer. The seat of a learner is taken back if the member does not become a voter,
// so that a Promote that fails has changed nothing; its error says so, or that it
// could not be done.
//
// ErrNotFound: no member has the name. ErrNotEligible: the leader does not hear it,
// or it does not wish to be active. ctx bounds the catching up. Promote, Demote, Remove,
// Leave and Transfer return who has a seat in the end. What is so already is a success, of
// which Actives.Changed is false.
func (c *Client) Promote(ctx context.Context, name string) (Actives, error) {
	var given protocol.MemberID // the seat of a learner, perhaps
	label := name
	seats, err := c.changeMembership(ctx, func(now *protocol.AutopilotReport, _ attempt) (*protocol.MembershipChange, error) {
		conf := now.Configuration.Configuration
		id, err := memberNamed(now.Names, name)
		if err != nil {
			return nil, c.unless(ctx, name, err, protocol.ErrNotEligible, "only a live member gets a seat; start it first")
		}
		label = labelIn(now.Names, id, name)
		line, named := conf.Find(id)
		change := &protocol.MembershipChange{Promote: []protocol.MemberID{id}}
		switch voters := len(conf.Voters()); {
		case line.Suffrage == protocol.SuffrageVoter:
			return nil, nil
		case !named:
			given = id
		case voters+1 > conf.Target:
			change.Target = voters + 1
		}
		return change, nil
	})
	if err != nil && !given.IsZero() {
		seats, err = c.withdraw(ctx, given, err)
	}
	if err != nil {
		return Actives{}, fmt.Errorf("promoting %s: %w", label, err)
	}
	seats.Member = label
	return seats, nil
}

// withdraw takes the seat of a learner back that was to become a voter and has not,
// and returns why it has not, and what stands now.
func (c *Client) withdraw(ctx context.Context, id protocol.MemberID, why error) (Actives, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	voter := false
	seats, err := c.changeMembership(ctx, func(now *protocol.AutopilotReport, _ attempt) (*protocol.MembershipChange, error) {
		line, named := now.Configuration.Configuration.Find(id)
		if voter = line.Suffrage == protocol.SuffrageVoter; voter || !named {
			return nil, nil
		}
		return &protocol.MembershipChange{Remove: []protocol.MemberID{id}}, nil
	})
	switch {
	case err != nil:
		return Actives{}, fmt.Errorf("%w; it may be left a learner, and not even the leader can be asked: `starling autopilot get` says what stands, `starling remove` takes its seat back", why)
	case voter:
		return seats, nil // after all
	}
	return Actives{}, fmt.Errorf("%w; it has no seat, and nothing has changed: %s", why, seats)
}

// Demote takes away the seat of an active member, which becomes a passive one and
// keeps its log, and has the policy aim at as many voters as are left, if it aimed at
// more. ErrWouldLoseQuorum: too few of the voters that would be left answer.
// ErrInvalid: the autopilot would give the seat back, because it may not go below its
// floor.
func (c *Client) Demote(ctx context.Context, name string) (Actives, error) {
	return c.removeSuffrage(ctx, "demoting", member{name: name}, lowers)
}

// Leave demotes the member that answers at the addresses of the client. Errors as for
// Demote.
func (c *Client) Leave(ctx context.Context) (Actives, error) {
	status, err := c.half().Status(ctx)
	if err != nil {
		return Actives{}, fmt.Errorf("asking the member that is to give up its seat: %w", err)
	}
	return c.removeSuffrage(ctx, "giving up the seat of", member{name: status.Name, id: status.ID}, lowers)
}

// lowers has the policy aim at as many voters as are left without a member.
func lowers(conf protocol.Configuration, id protocol.MemberID, change *protocol.MembershipChange) error {
	left := len(conf.Voters()) - 1
	if !conf.IsVoter(id) {
		return nil
	}
	if floor := conf.Autopilot.Floor; left < floor && !conf.Autopilot.Off {
		return protocol.ErrInvalid.With(fmt.Sprintf(
			"%d voters would be left, the autopilot's floor is %d, and it would give the seat back: lower that first with `starling autopilot set --floor %d`", left, floor, left))
	}
	if left < conf.Target {
		change.Target = left
	}
	return nil
}

// Remove takes away the seat of a member, a dead one for instance. The number
// of voters that the policy aims at stays: another member may take the seat,
// this one too if it is alive and eligible. Errors as for Demote. A member without a seat
// that is gone has nothing to be taken away: Actives.Note says for how long it is listed.
func (c *Client) Remove(ctx context.Context, name string) (Actives, error) {
	return c.removeSuffrage(ctx, "removing", member{name: name}, func(protocol.Configuration, protocol.MemberID, *protocol.MembershipChange) error { return nil })
}

// member is whom a call is about: by its name, or by its id, which is zero otherwise.
type member struct {
	name string
	id   protocol.MemberID
}

func (m *member) among(names []protocol.NameInUse) (protocol.MemberID, error) {
	if !m.id.IsZero() {
		return m.id, nil
	}
	return memberNamed(names, m.name)
}

// removeSuffrage takes a seat away, with what else belongs to the change.
func (c *Client) removeSuffrage(ctx context.Context, doing string, who member, with func(protocol.Configuration, protocol.MemberID, *protocol.MembershipChange) error) (Actives, error) {
	before, label, unknown := "", who.name, error(nil)
	seats, err := c.changeMembership(ctx, func(now *protocol.AutopilotReport, tried attempt) (*protocol.MembershipChange, error) {
		before = activesOf(now).String()
		if tried == taken {
			return nil, nil // what the autopilot makes of it is another matter
		}
		id, err := who.among(now.Names)
		conf := now.Configuration.Configuration
		switch {
		case errors.Is(err, protocol.ErrNotFound):
			unknown = err
			return nil, nil // it has no seat, whoever it is
		case err != nil:
			return nil, err
		}
		if label = labelIn(now.Names, id, who.name); !conf.Names(id) {
			return nil, nil
		}
		if conf.IsVoter(id) && len(conf.Voters()) == 1 {
			return nil, protocol.ErrInvalid.With("it is the only voter: make another member one first, with `starling promote`")
		}
		change := &protocol.MembershipChange{Remove: []protocol.MemberID{id}}
		return change, with(conf, id, change)
	})
	if err == nil && unknown != nil && !seats.Changed {
		seats.Note, err = c.listed(ctx, who.name, unknown)
	}
	if err == nil {
		seats.Member = label
		return seats, nil
	}
	if before != "" && !errors.Is(err, protocol.ErrUnknownOutcome) && !errors.Is(err, errDone) {
		err = fmt.Errorf("%w; nothing has changed: %s", err, before)
	}
	return Actives{}, fmt.Errorf("%s %s: %w", doing, label, err)
}

// listed says for how long a member without a seat that is gone is still listed, or that
// there is none of a name.
func (c *Client) listed(ctx context.Context, name string, unknown error) (string, error) {
	m, err := c.lists(ctx, name, unknown)
	if err != nil {
		return "", err
	}
	return goneNote(m), nil
}

// lists returns what the member that is asked says of one that the leader does not know.
func (c *Client) lists(ctx context.Context, name string, unknown error) (*protocol.MemberStatus, error) {
	status, err := c.half().Status(ctx)
	if err != nil {
		return nil, err
	}
	var names []protocol.NameInUse
	for _, m := range status.Members {
		names = append(names, protocol.NameInUse{Name: m.Name, Member: m.ID})
	}
	id, err := memberNamed(names, name)
	if errors.Is(err, protocol.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	return &status.Members[slices.IndexFunc(status.Members, func(m protocol.MemberStatus) bool { return m.ID == id })], nil
}

// unless is the error of a name that the leader does not know: no member has it, or the
// one that has it is gone, and this is why nothing can be done with it.
func (c *Client) unless(ctx context.Context, name string, unknown error, refusal *protocol.Error, why string) error {
	m, err := c.lists(ctx, name, unknown)
	switch {
	case err != nil:
		return unknown
	case m.Alive || !m.SilenceKnown:
		return refusal.With(fmt.Sprintf("%s has no seat, and the leader does not hear it: %s", m.Name, why))
	}
	return refusal.With(fmt.Sprintf("%s has no seat, and was last heard %v ago: %s", m.Name, time.Duration(m.Silence).Round(time.Second), why))
}

// goneNote is what people should know of a member that is listed although it is gone;
// empty: it is not.
func goneNote(m *protocol.MemberStatus) string {
	if m.Alive || m.Suffrage != "" || !m.SilenceKnown {
		return ""
	}
	left := max(0, protocol.ListedFor-time.Duration(m.Silence)).Round(time.Minute)
	return fmt.Sprintf("%s has no seat and is gone: it is listed, and missing for `starling verify`, until %v hours after it was last heard, for %v more", m.Name, protocol.ListedFor.Hours(), left)
}

// Transfer hands the leadership to a voter, or, if name is empty, to the one
// that holds most. It returns when that leads, by its own word. ErrNoTransferee, at once: it
// could not lead, or nobody could, and why. ErrInvalid: it is no voter, or the only one.
// ErrUnavailable: it was not elected in time, and the leader leads on, or nobody does.
func (c *Client) Transfer(ctx context.Context, name string) (Actives, error) {
	fail := func(err error) (Actives, error) {
		return Actives{}, fmt.Errorf("handing the leadership over: %w", err)
	}
	var first protocol.MemberID
	for asked := false; ; {
		now, err := c.activesNow(ctx)
		if err != nil {
			return fail(err)
		}
		if first.IsZero() {
			first = now.LeaderID
		}
		change := protocol.MembershipChange{Transfer: true}
		if name != "" {
			if change.Transferee, err = memberNamed(now.Names, name); err != nil {
				return fail(c.unless(ctx, name, err, protocol.ErrInvalid, "only a voter can lead"))
			}
		}
		if now.LeaderID == change.Transferee || name == "" && now.LeaderID != first {
			seats := activesOf(now)
			seats.Changed = asked
			return seats, nil
		}
		asked = true
		if _, err = c.half().ChangeMembership(ctx, change); err != nil && (ctx.Err() != nil || !errors.Is(err, protocol.ErrUnknownOutcome)) {
			return fail(err)
		}
	}
}

// attempt is what is known of the changes that a call has asked for so far.
type attempt int

const (
	none   attempt = iota
	unsure         // one of them may have been taken
	taken          // the last one was
)

// errDone is in the error of a call whose change was made, and that does not know
// what stands now.
var errDone = errors.New("it was done, and what stands now is not known")

// changeMembership makes the changes that a plan asks for, until it wants no more. Each
// is made from the configuration of a leader that has proven that it leads, and asked
// for again when that has changed meanwhile, or when nobody knows whether it was
// taken: a change is meant for one version, so that no two such attempts take effect.
func (c *Client) changeMembership(ctx context.Context, plan func(*protocol.AutopilotReport, attempt) (*protocol.MembershipChange, error)) (Actives, error) {
	for tried := none; ; {
		now, err := c.activesNow(ctx)
		switch {
		case err != nil && tried == taken:
			return Actives{}, fmt.Errorf("%w: %w", errDone, err)
		case err != nil && tried == unsure:
			return Actives{}, protocol.ErrUnknownOutcome.Because(err)
		case err != nil:
			return Actives{}, err
		}
		change, err := plan(now, tried)
		if err != nil || change == nil {
			seats := activesOf(now)
			seats.Changed = tried != none
			return seats, err
		}
		change.Version = now.Configuration.Index
		_, err = c.half().ChangeMembership(ctx, *change)
		switch {
		case err == nil:
			tried = taken
		case errors.Is(err, protocol.ErrStaleVersion) && ctx.Err() == nil:
		case errors.Is(err, protocol.ErrUnknownOutcome) && ctx.Err() == nil:
			tried = unsure
		case errors.Is(err, protocol.ErrNotLearner) && ctx.Err() == nil: // so far
			if late := pauseFor(ctx, membershipPause); late != nil {
				return Actives{}, protocol.ErrUnavailable.With("it has not caught up in time: give it more with --timeout: " + err.Error()).Because(late)
			}
		default:
			return Actives{}, err
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// activesNow returns the leader's configuration, once it is committed.
func (c *Client) activesNow(ctx context.Context) (*protocol.AutopilotReport, error) {
	for {
		now, err := c.half().Autopilot(ctx)
		if err != nil || !now.InFlight {
			return now, err
		}
		if late := pauseFor(ctx, membershipPause/4); late != nil {
			return nil, protocol.ErrUnavailable.With("another membership change is under way, and is not complete").Because(late)
		}
	}
}

func activesOf(now *protocol.AutopilotReport) Actives {
	conf := now.Configuration.Configuration
	s := Actives{
		Version: now.Configuration.Index, Leader: now.Leader, Voters: []string{}, Learners: []string{},
		Actives: conf.Target, Floor: conf.Autopilot.Floor, AutopilotOff: conf.Autopilot.Off,
	}
	for _, m := range conf.Members {
		if m.Suffrage == protocol.SuffrageVoter {
			s.Voters = append(s.Voters, m.Label())
		} else {
			s.Learners = append(s.Learners, m.Label())
		}
	}
	slices.Sort(s.Voters)
	slices.Sort(s.Learners)
	return s
}

// labelIn is what a member is called, for people, among those that are known; usual, if
// nobody knows.
func labelIn(names []protocol.NameInUse, id protocol.MemberID, usual string) string {
	label := protocol.LabelOf(id, func(yield func(protocol.MemberID, string) bool) {
		for _, n := range names {
			if !yield(n.Member, n.Name) {
				return
			}
		}
	})
	if label == id.Short() {
		return usual
	}
	return label
}

// memberNamed finds a member by its name, or by the first digits of its id, eight at
// least. Two may have one name: a directory whose seat was removed was started again.
func memberNamed(names []protocol.NameInUse, name string) (protocol.MemberID, error) {
	var found []protocol.MemberID
	for _, m := range names {
		if m.Name == name || (len(name) >= 8 && len(name) <= 32 && m.Member.String()[:len(name)] == name) {
			found = append(found, m.Member)
		}
	}
	switch len(found) {
	case 0:
		return protocol.MemberID{}, protocol.ErrNotFound.With(fmt.Sprintf("no member is called %q: `starling members` lists them", name))
	case 1:
		return found[0], nil
	}
	return protocol.MemberID{}, protocol.ErrInvalid.With(fmt.Sprintf(
		"%d members are called %q, with the ids %s and %s: `starling members` tells them apart; say the first digits of the id, eight at least",
		len(found), name, found[0].Short(), found[1].Short()))
}

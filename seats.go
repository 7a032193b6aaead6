package starling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// seatPause is between two looks at a learner that is catching up.
const seatPause = 100 * time.Millisecond

// Promote makes a live, eligible member a voter: first a learner, then, when it
// has caught up, a voter. The policy aims at one more voter from then on, if it
// aimed at fewer. ErrNotFound: no member has the name. ErrNotEligible: it is not
// alive, has no durable directory, or does not wish to be active.
// ErrStaleVersion: somebody else changed the configuration meanwhile. ctx
// bounds the catching up.
func (c *Client) Promote(ctx context.Context, name string) error {
	for {
		conf, member, err := c.seat(ctx, name)
		if err != nil {
			return err
		}
		line, _ := conf.Configuration.Find(member)
		if line.Seat == protocol.SeatVoter && !conf.Configuration.Joint() {
			return nil
		}
		change := protocol.SeatChange{Version: conf.Index, Promote: []protocol.MemberID{member}}
		if voters := len(conf.Configuration.Voters()); voters+1 > conf.Configuration.Target {
			change.Target = voters + 1
		}
		_, err = c.half().Seats(ctx, change)
		if err != nil && !errors.Is(err, protocol.ErrNotLearner) && !errors.Is(err, protocol.ErrStaleVersion) {
			return fmt.Errorf("promoting %s: %w", name, err)
		}
		select {
		case <-time.After(seatPause):
		case <-ctx.Done():
			return fmt.Errorf("promoting %s: it has not caught up: %w", name, ctx.Err())
		}
	}
}

// Demote makes an active member a passive one, which keeps its log, and has the
// policy aim at one voter less. ErrWouldLoseQuorum: too few of the voters that
// would be left answer.
func (c *Client) Demote(ctx context.Context, name string) error {
	return c.takeSeat(ctx, "demoting", name, true)
}

// Remove takes away the seat of a member, a dead one for instance. The number
// of voters that the policy aims at stays: another member may take the seat,
// this one too if it is alive and eligible.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.takeSeat(ctx, "removing", name, false)
}

func (c *Client) takeSeat(ctx context.Context, doing, name string, fewer bool) error {
	conf, member, err := c.seat(ctx, name)
	if err != nil {
		return err
	}
	change := protocol.SeatChange{Version: conf.Index, Remove: []protocol.MemberID{member}}
	if fewer && conf.Configuration.IsVoter(member) {
		change.Target = max(1, len(conf.Configuration.Voters())-1)
	}
	if _, err = c.half().Seats(ctx, change); err != nil {
		return fmt.Errorf("%s %s: %w", doing, name, err)
	}
	return nil
}

// Transfer hands the leadership to a voter, or, if name is empty, to the one
// that holds most. ErrUnavailable: it was not elected in time, and the leader
// leads on.
func (c *Client) Transfer(ctx context.Context, name string) error {
	change := protocol.SeatChange{Transfer: true}
	if name != "" {
		_, member, err := c.seat(ctx, name)
		if err != nil {
			return err
		}
		change.Heir = member
	}
	if _, err := c.half().Seats(ctx, change); err != nil {
		return fmt.Errorf("handing the leadership over: %w", err)
	}
	return nil
}

// seat finds a member by its name, or by the first digits of its id, and the
// configuration in force.
func (c *Client) seat(ctx context.Context, name string) (protocol.ConfigurationAt, protocol.MemberID, error) {
	info, err := c.half().Join(ctx)
	if err != nil {
		return protocol.ConfigurationAt{}, protocol.MemberID{}, err
	}
	if len(info.Configuration.Configuration.Members) == 0 {
		return info.Configuration, protocol.MemberID{}, protocol.ErrUnavailable.With(
			fmt.Sprintf("%s, which was asked, is a reserve or has just been started, and does not know who has a seat: ask another member", info.Name))
	}
	id, err := memberNamed(info.Names, name)
	return info.Configuration, id, err
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

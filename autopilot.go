package starling

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// AutopilotStableDefault and AutopilotFailedDefault are the times of an
// Autopilot that nobody has changed.
const (
	AutopilotStableDefault = protocol.AutopilotStableDefault
	AutopilotFailedDefault = protocol.AutopilotFailedDefault
)

// Autopilot is what a cluster goes by when it decides who is active. It is part
// of the replicated configuration: every leader goes by the same.
//
// While it is on, the leader makes eligible members active until there are
// Actives voters, spread over the zones that they name; replaces a voter that
// has failed, in one step, if an eligible member is there to take the seat;
// gives the seat of a member that wishes to be active no more (it was started
// anew as a passive one) to one that does; and asks a reserve to follow when
// fewer than Passives members do, or a seat has nobody else to take it.
type Autopilot struct {
	// Version is the configuration that this was read from. SetAutopilot is
	// refused if another one is in force by then.
	Version Index
	// Off leaves all seats as they are; they change by Promote, Demote and
	// Remove only.
	Off bool
	// Actives is the number of voters to aim at, 1 to 64.
	Actives int
	// Floor is the number of voters below which the autopilot does not go, and
	// up to which it fills seats, however few Actives says. Demote and Remove
	// may go below it. 0, the default, is none: what somebody asks for by
	// Actives is done.
	Floor int
	// Stable is how long a member must have been alive, and the same, before it
	// gets a seat, at most a week; 0 means the default, 1 s.
	Stable time.Duration
	// FailedAfter is how long a voter must have failed, neither answering the
	// leader nor seen alive by the others, before its seat goes to another
	// member; from 1 s to a week, 0 means the default, 30 s. It should be longer than a
	// member takes to start: one that reads its checkpoint does not answer yet.
	FailedAfter time.Duration
	// Passives is how many passive members are wanted, at most 100,000. While
	// fewer are alive for FailedAfter, a reserve is asked to follow. 0, the
	// default: reserves are asked only for a seat, which takes eligible ones.
	Passives int
	// StateBytes is the limit of what all resources may hold: bytes of keys and values, with
	// 128 for each key; from 1 KiB, 0 for none. A write that would hold more is refused with ErrStateFull.
	StateBytes uint64
	// HoldLevel keeps the format level where it is although all members know the next
	// one: until it rises they can be put back to the release before.
	HoldLevel bool
}

// AutopilotStatus is what the autopilot goes by, with the times that are in
// force, and what comes of it.
type AutopilotStatus struct {
	Autopilot
	// Voters and Learners are the names of those with a seat; Leader is which of
	// the voters leads.
	Voters, Learners []string
	Leader           string
	// Reason is what the leader's autopilot said last: what it does, or why it
	// does nothing, for people.
	Reason string
}

// Autopilot asks the leader what the autopilot goes by and what it said last.
// ErrUnavailable: there is no leader.
func (c *Client) Autopilot(ctx context.Context) (AutopilotStatus, error) {
	report, err := c.half().Autopilot(ctx)
	if err != nil {
		return AutopilotStatus{}, fmt.Errorf("asking for the autopilot: %w", err)
	}
	conf, seats := report.Configuration.Configuration, activesOf(report)
	return AutopilotStatus{
		Autopilot: Autopilot{
			Version: report.Configuration.Index, Off: conf.Autopilot.Off, Actives: conf.Target, Floor: conf.Autopilot.Floor,
			Stable:      cmp.Or(conf.Autopilot.Stable, AutopilotStableDefault),
			FailedAfter: cmp.Or(conf.Autopilot.FailedAfter, AutopilotFailedDefault),
			Passives:    conf.Autopilot.Passives,
			HoldLevel:   conf.Autopilot.HoldLevel, StateBytes: uint64(conf.StateBytes),
		},
		Leader: seats.Leader, Reason: report.Reason, Voters: seats.Voters, Learners: seats.Learners,
	}, nil
}

// SetAutopilot changes what the autopilot goes by, all of it: read it with
// Autopilot, change it, and set it. It returns when the change is committed.
// ErrStaleVersion: the configuration has changed since it was read; read it
// again. ErrInvalid: a value is out of its limits. After ErrUnknownOutcome,
// Autopilot says what became of it.
func (c *Client) SetAutopilot(ctx context.Context, a Autopilot) error {
	if a.Actives < 1 || a.Actives > protocol.ActivesMax {
		return protocol.ErrInvalid.With(fmt.Sprintf("the autopilot aims at 1 to %d voters, not %d", protocol.ActivesMax, a.Actives))
	}
	set := protocol.Autopilot{Off: a.Off, Stable: a.Stable, FailedAfter: a.FailedAfter, Floor: a.Floor, Passives: a.Passives, HoldLevel: a.HoldLevel}
	// What is the default stays the default, also of a later version.
	if set.Stable == AutopilotStableDefault {
		set.Stable = 0
	}
	if set.FailedAfter == AutopilotFailedDefault {
		set.FailedAfter = 0
	}
	if err := set.Validate(); err != nil {
		return protocol.ErrInvalid.Because(err)
	}
	limit := int64(min(a.StateBytes, math.MaxInt64))
	if err := protocol.CheckStateBytes(limit); err != nil {
		return protocol.ErrInvalid.Because(err)
	}
	_, err := c.half().ChangeMembership(ctx, protocol.MembershipChange{Version: protocol.Index(a.Version), Target: a.Actives, Autopilot: &set, StateBytes: &limit})
	if err != nil {
		return fmt.Errorf("setting the autopilot: %w", err)
	}
	return nil
}

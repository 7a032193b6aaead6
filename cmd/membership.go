package cmd

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
)

// membershipCommands change who is active, by hand. Each is asked of the leader, changes
// all that it says or nothing, and says what stands then. What is so already is a success,
// which says so: whoever asks again after a lost answer has not failed.
func (p *Program) membershipCommands() []*cli.Command {
	leaf := func(name, usage, args, text string, action func(s *session, args []string) (starling.Actives, string, error)) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Description: text, Flags: clientFlags(),
			Action: p.withClient(func(c *cli.Context, s *session) error {
				seats, said, err := action(s, c.Args().Slice())
				if err != nil {
					return err
				}
				return showActives(p, s, seats, said)
			})}
	}
	said := func(seats starling.Actives, name, changed, already string) string {
		name = cmp.Or(seats.Member, name)
		if seats.Changed {
			return name + " " + changed
		}
		return name + " " + already + ": nothing had to be changed"
	}
	named := func(change func(*session, context.Context, string) (starling.Actives, error), changed, already string) func(*session, []string) (starling.Actives, string, error) {
		return func(s *session, args []string) (starling.Actives, string, error) {
			seats, err := change(s, s.ctx, args[0])
			return seats, said(seats, args[0], changed, already), err
		}
	}
	const answer = "What is so already is a success, and is said. The answer is who has a seat then, by the word of the leader. "
	return []*cli.Command{
		p.autopilotCommand(),
		leaf("promote", "make a passive member a voter", "NAME",
			"It becomes a learner first, and a voter when it has caught up, within --timeout: otherwise nothing has changed. "+
				"The cluster aims at one voter more from then on, if it aimed at fewer than there are. Only a live member that was "+
				"started with --role active or --eligible can get a seat. "+answer+"\n\n"+examples("starling promote p1", "starling promote --timeout 5m p1"),
			named((*session).Promote, "is a voter", "is a voter already")),
		leaf("demote", "make an active member a passive one", "NAME",
			"It keeps its log. The cluster aims at no more voters from then on than are left. "+answer+"\n\n"+examples("starling demote a3"),
			named((*session).Demote, "has no seat any more", "has no seat")),
		leaf("remove", "take away the seat of a member, of a dead one for instance", "NAME",
			"NAME is a name, or at least eight digits of an id. The number of voters that the cluster "+
				"aims at stays: another eligible member takes the seat, or the same one, if it is alive. One that is gone "+
				"is not expected back then, and no longer listed. One that had no seat before is forgotten 24 hours after it was last heard; "+
				"`starling members` and `starling verify` name it until then. "+answer+"\n\n"+examples("starling remove a3"),
			named((*session).Remove, "has no seat any more", "has no seat")),
		leaf("transfer", "hand the leadership to a voter", "[NAME]",
			"Without a name, to the voter that holds most. It has worked when that one leads. If it could not lead, or nobody could, the reason is said at once. "+answer+"\n\n"+examples("starling transfer a2", "starling transfer"),
			func(s *session, args []string) (starling.Actives, string, error) {
				seats, err := s.Transfer(s.ctx, append(args, "")[0])
				return seats, said(seats, seats.Leader, "leads", "leads already"), err
			}),
		leaf("leave", "give up the seat of the member at --addr", "",
			"It goes on as a passive member. Stop its agent afterwards to take it away altogether. --addr is that one member. "+answer+"\n\n"+
				examples("starling leave --addr 127.0.0.1:7602"),
			func(s *session, _ []string) (starling.Actives, string, error) {
				if len(s.addresses) > 1 {
					return starling.Actives{}, "", &usageError{fmt.Sprintf("starling leave: which one? --addr has %d members: name the one that is to give up its seat", len(s.addresses))}
				}
				seats, err := s.Leave(s.ctx)
				return seats, said(seats, s.addresses[0], "has no seat any more", "has no seat"), err
			}),
	}
}

// activesJSON is stable for scripts.
type activesJSON struct {
	Voters    []string       `json:"voters"`
	Learners  []string       `json:"learners"`
	Leader    string         `json:"leader"`
	Actives   int            `json:"actives"`
	Floor     int            `json:"floor"`
	Autopilot bool           `json:"autopilot"`
	Version   starling.Index `json:"version"`
	Changed   bool           `json:"changed"`
	Note      string         `json:"note,omitempty"`
}

// showActives says what was done, and what stands now.
func showActives(p *Program, s *session, seats starling.Actives, said string) error {
	if s.json {
		return p.printJSON(activesJSON{
			Voters: seats.Voters, Learners: seats.Learners, Leader: seats.Leader,
			Actives: seats.Actives, Floor: seats.Floor, Autopilot: !seats.AutopilotOff, Version: seats.Version,
			Changed: seats.Changed, Note: seats.Note,
		})
	}
	if err := p.say("%s\n", said); err != nil {
		return err
	}
	if seats.Note != "" {
		if err := p.say("note: %s\n", notation.Safe(seats.Note, "")); err != nil {
			return err
		}
	}
	wanted := fmt.Sprint(seats.Actives)
	switch voters := len(seats.Voters); {
	case seats.AutopilotOff:
		wanted += ", and the autopilot is off"
	case voters < max(seats.Actives, seats.Floor):
		wanted += ": the autopilot fills the seat when it can"
	case voters > max(seats.Actives, seats.Floor):
		wanted += ": the autopilot takes seats away"
	}
	return printTable(p.Stdout, nil, [][]string{
		{"voters", orNone(strings.Join(seats.Voters, " "))},
		{"learners", orNone(strings.Join(seats.Learners, " "))},
		{"leader", orNone(seats.Leader)},
		{"actives wanted", wanted},
		{"version", fmt.Sprint(seats.Version)},
	})
}

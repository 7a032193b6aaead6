package cmd

import (
	"github.com/urfave/cli/v2"
)

// seatCommands change who is active, by hand. Every change is meant for the
// configuration that was in force when the command looked.
func (p *Program) seatCommands() []*cli.Command {
	leaf := func(name, usage, args, text string, least, most int, action func(s *session, args []string) error) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Description: text, Flags: clientFlags(),
			Action: p.withClient(func(c *cli.Context, s *session) error {
				args, err := arguments(c, least, most)
				if err != nil {
					return err
				}
				return action(s, args)
			})}
	}
	return []*cli.Command{
		p.autopilotCommand(),
		leaf("promote", "make a passive member a voter", "NAME",
			"It becomes a learner first, and a voter when it has caught up. Only a live member with a\n"+
				"directory that was started with --role active or --eligible can get a seat.\n\n"+examples("starling promote p1"),
			1, 1, func(s *session, args []string) error { return s.Promote(s.ctx, args[0]) }),
		leaf("demote", "make an active member a passive one", "NAME",
			"It keeps its log. The cluster aims at one voter less from then on.\n\n"+examples("starling demote a3"),
			1, 1, func(s *session, args []string) error { return s.Demote(s.ctx, args[0]) }),
		leaf("remove", "take away the seat of a member, of a dead one for instance", "NAME",
			"NAME is a name, or at least eight digits of an id. The number of voters that the cluster\n"+
				"aims at stays: another eligible member takes the seat.\n\n"+examples("starling remove a3"),
			1, 1, func(s *session, args []string) error { return s.Remove(s.ctx, args[0]) }),
		leaf("transfer", "hand the leadership to a voter", "[NAME]",
			"Without a name, to the voter that holds most.\n\n"+examples("starling transfer a2", "starling transfer"),
			0, 1, func(s *session, args []string) error { return s.Transfer(s.ctx, append(args, "")[0]) }),
		leaf("leave", "give up the seat of the member at --addr", "",
			"It goes on as a passive member. Stop its agent afterwards to take it away altogether.\n\n"+
				examples("starling leave --addr 127.0.0.1:7602"),
			0, 0, func(s *session, _ []string) error {
				status, err := s.Status(s.ctx)
				if err != nil {
					return err
				}
				if err := s.Demote(s.ctx, status.Name); err != nil {
					return err
				}
				return p.say("%s has no seat any more\n", status.Name)
			}),
	}
}

package cmd

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func imposeCommand(p *Program) *cli.Command {
	return &cli.Command{
		Name: "impose", Usage: "make one voter's state everybody's, where states differ and no majority has one", ArgsUsage: "NAME",
		Description: "For states in dispute (`starling verify`, `disputed`) that nothing else ends: all others discard their states, serve nobody, and fetch that of NAME. " +
			"What only they had is lost, also what was acknowledged. NAME is given the lead first. Without --yes it compares the states, says who would discard what, and changes nothing. " +
			"It is refused while a majority has one state: that one counts, and heals the others by itself.\n\n" +
			examples("starling impose a2", "starling impose --yes --timeout 2m a2"),
		Flags: append(clientFlags(), boolFlag("yes", "discard the states of all others that differ from that of NAME")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			name := c.Args().First()
			if c.Bool("yes") {
				seats, err := s.Impose(s.ctx, name)
				if err != nil {
					return err
				}
				return showActives(p, s, seats, "the state of "+name+" is everybody's: who had another one fetches it now (`starling verify` says who has it)")
			}
			v, err := s.Verify(s.ctx)
			if err != nil {
				return err
			}
			text, err := discarded(&v, name)
			if err != nil {
				return err
			}
			if s.json {
				return p.printJSON(v)
			}
			if err := p.printVerification(v); err != nil {
				return err
			}
			return p.say("%s\n", text)
		}),
	}
}

// discarded says what would become of whose state.
func discarded(v *starling.Verification, name string) (string, error) {
	var theirs *starling.VerifiedMember
	for i := range v.Members {
		if m := &v.Members[i]; m.Name == name || len(name) >= 8 && strings.HasPrefix(m.ID, name) {
			theirs = m
		}
	}
	switch {
	case theirs == nil:
		return "", starling.ErrNotFound.With(fmt.Sprintf("no member is called %s", name))
	case theirs.Digest == "":
		return "", starling.ErrUnavailable.With(fmt.Sprintf("%s has not said what its state is, and none could be made everybody's: %s", theirs.Name, orNone(theirs.Reason)))
	}
	var others []string
	for i := range v.Members {
		if m := &v.Members[i]; m != theirs && m.Digest != theirs.Digest {
			others = append(others, m.Name)
		}
	}
	if len(others) == 0 {
		return "Nothing was changed: all members have the state of " + theirs.Name, nil
	}
	return fmt.Sprintf("Nothing was changed. With --yes these discard their states and fetch that of %s, of digest %s at %d: %s. What only they have is lost, also what was acknowledged. "+
		"Those that do not answer now find out when they do.", theirs.Name, theirs.Digest, v.Index, strings.Join(others, ", ")), nil
}

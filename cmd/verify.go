package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func (p *Program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "compare the states of all members at one index",
		Description: "The exit code is 0 only if all of them are heard and have the same, and no two hold one id. Missing is a member that is " +
			"not heard, if it has a seat, or was heard in the last 24 hours and has not left or been removed. " +
			"A member that differs finds out at the next checkpoint, if a majority of the actives agrees, " +
			"and fetches its state anew.\n\n" +
			examples("starling verify", "starling verify --addr 127.0.0.1:7602 -o json"),
		Flags: clientFlags(),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			v, err := s.Verify(s.ctx)
			if err != nil {
				return err
			}
			if s.json {
				err = p.printJSON(v)
			} else {
				err = p.printVerification(v)
			}
			switch {
			case err != nil:
			case !v.Equal:
				err = errors.New("the states of the members are not known to be equal")
			case len(v.Doubled) > 0:
				err = fmt.Errorf("two members answer under one id: %s (one of their directories is a copy of the other's: `starling members` says where; stop the copy and move its directory away)",
					strings.Join(v.Doubled, ", "))
			case len(v.Missing) > 0:
				err = fmt.Errorf("the members that are heard are equal; not heard: %s (start them, or repair the network; %s)",
					strings.Join(v.Missing, ", "), wayOutOfMissing(v.Members))
			}
			return err
		}),
	}
}

// wayOutOfMissing says what becomes of members that are not heard, if they are lost.
func wayOutOfMissing(members []starling.VerifiedMember) string {
	for _, m := range members {
		if m.Verdict == starling.VerdictAbsent && m.Voter {
			return "`starling remove` takes away the seat of one that is lost for good"
		}
	}
	return "one without a seat that is lost is listed for 24 hours after it was last heard"
}

func (p *Program) printVerification(v starling.Verification) error {
	var rows [][]string
	for _, m := range v.Members {
		role := m.Role
		if m.Leader {
			role = "leader"
		}
		applied := fmt.Sprint(m.Applied)
		if m.Verdict == starling.VerdictAbsent || m.Verdict == starling.VerdictUnreachable {
			applied = "?" // it has not said
		}
		compared := "-" // nothing was
		if m.Digest != "" {
			compared = fmt.Sprint(v.Index)
		}
		rows = append(rows, []string{m.Name, role, applied, compared, orNone(m.Digest), m.Verdict, orNone(m.Reason)})
	}
	return printTable(p.Stdout, []string{"NAME", "ROLE", "APPLIED", "COMPARED", "DIGEST", "VERDICT", "WHY"}, rows)
}

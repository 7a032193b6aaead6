package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// readFlags are the flags of every command that reads.
func readFlags(more ...cli.Flag) []cli.Flag {
	return append(clientFlags(
		stringFlag("consistency", "linearizable", "`LEVEL` of the read: linearizable (never older than what was acknowledged before); "+
			"session (any member, once it has what the one at --addr has) or session=INDEX (once it has reached that index); "+
			"stale=D (any member that can prove to be at most D old, such as 500ms; else the leader is asked; else exit code 3); "+
			"or local (what the member at --addr has)"),
		boolFlag("no-forwarding", "with stale=D: do not ask the leader")), more...)
}

// levelOf returns the options of a read.
func levelOf(c *cli.Context) ([]starling.ReadOption, error) {
	text := c.String("consistency")
	name, value, valued := strings.Cut(text, "=")
	var level starling.ReadOption
	switch {
	case text == "linearizable":
		level = starling.Linearizable
	case text == "local":
		level = starling.Locally
	case text == "session":
		level = starling.OwnWrites
	case name == "session" && valued:
		index, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, &usageError{fmt.Sprintf("%s: --consistency session=INDEX takes a whole number, not %q", c.Command.HelpName, value)}
		}
		level = starling.AtLeast(starling.Index(index))
	case name == "stale":
		age, err := time.ParseDuration(value)
		if err != nil || age < 0 {
			return nil, &usageError{fmt.Sprintf("%s: --consistency stale=D takes an age such as 500ms or 2s, not %q", c.Command.HelpName, value)}
		}
		level = starling.MaxStale(age)
	default:
		return nil, &usageError{fmt.Sprintf("%s: --consistency takes linearizable, session, stale=D or local, not %q", c.Command.HelpName, text)}
	}
	if !c.Bool("no-forwarding") {
		return []starling.ReadOption{level}, nil
	}
	if name != "stale" {
		return nil, &usageError{fmt.Sprintf("%s: --no-forwarding goes with --consistency stale=D", c.Command.HelpName)}
	}
	return []starling.ReadOption{level, starling.NoForwarding}, nil
}

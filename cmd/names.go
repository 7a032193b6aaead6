package cmd

import (
	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// named has commands whose first argument is the name of a resource look at it
// before they look for a cluster: a name that nothing can have is refused
// whether or not there is one.
func named(commands []*cli.Command) []*cli.Command {
	for _, c := range commands {
		c.Before = checkNamed
	}
	return commands
}

func checkNamed(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return nil // the command says what it takes
	}
	w := protocol.Watch{Resource: args[0], Type: kvmap.Type.Name()}
	if c.Command.Name == "watch" && len(args) > 1 {
		w.Prefix = []byte(args[1])
	}
	return w.Validate()
}

package cmd

import (
	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// named has commands whose first argument is the name of a resource look at it,
// and at keys and values, before they look for a cluster: what nothing can have
// is refused whether or not there is one.
func named(commands []*cli.Command) []*cli.Command {
	for _, c := range commands {
		c.Before = checkNamed
	}
	return commands
}

func checkNamed(c *cli.Context) error {
	args := c.Args().Slice()
	w := protocol.Watch{Resource: args[0], Type: kvmap.Type.Name()}
	if err := w.Validate(); err != nil {
		return err
	}
	for i, word := range argumentWords(c.Command) {
		if i < len(args) {
			if err := checkArgument(c, word, args[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkArgument looks at a key or a value, which the flags of the command have a
// part in.
func checkArgument(c *cli.Context, word, arg string) error {
	switch word {
	case "KEY":
		key, err := keyOf(c, arg)
		if err == nil {
			_, err = kvmap.EncodeKey(key)
		}
		return err
	case "[PREFIX]":
		prefix, err := prefixOf(c, []string{arg})
		if err == nil {
			_, err = kvmap.EncodePrefix[starling.RawKey](prefix)
		}
		return err
	case "VALUE":
		_, err := valueOf(c, arg)
		return err
	}
	return nil
}

package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange brings a command line into the one form in which the cli library
// reads it as it was meant: command, flags, "--", arguments. By itself the
// library takes flags after an argument for arguments, in silence, and leaves
// a "--" that stands between arguments among them.
//
// What stands after the first "--" is literal. Before it, what names a flag of the
// command is that flag, wherever it stands. Any other argument with a dash, such as -5,
// is an argument.
func arrange(app *cli.App, args []string) ([]string, error) {
	commands, path := app.Commands, []string{app.Name}
	if err := checkBareFlags(args); err != nil {
		return nil, err
	}
	if len(args) > 1 && (args[0] == "help" || args[0] == "h") {
		return helpOf(commands, path, args[1:])
	}
	for i, arg := range args {
		if strings.HasPrefix(arg, "-") {
			return args, checkEarlyFlag(commands, path, arg, args[i+1:])
		}
		c := findCommand(commands, arg)
		if c == nil {
			return args, nil // help, or unknown: the actions say so
		}
		path = append(path, c.Name)
		if len(c.Subcommands) == 0 {
			tail, err := arrangeLeaf(app, c, path, args[i+1:])
			return append(slices.Clone(args[:i+1]), tail...), err
		}
		commands = c.Subcommands
	}
	return args, nil
}

// checkBareFlags refuses a value for the flags that the library adds to each command: one
// with --help=false would run, and nobody has looked at its arguments.
func checkBareFlags(args []string) error {
	for _, arg := range args {
		if arg == "--" {
			break
		}
		flag, _, valued := strings.Cut(arg, "=")
		if name, ok := flagName(flag); ok && valued && slices.Contains([]string{"help", "h", "version", "v"}, name) {
			return &usageError{fmt.Sprintf("starling: the flag %s takes no value, got %s; see starling --help", flag, arg)}
		}
	}
	return nil
}

// helpOf turns "help map get" into "map get --help": the library's own help looks at
// the first word only, and takes an unknown one for a failure.
func helpOf(commands []*cli.Command, path, words []string) ([]string, error) {
	for _, word := range words {
		c := findCommand(commands, word)
		if c == nil {
			name := strings.Join(path, " ")
			return nil, &usageError{fmt.Sprintf("%s: unknown command %q%s; see %s --help", name, word, suggest(word, names(commands)), name)}
		}
		path, commands = append(path, c.Name), c.Subcommands
	}
	return append(slices.Clone(words), "--help"), nil
}

// checkEarlyFlag refuses flags that stand before the command that they belong
// to, which may be in the rest. Help and version may stand anywhere.
func checkEarlyFlag(commands []*cli.Command, path []string, arg string, rest []string) error {
	name, _ := flagName(arg)
	switch name {
	case "help", "h", "version", "v":
		return nil
	case "":
		return &usageError{fmt.Sprintf("%s: a command is expected before %q", strings.Join(path, " "), arg)}
	}
	c, leaf := commandIn(commands, rest)
	if leaf == nil {
		c = commandWithFlag(commands, name)
	} else if findFlag(leaf.Flags, name) == nil {
		path = append(path, strings.Fields(c)...)
		return &usageError{fmt.Sprintf("%s: unknown flag %s%s; see %s --help", strings.Join(path, " "), arg, suggest("--"+name, flagNames(leaf.Flags)), strings.Join(path, " "))}
	}
	if c != "" {
		return &usageError{fmt.Sprintf("%s: the flag %s stands before the command; flags go after it: %s %s %s ...",
			strings.Join(path, " "), arg, strings.Join(path, " "), c, arg)}
	}
	return &usageError{fmt.Sprintf("%s: unknown flag %s; see %s --help", strings.Join(path, " "), arg, strings.Join(path, " "))}
}

// commandIn returns the command that words name, and its path below; nil: they name none that
// takes flags.
func commandIn(commands []*cli.Command, words []string) (path string, leaf *cli.Command) {
	for _, word := range words {
		c := findCommand(commands, word)
		if c == nil {
			continue // a value of the flag, perhaps
		}
		path = strings.TrimPrefix(path+" "+c.Name, " ")
		if commands = c.Subcommands; len(commands) == 0 {
			return path, c
		}
	}
	return "", nil
}

// commandWithFlag returns the path of the first command below that has a flag.
func commandWithFlag(commands []*cli.Command, name string) string {
	for _, c := range commands {
		if findFlag(c.Flags, name) != nil {
			return c.Name
		}
		if below := commandWithFlag(c.Subcommands, name); below != "" {
			return c.Name + " " + below
		}
	}
	return ""
}

// arrangeLeaf arranges what follows the name of a command without
// sub-commands.
func arrangeLeaf(app *cli.App, c *cli.Command, path, args []string) ([]string, error) {
	flags, arguments, literal := takeApart(c, args)
	names, err := readable(c, path, flags)
	help := slices.Contains(names, "help") || slices.Contains(names, "h")
	if app.Metadata = map[string]any{givenFlags: names}; err != nil && !help {
		return nil, err
	}
	if err == nil && !help {
		heedVariables(app, c, path)
	}
	if len(arguments) > literal && strings.HasPrefix(arguments[0], "-") && arguments[0] != "-" {
		name, _ := flagName(arguments[0])
		return nil, &usageError{fmt.Sprintf("%s: unknown flag %s%s; see %s --help (write -- before an argument that begins with a dash)",
			strings.Join(path, " "), arguments[0], suggest("--"+name, flagNames(c.Flags)), strings.Join(path, " "))}
	}
	if !help {
		if err := checkArguments(c, strings.Join(path, " "), arguments); err != nil {
			return nil, err
		}
	}
	if len(arguments) == 0 {
		return flags, nil
	}
	return append(append(slices.Clone(flags), "--"), arguments...), nil
}

// takeApart returns the flags among what follows a command, with their values, and its arguments,
// the last of which are literal. Where the last flag lacks its value there are no arguments.
func takeApart(c *cli.Command, args []string) (flags, arguments []string, literal int) {
	for len(args) > 0 {
		if args[0] == "--" {
			return flags, append(arguments, args[1:]...), len(args) - 1
		}
		switch n := leadingFlags(c, args); {
		case n > len(args):
			return append(flags, args...), nil, 0
		case n > 0:
			flags, args = append(flags, args[:n]...), args[n:]
			continue
		}
		arguments, args = append(arguments, args[0]), args[1:]
	}
	return flags, arguments, 0
}

// leadingFlags returns how many of the arguments are known flags and their
// values, from the first on: one more than there are if the last value lacks.
func leadingFlags(c *cli.Command, args []string) int {
	for i := 0; i < len(args); {
		name, ok := flagName(args[i])
		if !ok || !namesFlag(c, name) {
			return i
		}
		_, isBool := findFlag(c.Flags, name).(*cli.BoolFlag)
		i++
		if !isBool && name != "help" && name != "h" && !strings.Contains(args[i-1], "=") {
			i++
		}
		if i >= len(args) {
			return i
		}
	}
	return len(args)
}

// flagName returns the name in -name, --name and --name=value, and whether the
// argument has the form of a flag at all.
func flagName(arg string) (string, bool) {
	name, ok := strings.CutPrefix(arg, "-")
	if !ok {
		return "", false
	}
	name = strings.TrimPrefix(name, "-")
	name, _, _ = strings.Cut(name, "=")
	return name, name != ""
}

func namesFlag(c *cli.Command, name string) bool {
	return name == "help" || name == "h" || findFlag(c.Flags, name) != nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

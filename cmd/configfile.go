package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// configBytesMax limits a configuration file; a larger one is a mistake.
const configBytesMax = 1 << 20

// readConfigFile sets every flag that neither the command line nor a variable
// has set to its key in the file of --config, and returns how what is set is named.
func readConfigFile(c *cli.Context) (names namer, err error) {
	path := c.String("config")
	if path == "" {
		return names, nil
	}
	names = namer{file: path, lines: map[string]int{}}
	wrong := func(format string, args ...any) (namer, error) {
		return names, &usageError{fmt.Sprintf("%s: --config %s: ", c.Command.HelpName, path) + fmt.Sprintf(format, args...)}
	}
	f, err := os.Open(path)
	if err != nil {
		return wrong("%v", errors.Unwrap(err))
	}
	defer f.Close()
	var document yaml.Node
	err = yaml.NewDecoder(io.LimitReader(f, configBytesMax)).Decode(&document)
	if errors.Is(err, io.EOF) {
		return names, nil // an empty file
	}
	if err != nil {
		return wrong("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return wrong("line %d: expected lines such as \"bind: 127.0.0.1:7600\"", root.Line)
	}
	seen := map[string]int{} // the line of each key
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		switch key.Value {
		case "config":
			return wrong("line %d: the key config names a file, and files do not name one another: say --config on the command line, once", key.Line)
		case "help", "h":
			return wrong("line %d: help is for the command line: starling agent --help", key.Line)
		}
		if findFlag(c.Command.Flags, key.Value) == nil {
			return wrong("line %d: unknown key %q%s", key.Line, key.Value, strings.ReplaceAll(suggest("--"+key.Value, flagNames(c.Command.Flags)), "--", ""))
		}
		text, ok := scalarText(value)
		if !ok {
			return wrong("line %d: %s takes one value, or for addresses a list of them", value.Line, key.Value)
		}
		if before, twice := seen[key.Value]; twice {
			return wrong("line %d: the key %q stands on line %d already: one of the two has to go", key.Line, key.Value, before)
		}
		if seen[key.Value] = key.Line; c.IsSet(key.Value) {
			continue
		}
		if err := c.Set(key.Value, text); err != nil {
			return wrong("line %d: %s: %s", value.Line, key.Value, whyNot(c, key.Value, text, err))
		}
		if bounded, ok := findFlag(c.Command.Flags, key.Value).(cli.ActionableFlag); ok {
			if err := bounded.RunAction(c); err != nil {
				return wrong("line %d: %s", key.Line, strings.ReplaceAll(strings.TrimPrefix(err.Error(), c.Command.HelpName+": "), "--"+key.Value, key.Value))
			}
		}
		names.lines[key.Value] = key.Line
	}
	return names, nil
}

// scalarText returns a value as a flag takes it; a list is joined by commas.
func scalarText(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, true
	case yaml.SequenceNode:
		var parts []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", false
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

// whyNot says why a flag does not take a text; the library says "parse error".
func whyNot(c *cli.Context, name, text string, err error) string {
	if takes := takesOf(findFlag(c.Command.Flags, name)); takes != "" {
		return fmt.Sprintf("%q, where it takes %s", text, takes)
	}
	return err.Error()
}

package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/starlinghq/starling/internal/naming"
)

// configBytesMax limits a configuration file; a larger one is a mistake.
const configBytesMax = 1 << 20

// readConfigFile sets every flag that neither the command line nor a variable
// has set to its key in the file of --config, and returns how what is set is named, and
// all that is wrong with the file.
func readConfigFile(c *cli.Context) (names namer, wrong naming.Faults) {
	names = namerOf(c)
	path := c.String("config")
	if path == "" {
		return names, nil
	}
	names.file, names.unread = path, true
	add := func(format string, args ...any) {
		wrong.Addf("%s %s: %s", naming.Field("Config"), path, fmt.Sprintf(format, args...))
	}
	f, err := os.Open(path)
	if err != nil {
		add("%v", errors.Unwrap(err))
		return names, wrong
	}
	defer f.Close()
	decoder := yaml.NewDecoder(io.LimitReader(f, configBytesMax))
	var document, second yaml.Node
	if err = decoder.Decode(&document); errors.Is(err, io.EOF) {
		names.unread = false // an empty file
		return names, nil
	}
	if err != nil {
		add("%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return names, wrong
	}
	if err = decoder.Decode(&second); err == nil {
		add("line %d: a second document begins, and a file has one: take out the line ---", second.Line)
	} else if !errors.Is(err, io.EOF) {
		add("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		add("line %d: expected lines such as \"bind: 127.0.0.1:7600\"", root.Line)
		return names, wrong
	}
	names.unread, names.lines = false, map[string]int{}
	seen := map[string]int{} // the line of each key
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if before, twice := seen[key.Value]; twice {
			add("line %d: the key %q stands on line %d already: one of the two has to go", key.Line, key.Value, before)
			continue
		}
		seen[key.Value] = key.Line
		set, why := setKey(c, key.Value, value)
		if why != "" {
			add("line %d: %s", key.Line, why)
		} else if set {
			names.lines[key.Value] = key.Line
		}
	}
	return names, wrong
}

// setKey sets a flag to what a file has for it, unless it is set already, or says why not.
func setKey(c *cli.Context, key string, value *yaml.Node) (set bool, why string) {
	switch key {
	case "config":
		return false, "the key config names a file, and files do not name one another: say --config on the command line, once"
	case "help", "h":
		return false, "help is for the command line: starling agent --help"
	}
	flag := findFlag(c.Command.Flags, key)
	if flag == nil {
		return false, fmt.Sprintf("unknown key %q%s", key, strings.ReplaceAll(suggest("--"+key, flagNames(c.Command.Flags)), "--", ""))
	}
	text, ok := scalarText(value)
	if !ok {
		return false, key + " takes one value, or for addresses a list of them"
	}
	if c.IsSet(key) {
		return false, ""
	}
	if !reads(flag, text) { // what cannot be read would be set to 0
		return false, fmt.Sprintf("%s: %q, where it takes %s", key, text, takesOf(flag))
	}
	if err := c.Set(key, text); err != nil {
		return false, key + ": " + err.Error()
	}
	if bounded, ok := flag.(cli.ActionableFlag); ok {
		if err := bounded.RunAction(c); err != nil {
			return false, strings.ReplaceAll(strings.TrimPrefix(err.Error(), c.Command.HelpName+": "), "--"+key, key)
		}
	}
	return true, ""
}

// scalarText returns a value as a flag takes it; a list is joined by commas.
func scalarText(n *yaml.Node) (string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" { // null, ~, or nothing
			return "", true
		}
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

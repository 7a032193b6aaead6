package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// variablePrefix begins the names of all environment variables of this program.
const variablePrefix = "STARLING_"

// heedVariables says on standard error which variables of a command are set and do nothing:
// empty ones, which count as not set, and those with the command's prefix, or a name near to
// one, that no flag reads. That is no error: the environment also has what others put there,
// as Kubernetes does for a service that is called starling-agent.
func heedVariables(app *cli.App, c *cli.Command, path []string) {
	known := emptied(app, c)
	prefix := variablePrefix
	for _, name := range known {
		if name != addrVariable {
			prefix += strings.ToUpper(c.Name) + "_"
			break
		}
	}
	var unread []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, variablePrefix) && !slices.Contains(known, name) {
			unread = append(unread, name)
		}
	}
	slices.Sort(unread)
	for _, name := range unread {
		near := meant(name, prefix, known)
		if near != "" {
			near = fmt.Sprintf(", did you mean %s?", near)
		} else if prefix == variablePrefix || !strings.HasPrefix(name, prefix) {
			continue // another command's, or another program's
		}
		fmt.Fprintf(app.ErrWriter, "starling: the environment variable %s is read by no flag of %s%s\n", name, strings.Join(path, " "), near)
	}
}

// emptied returns the names of all variables of a command's flags, and has those that are
// empty not be read: they count as not set, whatever kind of flag they are for.
func emptied(app *cli.App, c *cli.Command) (known []string) {
	for _, f := range c.Flags {
		with, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		for _, name := range with.GetEnvVars() {
			known = append(known, name)
			if text, set := os.LookupEnv(name); set && text == "" {
				fmt.Fprintf(app.ErrWriter, "starling: the environment variable %s is empty, and counts as not set\n", name)
				readFrom(f, nil)
			}
		}
	}
	return known
}

// meant returns the variable, of some that begin with a prefix, that one with another name
// may have been meant to be: its last part is there without the prefix, or the names differ
// in few letters. Empty: none.
func meant(name, prefix string, known []string) string {
	last := strings.TrimPrefix(strings.TrimPrefix(name, prefix), variablePrefix)
	best, nearest := "", 2
	if strings.HasPrefix(name, prefix) && prefix != variablePrefix {
		nearest = 2 + len(last)/3 // it was meant for this command
	}
	for _, k := range known {
		end := strings.TrimPrefix(strings.TrimPrefix(k, prefix), variablePrefix)
		d := distance(name, k)
		if end == last || len(last) >= 4 && (strings.HasPrefix(end, last) || strings.HasPrefix(last, end)) {
			d = min(d, 1)
		}
		if d < nearest {
			best, nearest = k, d
		}
	}
	return best
}

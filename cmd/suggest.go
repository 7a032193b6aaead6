package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// suggest returns ", did you mean ...?" with the nearest of the known words, or
// nothing if none is near.
func suggest(given string, known []string) string {
	best, nearest := "", 1+max(1, len(given)/3)
	for _, k := range known {
		d := distance(given, k)
		if len(given) >= 2 && strings.HasPrefix(k, given) {
			d = 1
		}
		if d < nearest {
			best, nearest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", best)
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows = [3][]int{last, row, before}
	}
	return rows[1][len(b)]
}

func flagNames(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				out = append(out, "--"+name)
			}
		}
	}
	return out
}

// candidates returns what could come next on a command line, for the shells'
// completion scripts: commands, flags, or the words that a command takes.
func candidates(app *cli.App, args []string) []string {
	commands, flags := app.Commands, []cli.Flag(nil)
	var words []string
	for i, arg := range args {
		c := findCommand(commands, arg)
		if c == nil {
			if i == len(args)-1 && strings.HasPrefix(arg, "-") {
				break
			}
			return nil
		}
		commands, flags, words = c.Subcommands, c.Flags, nil
		if len(c.Subcommands) == 0 {
			if c.Name == "completion" {
				words = strings.Split(c.ArgsUsage, "|")
			}
			break
		}
	}
	if n := len(args); n > 0 && strings.HasPrefix(args[n-1], "-") {
		return slices.DeleteFunc(append(flagNames(flags), "--help"), func(name string) bool { return !strings.HasPrefix(name, args[n-1]) })
	}
	if len(commands) > 0 {
		return names(commands)
	}
	return words
}

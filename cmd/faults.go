package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// What is wrong with a command line, and with the variables beside it, is said all at once;
// the library stops at the first.

// givenFlags is where the application keeps the names of the flags on the command line.
const givenFlags = "given flags"

// given reports whether a flag stands on the command line.
func given(c *cli.Context, name string) bool {
	names, _ := c.App.Metadata[givenFlags].([]string)
	return slices.ContainsFunc(findFlag(c.Command.Flags, name).Names(), func(n string) bool { return slices.Contains(names, n) })
}

// variableOf returns the environment variable that a flag has its value from; empty: it
// has none, or the command line goes over it.
func variableOf(c *cli.Context, name string) string {
	f, ok := findFlag(c.Command.Flags, name).(cli.DocGenerationFlag)
	if !ok || given(c, name) {
		return ""
	}
	for _, variable := range f.GetEnvVars() {
		if os.Getenv(variable) != "" {
			return variable
		}
	}
	return ""
}

// readable returns the names of the flags that a command line begins with, or the error
// that says all that their values, and those of variables, cannot be read as.
func readable(c *cli.Command, path, flags []string) (names []string, err error) {
	var wrong []string
	check := func(f cli.Flag, name, text string) {
		if !reads(f, text) {
			wrong = append(wrong, fmt.Sprintf("invalid value %q for %s, which takes %s", text, name, takesOf(f)))
		}
	}
	for i := 0; i < len(flags); i++ {
		name, _ := flagName(flags[i])
		names = append(names, name)
		_, text, inOne := strings.Cut(flags[i], "=")
		f := findFlag(c.Flags, name)
		if _, isBool := f.(*cli.BoolFlag); f == nil || isBool && !inOne {
			continue
		}
		if !inOne {
			if i++; i == len(flags) {
				wrong = append(wrong, "flag needs an argument: --"+name)
				break
			}
			text = flags[i]
		}
		check(f, "--"+name, text)
	}
	wrong = append(wrong, twice(c, names)...)
	for _, f := range c.Flags {
		with, ok := f.(cli.DocGenerationFlag)
		if !ok || slices.ContainsFunc(f.Names(), func(n string) bool { return slices.Contains(names, n) }) {
			continue
		}
		for _, variable := range with.GetEnvVars() {
			if text := os.Getenv(variable); text != "" {
				check(f, variable, text)
			}
		}
	}
	if len(wrong) > 0 {
		return names, &usageError{fmt.Sprintf("%s: %s; see %[1]s --help", strings.Join(path, " "), strings.Join(wrong, "\n  "))}
	}
	return names, nil
}

// reads reports whether a flag can read a text, as the library does.
func reads(f cli.Flag, text string) bool {
	var err error
	switch f.(type) {
	case *cli.DurationFlag:
		_, err = time.ParseDuration(text)
	case *cli.IntFlag:
		_, err = strconv.ParseInt(text, 0, strconv.IntSize)
	case *cli.Uint64Flag:
		_, err = strconv.ParseUint(text, 0, 64)
	case *cli.Uint64SliceFlag:
		for item := range strings.SplitSeq(text, ",") {
			_, one := strconv.ParseUint(strings.TrimSpace(item), 0, 64)
			err = cmp.Or(err, one)
		}
	case *cli.Float64Flag:
		_, err = strconv.ParseFloat(text, 64)
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(text)
	}
	return err == nil
}

// withinBounds is what looks at the bounds of all flags of a command, before next.
func withinBounds(next cli.BeforeFunc) cli.BeforeFunc {
	return func(c *cli.Context) error {
		var wrong []string
		for _, f := range c.Command.Flags {
			name := f.Names()[0]
			with, ok := f.(cli.ActionableFlag)
			if !ok || !c.IsSet(name) {
				continue
			}
			err := with.RunAction(c)
			if usage := (*usageError)(nil); err != nil && !errors.As(err, &usage) {
				return err
			}
			if err != nil {
				wrong = append(wrong, strings.ReplaceAll(strings.TrimPrefix(err.Error(), c.Command.HelpName+": "), "--"+name, namerOf(c).flag(name)))
			}
		}
		switch {
		case len(wrong) > 0:
			return &usageError{c.Command.HelpName + ": " + strings.Join(wrong, "\n  ")}
		case next != nil:
			return next(c)
		}
		return nil
	}
}

package cmd

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
)

// A flag that says its bounds is refused beyond them before its command does anything:
// before it asks a cluster, and whether or not one is there.

func boundedInt(name string, value, low, high int, usage string) *cli.IntFlag {
	f := intFlag(name, value, usage)
	f.Action = bounds(name, low, high)
	return f
}

func boundedFloat(name string, value, low, high float64, usage string) *cli.Float64Flag {
	f := floatFlag(name, value, usage)
	f.Action = bounds(name, low, high)
	return f
}

// boundedDuration takes besides its bounds what also says.
func boundedDuration(name string, value, low, high time.Duration, usage string, also ...time.Duration) *cli.DurationFlag {
	f := durationFlag(name, value, usage)
	f.Action = bounds(name, low, high, also...)
	return f
}

// bounds refuses what is not between two values, such as NaN.
func bounds[T cmp.Ordered](name string, low, high T, also ...T) func(*cli.Context, T) error {
	return func(c *cli.Context, v T) error {
		if v >= low && v <= high || slices.Contains(also, v) {
			return nil
		}
		text := fmt.Sprintf("%s: --%s is %v, not from %v to %v", c.Command.HelpName, name, v, low, high)
		for _, other := range also {
			text += fmt.Sprintf(", or %v", other)
		}
		return &usageError{text}
	}
}

// listOf refuses a list of addresses that has something in it, and none, and one that is
// given twice: the second would take the place of the first.
func listOf(f *cli.StringFlag) *cli.StringFlag {
	f.Action = func(c *cli.Context, text string) error {
		if text != "" && len(addresses(text)) == 0 {
			return &usageError{fmt.Sprintf("%s: --%s %q has no address", c.Command.HelpName, f.Name, text)}
		}
		return nil
	}
	return f
}

// lists are the flags that take several values, between commas.
var lists = []string{"addr", "join"}

// twice says of each flag that stands more than once among some names that it takes one
// value: the last would take the place of the others in silence. A flag of a slice gathers
// them.
func twice(c *cli.Command, names []string) (wrong []string) {
	times := map[string]int{}
	for _, name := range names {
		f := findFlag(c.Flags, name)
		if _, gathers := f.(*cli.Uint64SliceFlag); f == nil || gathers {
			continue
		}
		name = f.Names()[0]
		if times[name]++; times[name] != 2 {
			continue
		}
		takes := "takes one value"
		if slices.Contains(lists, name) {
			takes = "takes a list: HOST:PORT,HOST:PORT"
		} else if _, isBool := f.(*cli.BoolFlag); isBool {
			takes = "is said once"
		}
		wrong = append(wrong, fmt.Sprintf("--%s stands twice, and %s", name, takes))
	}
	return wrong
}

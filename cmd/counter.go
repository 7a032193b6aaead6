package cmd

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// counterCommands are the commands of counters.
type counterCommands struct{ *Program }

func (p counterCommands) command() *cli.Command {
	leaf := func(name, usage, args, example string, flags []cli.Flag, action func(c *cli.Context, s *session) error) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Description: examples(example), Flags: flags, Action: p.withClient(action)}
	}
	return &cli.Command{
		Name:  "counter",
		Usage: "counters: add, get, set, cas, watch",
		Description: "64-bit whole numbers; a counter that nobody has touched is 0.\n\n" +
			examples("starling counter add hits 1", "starling counter add hits -5", "starling counter get hits"),
		Subcommands: named([]*cli.Command{
			leaf("add", "add a number, which may be negative, and print the sum", "NAME NUMBER", "starling counter add hits -5", clientFlags(), p.add),
			leaf("get", "print the number", "NAME", "starling counter get hits", readFlags(), p.get),
			leaf("set", "set the number", "NAME NUMBER", "starling counter set hits 0", clientFlags(), p.set),
			leaf("cas", "set the number if it is the expected one; exit code 4 if not", "NAME EXPECTED NUMBER", "starling counter cas hits 3 4", clientFlags(), p.compareAndSet),
			p.watchCommand(),
		}),
	}
}

// number reads an argument that is a whole number.
func number(c *cli.Context, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, &usageError{fmt.Sprintf("%s: %q is not a whole number of 64 bits", c.Command.HelpName, text)}
	}
	return n, nil
}

func (p counterCommands) add(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	delta, err := number(c, args[1])
	if err != nil {
		return err
	}
	n, err := starling.NewCounter(s, args[0]).Add(s.ctx, delta)
	return p.printCount(s, n, err)
}

func (p counterCommands) printCount(s *session, n int64, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return p.printJSON(map[string]any{"value": n, "index": s.index()})
	}
	_, err = fmt.Fprintln(p.Stdout, n)
	return err
}

func (p counterCommands) get(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	var info starling.Info
	n, err := starling.NewCounter(s.Client, args[0]).Get(s.ctx, append(s.read, starling.WithInfo(&info))...)
	return p.printNumber(s, "value", n, info, err)
}

func (p counterCommands) set(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	n, err := number(c, args[1])
	if err != nil {
		return err
	}
	if _, err = starling.NewCounter(s, args[0]).Set(s.ctx, n); err == nil && s.json {
		err = p.printCount(s, n, nil)
	}
	return err
}

func (p counterCommands) compareAndSet(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	expected, err := number(c, args[1])
	if err != nil {
		return err
	}
	n, err := number(c, args[2])
	if err != nil {
		return err
	}
	if _, err = starling.NewCounter(s, args[0]).CompareAndSet(s.ctx, expected, n); err == nil && s.json {
		err = p.printCount(s, n, nil)
	}
	return err
}

func (p counterCommands) watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "print the number whenever it is written, until interrupted", ArgsUsage: "NAME",
		Description: "A line has the index and the number, with a tab between them; that of a counter that was deleted is 0. " + watchHelp + "\n\n" +
			examples("starling counter watch hits", "starling counter watch --after 120 -o json hits", "starling counter watch --latest hits"),
		Flags: clientFlags(afterFlag(), bookmarksFlag(),
			boolFlag("latest", "only the newest number, when the watch is behind")),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			if err := s.tellWait(c, p.Stderr); err != nil {
				return err
			}
			return p.watch(c, s)
		}),
	}
}

func (p counterCommands) watch(c *cli.Context, s *session) error {
	o := starling.WatchOptions{After: indexOf(c, "after"), Latest: c.Bool("latest"), Bookmarks: true}
	begin := func(ctx context.Context) iter.Seq2[starling.CounterEvent, error] {
		return starling.NewCounter(s, c.Args().First()).Watch(ctx, o)
	}
	return tell(p.Program, c, s, inTime(s.ctx, c.Duration("timeout"), notTaken, begin, anything), readEvent, func(e *starling.CounterEvent) error {
		return p.printCounted(e, s)
	})
}

func (p counterCommands) printCounted(e *starling.CounterEvent, s *session) (err error) {
	switch {
	case s.json:
		line := map[string]any{"kind": e.Kind.String(), "index": e.Index, "resume": e.Resume()}
		if e.Kind == starling.EventPut {
			line["value"] = e.Value
		}
		return p.printJSON(line)
	case e.Kind == starling.EventBookmark:
		_, err = fmt.Fprintf(p.Stdout, "%d\t%v\n", e.Index, e.Kind)
	default:
		_, err = fmt.Fprintf(p.Stdout, "%d\t%d\n", e.Index, e.Value)
	}
	return err
}

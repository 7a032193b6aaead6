package cmd

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// queueCommands are the commands of queues.
type queueCommands struct{ *Program }

func (p queueCommands) command() *cli.Command {
	leaf := func(name, usage, args, example string, flags []cli.Flag, action func(c *cli.Context, s *session) error) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Description: examples(example), Flags: flags, Action: p.withClient(action)}
	}
	return &cli.Command{
		Name:  "queue",
		Usage: "queues: push, pop, peek, len",
		Description: "First in, first out. An empty queue is exit code 4. Values are strings, unless --value-type says what the programs that use the queue have. " +
			"They are shown as starling map get shows them.\n\n" +
			examples("starling queue push jobs first", "starling queue pop jobs"),
		Subcommands: named([]*cli.Command{
			leaf("push", "add a value at the end", "NAME VALUE", "starling queue push --value-type int jobs 17", clientFlags(valueTypeFlag()), p.push),
			leaf("pop", "take the first value", "NAME", "starling queue pop jobs", clientFlags(rawFlag()), p.pop),
			leaf("peek", "print the first value and leave it", "NAME", "starling queue peek --consistency local jobs", readFlags(rawFlag()), p.peek),
			leaf("len", "print the number of values", "NAME", "starling queue len jobs", readFlags(), p.len),
		}),
	}
}

func (p queueCommands) push(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	v, err := valueOf(c, args[1])
	if err != nil {
		return err
	}
	err = starling.NewQueue[starling.Raw](s, args[0]).Push(s.ctx, v)
	if err == nil && s.json {
		err = p.printJSON(map[string]any{"index": s.wrote.Load()})
	}
	return err
}

func (p queueCommands) pop(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	v, err := starling.NewQueue[starling.Raw](s, args[0]).Pop(s.ctx)
	if err != nil {
		return err
	}
	if s.json {
		return p.printJSON(struct {
			valueJSON
			Index uint64 `json:"index"`
		}{newValueJSON(v), s.wrote.Load()})
	}
	return p.printValue(v, s.raw)
}

func (p queueCommands) peek(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	var info starling.Info
	v, err := starling.NewQueue[starling.Raw](s.Client, args[0]).Peek(s.ctx, append(s.read, starling.WithInfo(&info))...)
	if err != nil {
		return err
	}
	if s.json {
		return p.printJSON(struct {
			valueJSON
			readJSON
		}{newValueJSON(v), readInfo(info)})
	}
	return p.printValue(v, s.raw)
}

func (p queueCommands) len(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	var info starling.Info
	n, err := starling.NewQueue[starling.Raw](s.Client, args[0]).Len(s.ctx, append(s.read, starling.WithInfo(&info))...)
	return p.printNumber(s, "length", int64(n), info, err)
}

// counterCommands are the commands of counters.
type counterCommands struct{ *Program }

func (p counterCommands) command() *cli.Command {
	leaf := func(name, usage, args, example string, flags []cli.Flag, action func(c *cli.Context, s *session) error) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: args, Description: examples(example), Flags: flags, Action: p.withClient(action)}
	}
	return &cli.Command{
		Name:  "counter",
		Usage: "counters: add, get, set, cas",
		Description: "64-bit whole numbers; a counter that nobody has touched is 0.\n\n" +
			examples("starling counter add hits 1", "starling counter add hits -5", "starling counter get hits"),
		Subcommands: named([]*cli.Command{
			leaf("add", "add a number, which may be negative, and print the sum", "NAME NUMBER", "starling counter add hits -5", clientFlags(), p.add),
			leaf("get", "print the number", "NAME", "starling counter get hits", readFlags(), p.get),
			leaf("set", "set the number", "NAME NUMBER", "starling counter set hits 0", clientFlags(), p.set),
			leaf("cas", "set the number if it is the expected one; exit code 4 if not", "NAME EXPECTED NUMBER", "starling counter cas hits 3 4", clientFlags(), p.compareAndSet),
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
		return p.printJSON(map[string]any{"value": n, "index": s.wrote.Load()})
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

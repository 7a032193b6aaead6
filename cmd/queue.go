package cmd

import (
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
		err = p.printJSON(map[string]any{"index": s.index()})
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
			Index starling.Index `json:"index"`
		}{newValueJSON(v), s.index()})
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

package cmd

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

func (p *Program) resourceCommand() *cli.Command {
	return &cli.Command{
		Name:  "resource",
		Usage: "resources of any type: list, delete",
		Description: "Maps, queues, counters and resources of other types. One is there with its first write, and gone with its last key.\n\n" +
			examples("starling resource list", "starling resource delete jobs"),
		Subcommands: []*cli.Command{p.resourceListCommand(), p.resourceDeleteCommand()},
	}
}

// resourceJSON is one line of resource list.
type resourceJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Keys int    `json:"keys"`
	readJSON
}

func (p *Program) resourceListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list names, types and numbers of keys",
		Description: "Keys are those that the type keeps: a map has one for each of its own, a queue one for each element and up to two for its numbers, a counter one. What is empty is not listed.\n\n" +
			examples("starling resource list", "starling resource list --consistency local -o json"),
		Flags: readFlags(),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			var info starling.Info
			var rows [][]string
			for one, err := range starling.Resources(s.ctx, s.Client, append(s.read, starling.WithInfo(&info))...) {
				if err != nil {
					return err
				}
				if s.json {
					if err := p.printJSON(resourceJSON{one.Name, one.Type, one.Keys, readInfo(info)}); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, []string{one.Name, one.Type, fmt.Sprint(one.Keys)})
			}
			if s.json {
				return nil
			}
			return printTable(p.Stdout, []string{"NAME", "TYPE", "KEYS"}, rows)
		}),
	}
}

func (p *Program) resourceDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a resource with all that it holds", ArgsUsage: "NAME",
		Description: "A resource that is not there is exit code 4; one of another type than --type says stays, and is exit code 5. All keys go in one step, in which the members do nothing else: about a second for a million.\n\n" +
			examples("starling resource delete jobs", "starling resource delete --type queue -o json jobs"),
		Flags: clientFlags(stringFlag("type", "", "only if it is a resource of this `TYPE`: map, queue, counter or another one")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			var info starling.Info
			there, err := resources.Delete(s.ctx, s, args[0], c.String("type"), starling.WithInfo(&info))
			if err == nil && !there {
				err = starling.ErrNotFound.With(fmt.Sprintf("there is no resource %q", args[0]))
			}
			if err != nil || !s.json {
				return err
			}
			return p.printJSON(map[string]any{"name": args[0], "deleted": true, "index": info.Index})
		}),
	}
}

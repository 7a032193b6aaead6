package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func (p *Program) mapCommand() *cli.Command {
	return &cli.Command{
		Name:  "map",
		Usage: "maps: get, put, delete, scan, watch, import, export",
		Description: "Keys are strings, in bytewise order. Values that a program wrote as anything else than strings are shown as JSON.\n\n" +
			examples("starling map put colors sky blue", "starling map get colors sky", "starling map scan colors"),
		Subcommands: named([]*cli.Command{
			p.mapGetCommand(), p.mapPutCommand(), p.mapDeleteCommand(), p.mapScanCommand(),
			p.mapWatchCommand(), p.mapLenCommand(), p.mapImportCommand(), p.mapExportCommand(),
		}),
	}
}

// readJSON is what a read adds to its JSON.
type readJSON struct {
	Index uint64 `json:"index"`
	AgeMS *int64 `json:"age_ms"`
}

func readInfo(info starling.Info) readJSON {
	r := readJSON{Index: uint64(info.Index)}
	if info.AgeKnown {
		ms := info.Age.Milliseconds()
		if info.Age > 0 && info.Age%1e6 != 0 {
			ms++ // an age is an upper bound
		}
		r.AgeMS = &ms
	}
	return r
}

func (p *Program) mapGetCommand() *cli.Command {
	return &cli.Command{
		Name: "get", Usage: "print the value of a key", ArgsUsage: "NAME KEY",
		Description: examples("starling map get colors sky",
			"starling map get --consistency stale=500ms -o json colors sky   (index and age_ms are in it)",
			"starling map get --addr 127.0.0.1:7604 --consistency session=17 colors sky   (once that member has index 17)",
			"starling map get --addr 127.0.0.1:7604 --consistency local -o json colors sky"),
		Flags: readFlags(),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 2, 2)
			if err != nil {
				return err
			}
			var info starling.Info
			e, err := starling.NewMap[string, starling.Raw](s.Client, args[0]).GetEntry(s.ctx, args[1], append(s.read, starling.WithInfo(&info))...)
			if err != nil {
				return err
			}
			if s.json {
				return p.printJSON(struct {
					entryJSON
					readJSON
				}{newEntryJSON(e), readInfo(info)})
			}
			return p.printValue(e.Value)
		}),
	}
}

func (p *Program) mapPutCommand() *cli.Command {
	return &cli.Command{
		Name: "put", Usage: "set the value of a key", ArgsUsage: "NAME KEY VALUE",
		Description: examples("starling map put colors sky blue",
			"starling map put --if-version 17 colors sky grey",
			"starling map put --if-version 0 colors grass green   (only if there is none)",
			"starling map put -- colors --key -5"),
		Flags: clientFlags(uint64Flag("if-version", 0, "only if the key has this `VERSION`; 0: only if there is no such key")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 3, 3)
			if err != nil {
				return err
			}
			m := starling.NewMap[string, string](s.Client, args[0])
			if !c.IsSet("if-version") {
				return m.Put(s.ctx, args[1], args[2])
			}
			v, err := m.PutIf(s.ctx, args[1], args[2], c.Uint64("if-version"))
			if err != nil {
				return err
			}
			if s.json {
				return p.printJSON(map[string]any{"key": args[1], "version": v})
			}
			_, err = fmt.Fprintf(p.Stdout, "version %d\n", v)
			return err
		}),
	}
}

func (p *Program) mapDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove a key", ArgsUsage: "NAME KEY",
		Description: "A key that is not there is exit code 4.\n\n" +
			examples("starling map delete colors sky", "starling map delete --if-version 17 colors sky"),
		Flags: clientFlags(uint64Flag("if-version", 0, "only if the key has this `VERSION`")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 2, 2)
			if err != nil {
				return err
			}
			m := starling.NewMap[string, string](s.Client, args[0])
			if c.IsSet("if-version") {
				return m.DeleteIf(s.ctx, args[1], c.Uint64("if-version"))
			}
			there, err := m.Delete(s.ctx, args[1])
			if err == nil && !there {
				err = starling.ErrNotFound.With(fmt.Sprintf("no key %q in map %q", args[1], args[0]))
			}
			return err
		}),
	}
}

func (p *Program) mapScanCommand() *cli.Command {
	return &cli.Command{
		Name: "scan", Usage: "list keys and values in the order of keys", ArgsUsage: "NAME [PREFIX]",
		Description: examples("starling map scan colors", "starling map scan --limit 10 colors s", "starling map scan --from a --to m -o json colors"),
		Flags: readFlags(
			stringFlag("from", "", "`KEY` to begin with"),
			stringFlag("to", "", "`KEY` to end before"),
			intFlag("limit", 0, "`N` keys at most; 0: all")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 1, 2)
			if err != nil {
				return err
			}
			r, err := scanRange(c, args[1:])
			if err != nil {
				return err
			}
			var info starling.Info
			entries := starling.NewMap[string, starling.Raw](s.Client, args[0]).Scan(s.ctx, r, append(s.read, starling.WithInfo(&info))...)
			return p.printEntries(entries, &info, s.json)
		}),
	}
}

// scanRange turns flags and an optional prefix into a range.
func scanRange(c *cli.Context, prefix []string) (r starling.Range[string], err error) {
	from, to, limit := c.String("from"), c.String("to"), c.Int("limit")
	switch {
	case limit < 0:
		return r, &usageError{fmt.Sprintf("%s: --limit %d: 0 or more", c.Command.HelpName, limit)}
	case len(prefix) > 0 && (from != "" || to != ""):
		return r, &usageError{c.Command.HelpName + ": a PREFIX, or --from and --to, not both"}
	case len(prefix) > 0:
		r = starling.Prefix(prefix[0])
	case to != "":
		r = starling.Between(from, to)
	default:
		r = starling.From(from)
	}
	return r.Limit(limit), nil
}

// printEntries prints what was read; info is that of the page that an entry is
// on.
func (p *Program) printEntries(entries iter.Seq2[starling.Entry[string, starling.Raw], error], info *starling.Info, asJSON bool) error {
	var rows [][]string
	for e, err := range entries {
		if err != nil {
			return err
		}
		if asJSON {
			if err := p.printJSON(struct {
				entryJSON
				readJSON
			}{newEntryJSON(e), readInfo(*info)}); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{printable(e.Key), fmt.Sprint(e.Version), printable(valueText(e.Value))})
	}
	if asJSON {
		return nil
	}
	return printTable(p.Stdout, []string{"KEY", "VERSION", "VALUE"}, rows)
}

func (p *Program) mapWatchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "print changes as they happen, until interrupted", ArgsUsage: "NAME [PREFIX]",
		Description: "With --list it first prints every key that is there as a put, then \"listed\"; when changes were missed it prints \"reset\" and lists again.\n\n" +
			examples("starling map watch colors", "starling map watch --after 120 -o json colors s", "starling map watch --list colors"),
		Flags: clientFlags(
			uint64Flag("after", 0, "begin with the changes after this `INDEX`; 0: from now on"),
			boolFlag("list", "begin with what is there, and go on when changes were missed")),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 1, 2)
			if err != nil {
				return err
			}
			o := starling.WatchOptions{After: c.Uint64("after")}
			if len(args) == 2 {
				o.Prefix = []byte(args[1])
			}
			if c.Bool("list") {
				if c.IsSet("after") {
					return &usageError{c.Command.HelpName + ": --list begins with what is there, --after with an index: not both"}
				}
				return p.mapFollow(s, args[0], o.Prefix)
			}
			for e, err := range starling.NewMap[string, starling.Raw](s.Client, args[0]).Watch(s.ctx, o) {
				if s.ctx.Err() != nil {
					return nil // interrupted: that is how a watch ends
				}
				if err != nil {
					return err
				}
				step := starling.FollowEvent[string, starling.Raw]{Kind: starling.FollowPut, Key: e.Key, Value: e.Value, Index: e.Index}
				if e.Deleted {
					step.Kind = starling.FollowDelete
				}
				if err := p.printEvent(step, s.json); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// mapFollow prints what a copy of the map needs.
func (p *Program) mapFollow(s *session, name string, prefix []byte) error {
	m := starling.NewMap[string, starling.Raw](s.Client, name)
	for e, err := range m.Follow(s.ctx, starling.FollowOptions{Prefix: prefix}) {
		if s.ctx.Err() != nil {
			return nil // interrupted: that is how a watch ends
		}
		if err != nil {
			return err
		}
		if err := p.printEvent(e, s.json); err != nil {
			return err
		}
	}
	return nil
}

func (p *Program) printEvent(e starling.FollowEvent[string, starling.Raw], asJSON bool) error {
	keyed := e.Kind == starling.FollowPut || e.Kind == starling.FollowDelete
	if asJSON {
		line := map[string]any{"kind": e.Kind.String(), "index": e.Index}
		if keyed {
			line["key"] = e.Key
		}
		if e.Kind == starling.FollowPut {
			line["value"] = jsonValue(e.Value)
		}
		return p.printJSON(line)
	}
	text := ""
	if e.Kind == starling.FollowPut {
		text = valueText(e.Value)
	}
	_, err := fmt.Fprintf(p.Stdout, "%d\t%s\t%s\t%s\n", e.Index, e.Kind, printable(e.Key), printable(text))
	return err
}

func (p *Program) mapLenCommand() *cli.Command {
	return &cli.Command{
		Name: "len", Usage: "print the number of keys", ArgsUsage: "NAME",
		Description: examples("starling map len colors"),
		Flags:       readFlags(),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			var info starling.Info
			n, err := starling.NewMap[string, starling.Raw](s.Client, args[0]).Len(s.ctx, append(s.read, starling.WithInfo(&info))...)
			return p.printNumber(s, "length", int64(n), info, err)
		}),
	}
}

// printNumber prints one number that was read.
func (p *Program) printNumber(s *session, what string, n int64, info starling.Info, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		r := readInfo(info)
		return p.printJSON(map[string]any{what: n, "index": r.Index, "age_ms": r.AgeMS})
	}
	_, err = fmt.Fprintln(p.Stdout, n)
	return err
}

// entryJSON is one key of a map.
type entryJSON struct {
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Version uint64          `json:"version"`
}

func newEntryJSON(e starling.Entry[string, starling.Raw]) entryJSON {
	return entryJSON{Key: e.Key, Value: jsonValue(e.Value), Version: e.Version}
}

// valueText is how a value looks to people, and in an export: a string is
// itself, anything else is JSON.
func valueText(v starling.Raw) string {
	if text, ok := v.Text(); ok {
		return text
	}
	return string(jsonValue(v))
}

func jsonValue(v starling.Raw) json.RawMessage {
	b, _ := v.MarshalJSON() // every value has a form
	return b
}

// printValue prints a value for people, on one line of its own.
func (p *Program) printValue(v starling.Raw) error {
	_, err := fmt.Fprintln(p.Stdout, valueText(v))
	return err
}

// printable keeps a table a table, and a terminal sane.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return s
	}
	quoted := fmt.Sprintf("%q", s)
	return string(bytes.Trim([]byte(quoted), `"`))
}

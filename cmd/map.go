package cmd

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// mapCommands are the commands of maps.
type mapCommands struct{ *Program }

func (p mapCommands) command() *cli.Command {
	return &cli.Command{
		Name:  "map",
		Usage: "maps: get, put, delete, scan, watch, import, export",
		Description: "Keys and values are strings, unless --key-type and --value-type say what the programs that use the map have. " +
			"Strings and bytes are in bytewise order, numbers by value.\n\n" +
			examples("starling map put colors sky blue", "starling map get colors sky", "starling map scan colors"),
		Subcommands: named([]*cli.Command{
			p.getCommand(), p.putCommand(), p.deleteCommand(), p.scanCommand(),
			p.watchCommand(), p.lenCommand(), p.importCommand(), p.exportCommand(),
		}),
	}
}

// rawMap returns a handle for whatever keys and values a map has.
func rawMap(s *session, name string) *starling.Map[starling.RawKey, starling.Raw] {
	return starling.NewMap[starling.RawKey, starling.Raw](s, name)
}

// writtenJSON is what a command that writes to a key says: the version that the key
// has from then on, 0 without one, and the index at which it was done.
type writtenJSON struct {
	keyJSON
	Version starling.Index `json:"version"`
	Index   starling.Index `json:"index"`
}

// readJSON is what a read adds to its JSON.
type readJSON struct {
	Index starling.Index `json:"index"`
	AgeMS *int64         `json:"age_ms"`
}

func readInfo(info starling.Info) readJSON {
	r := readJSON{Index: info.Index}
	if info.AgeKnown {
		ms := info.Age.Milliseconds()
		if info.Age > 0 && info.Age%1e6 != 0 {
			ms++ // an age is an upper bound
		}
		r.AgeMS = &ms
	}
	return r
}

func (p mapCommands) getCommand() *cli.Command {
	return &cli.Command{
		Name: "get", Usage: "print the value of a key", ArgsUsage: "NAME KEY",
		Description: keyTypeHelp + shownHelp + " Without it tabs and newlines of a string are printed as they are, too, and a newline behind it.\n\n" + examples("starling map get colors sky",
			"starling map get --raw config motd >motd   (the bytes, and no newline behind them)",
			"starling map get --key-type int users 17",
			"starling map get --consistency stale=500ms -o json colors sky   (index and age_ms are in it)",
			"starling map get --addr 127.0.0.1:7604 --consistency session=17 colors sky   (once that member has index 17)",
			"starling map get --addr 127.0.0.1:7604 --consistency local -o json colors sky"),
		Flags: readFlags(keyTypeFlag(), rawFlag()),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			key, err := keyOf(c, args[1])
			if err != nil {
				return err
			}
			var info starling.Info
			e, err := rawMap(s, args[0]).GetEntry(s.ctx, key, append(s.read, starling.WithInfo(&info))...)
			if errors.Is(err, starling.ErrNotFound) {
				return s.noKey(args[0], key)
			}
			if err != nil {
				return err
			}
			if s.json {
				return p.printJSON(newEntryJSON(e, info))
			}
			return p.printValue(e.Value, s.raw)
		}),
	}
}

func (p mapCommands) putCommand() *cli.Command {
	return &cli.Command{
		Name: "put", Usage: "set the value of a key", ArgsUsage: "NAME KEY VALUE",
		Description: keyTypeHelp + "VALUE is a string, or what --value-type says; json takes the form that export writes. " +
			"A map whose keys are of another type gets no string key, unless --key-type string is said.\n\n" + examples("starling map put colors sky blue",
			"starling map put --value-type int limits users 100",
			`starling map put --value-type json users ada '{"Name":"Ada","Age":36}'`,
			"starling map put --if-version 17 colors sky grey",
			"starling map put --if-version 0 colors grass green   (only if there is none)",
			"starling map put -- colors --key -5"),
		Flags: clientFlags(keyTypeFlag(), valueTypeFlag(),
			unsaid("whatever it has", uint64Flag("if-version", 0, "only if the key has this `VERSION`; 0: only if there is no such key"))),
		Action: p.withClient(p.put),
	}
}

func (p mapCommands) put(c *cli.Context, s *session) error {
	args := c.Args().Slice()
	key, err := keyOf(c, args[1])
	if err != nil {
		return err
	}
	value, err := valueOf(c, args[2])
	if err != nil {
		return err
	}
	if err := s.checkKind(c, args[0], key.Kind()); err != nil {
		return err
	}
	conditional := c.IsSet("if-version")
	if conditional {
		_, err = rawMap(s, args[0]).PutIf(s.ctx, key, value, indexOf(c, "if-version"))
	} else {
		err = rawMap(s, args[0]).Put(s.ctx, key, value)
	}
	switch {
	case err != nil:
		return err
	case s.json:
		return p.printJSON(writtenJSON{newKeyJSON(key), s.index(), s.index()}) // a version is the index of the put
	case conditional:
		return p.say("version %d\n", s.index())
	}
	return nil
}

func (p mapCommands) deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove a key", ArgsUsage: "NAME KEY",
		Description: keyTypeHelp + "A key that is not there is exit code 4.\n\n" +
			examples("starling map delete colors sky", "starling map delete --if-version 17 colors sky"),
		Flags: clientFlags(keyTypeFlag(), unsaid("whatever it has", uint64Flag("if-version", 0, "only if the key has this `VERSION`"))),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			key, err := keyOf(c, args[1])
			if err != nil {
				return err
			}
			m, there := rawMap(s, args[0]), true
			if c.IsSet("if-version") {
				err = m.DeleteIf(s.ctx, key, indexOf(c, "if-version"))
			} else {
				there, err = m.Delete(s.ctx, key)
			}
			switch {
			case err == nil && !there:
				return s.noKey(args[0], key)
			case err == nil && s.json:
				return p.printJSON(writtenJSON{newKeyJSON(key), 0, s.index()})
			}
			return err
		}),
	}
}

func (p mapCommands) scanCommand() *cli.Command {
	return &cli.Command{
		Name: "scan", Usage: "list keys and values in the order of keys", ArgsUsage: "NAME [PREFIX]",
		Description: "Without PREFIX, --from, --to and --key-type: all keys, of whatever type. " + shownHelp +
			" With it the lines are KEY, TAB, VALUE and no head: for eyes and simple data, because a tab or a newline in a key or a value looks like one between them. " +
			"-o json and starling map export lose nothing.\n\n" +
			examples("starling map scan colors", "starling map scan --limit 10 colors s", "starling map scan --from a --to m -o json colors",
				"starling map scan --key-type int --from -5 --to 100 users"),
		Flags: readFlags(keyTypeFlag(),
			stringFlag("from", "", "`KEY` to begin with"),
			stringFlag("to", "", "`KEY` to end before"),
			boundedInt("limit", 0, 0, math.MaxInt, "`N` keys at most; 0: all"),
			boolFlag("raw", "lines of KEY, TAB, VALUE, strings and bytes as they are")),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			r, err := scanRange(c, args[1:])
			if err != nil {
				return err
			}
			var info starling.Info
			entries := rawMap(s, args[0]).Scan(s.ctx, r, append(s.read, starling.WithInfo(&info))...)
			n, err := p.printEntries(entries, &info, s)
			if err == nil && n == 0 {
				s.hint(s.ctx, p.Stderr, args[0], askedKind(c, args[1:]), false, s.read...)
			}
			return err
		}),
	}
}

// scanRange turns flags and an optional prefix into a range.
func scanRange(c *cli.Context, args []string) (r starling.Range[starling.RawKey], err error) {
	limit, bounded := c.Int("limit"), c.IsSet("from") || c.IsSet("to")
	switch {
	case len(args) > 0 && bounded:
		return r, &usageError{c.Command.HelpName + ": a PREFIX, or --from and --to, not both"}
	case !bounded:
		prefix, err := prefixOf(c, args)
		return starling.Prefix(prefix).Limit(limit), err
	}
	kind, err := keyKindOf(c)
	if err != nil {
		return r, err
	}
	from, to := keysOf(kind)
	if c.IsSet("from") {
		if from, err = keyOf(c, c.String("from")); err != nil {
			return r, err
		}
	}
	if c.IsSet("to") {
		if to, err = keyOf(c, c.String("to")); err != nil {
			return r, err
		}
	}
	return starling.Between(from, to).Limit(limit), nil
}

// printEntries prints what was read; info is that of the page that an entry is
// on. The table tells the types of keys if they are not all strings. It returns
// how many there were.
func (p mapCommands) printEntries(entries iter.Seq2[starling.Entry[starling.RawKey, starling.Raw], error], info *starling.Info, s *session) (n int, err error) {
	var rows [][]string
	typed := false
	for e, err := range entries {
		if err != nil {
			return n, err
		}
		n++
		if s.json || s.raw {
			if err := p.printEntry(e, *info, s); err != nil {
				return n, err
			}
			continue
		}
		kind := e.Key.Kind()
		typed = typed || kind != starling.KindString
		rows = append(rows, []string{keyText(e.Key, false), kind.String(), fmt.Sprint(e.Version), valueText(e.Value, false)})
	}
	if s.json || s.raw {
		return n, nil
	}
	head := []string{"KEY", "TYPE", "VERSION", "VALUE"}
	if !typed {
		head = slices.Delete(head, 1, 2)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	return n, printTable(p.Stdout, head, rows)
}

// printEntry prints one entry in a form that is the same whatever comes after.
func (p *Program) printEntry(e starling.Entry[starling.RawKey, starling.Raw], info starling.Info, s *session) error {
	if s.json {
		return p.printJSON(newEntryJSON(e, info))
	}
	_, err := fmt.Fprintf(p.Stdout, "%s\t%s\n", keyText(e.Key, true), valueText(e.Value, true))
	return err
}

func (p mapCommands) watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "print changes as they happen, until interrupted", ArgsUsage: "NAME [PREFIX]",
		Description: "A line has the index, what happened, the key and the value, and the type of a key that is no string; between them are tabs. " +
			"With --previous, behind the value, \"none\" if there was no such key before, \"value\" and the one it had, or \"unknown\". " +
			"With --list it first prints \"reset\", every key that is there as a put, and \"listed\", then the changes; when some were missed it begins again with \"reset\"; --timeout is for each step up to the first \"listed\" then. " +
			watchHelp + " Without PREFIX and --key-type: all keys. " + shownHelp + "\n\n" +
			examples("starling map watch colors", "starling map watch --after 120 -o json colors s", "starling map watch --latest --after 120 colors", "starling map watch --previous colors", "starling map watch --list colors"),
		Flags: clientFlags(keyTypeFlag(),
			afterFlag(), bookmarksFlag(),
			boolFlag("latest", "of a key that was changed several times meanwhile only the newest change, when the watch is behind"),
			boolFlag("previous", "what each key was before, too"),
			boolFlag("list", "begin with what is there, and go on when changes were missed"),
			boolFlag("raw", "strings and bytes as they are")),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			prefix, err := prefixOf(c, args[1:])
			if err != nil {
				return err
			}
			o := starling.WatchOptions{After: indexOf(c, "after"), Prefix: prefix, Bookmarks: true, Latest: c.Bool("latest"), Previous: c.Bool("previous")}
			if c.Bool("list") && c.IsSet("previous") {
				return &usageError{c.Command.HelpName + ": --list keeps a copy, which has what each key was before: not with --previous"}
			}
			if c.Bool("list") && c.IsSet("latest") {
				return &usageError{c.Command.HelpName + ": --list tells every change after what is there, --latest leaves some out: not both"}
			}
			if c.Bool("list") && c.IsSet("after") {
				return &usageError{c.Command.HelpName + ": --list begins with what is there, --after with an index: not both"}
			}
			hinting, cancel := within(s.ctx, c.Duration("timeout"))
			s.hint(hinting, p.Stderr, args[0], askedKind(c, args[1:]), true, starling.Locally)
			cancel()
			if err := s.tellWait(c, p.Stderr); err != nil {
				return err
			}
			if c.Bool("list") {
				return p.follow(c, s, o.Prefix)
			}
			return p.watch(c, s, o)
		}),
	}
}

func (p mapCommands) lenCommand() *cli.Command {
	return &cli.Command{
		Name: "len", Usage: "print the number of keys", ArgsUsage: "NAME",
		Description: examples("starling map len colors"),
		Flags:       readFlags(),
		Action: p.withClient(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			var info starling.Info
			n, err := rawMap(s, args[0]).Len(s.ctx, append(s.read, starling.WithInfo(&info))...)
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

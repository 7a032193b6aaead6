package cmd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// formatFlag is --format of import and export.
func formatFlag() cli.Flag {
	f := stringFlag("format", "json", "`FORM` of the lines: json, which keeps all types, or tab: key, TAB, value, for strings only")
	f.Action = func(c *cli.Context, _ string) error {
		_, err := wantsTab(c)
		return err
	}
	return f
}

// wantsTab reads --format.
func wantsTab(c *cli.Context) (bool, error) {
	switch format := c.String("format"); format {
	case "json":
		return false, nil
	case "tab":
		return true, nil
	default:
		return false, &usageError{fmt.Sprintf("%s: --format takes json or tab, not %q", c.Command.HelpName, format)}
	}
}

func (p mapCommands) exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "print every key and value, with their types, as lines that import reads",
		ArgsUsage: "NAME",
		Description: "The lines are JSON: a header with the format, the map, its types and the index; each key with its value, in the order of keys; " +
			"and last the number of entries, their types and the index. An import of it stores the same bytes; docs/export.md has the form. " +
			`With --format tab the lines are key, TAB, value, both strings, in which a tab is written \t, a newline \n, a backslash \\; ` +
			"they are sorted bytewise, as LC_ALL=C sort does, so an export equals its sorted input. A map with anything else than strings is refused. " +
			"The map is read in pages, each at its own index: it is one state if the first and the last line have the same index, so let no one write meanwhile. " +
			"--timeout is for each page; 0 means as long as it takes.\n\n" +
			examples("starling map export colors > colors.jsonl",
				"starling map export --format tab colors > colors.tsv",
				"starling map export --consistency stale=1s colors > colors.jsonl   (from a passive, if there is one)",
				"starling map export --addr 127.0.0.1:7604 --consistency local colors | sha256sum"),
		Flags: readFlags(formatFlag()),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			tab, err := wantsTab(c)
			if err != nil {
				return err
			}
			if tab {
				return p.exportTab(s, args[0], c.Duration("timeout"))
			}
			return p.exportTyped(s, args[0], c.Duration("timeout"))
		}),
	}
}

// newLines returns what an export writes to, and its progress, which is not
// shown among lines on a terminal.
func (p *Program) newLines() (*bufio.Writer, *progress) {
	messages := p.Stderr
	if isTerminal(p.Stdout) {
		messages = io.Discard
	}
	return bufio.NewWriterSize(p.Stdout, 64<<10), newProgress(messages, "exporting", "lines", -1)
}

// Limits of what an export reads before it writes its header, which names the
// types.
const (
	headEntriesMax = 1000
	headBytesMax   = 1 << 20
)

// typedExport writes an export.
type typedExport struct {
	w      *bufio.Writer
	header exportHeader
	head   bytes.Buffer // lines before the header has been written
	begun  bool         // it has

	entries              int64
	index                starling.Index // the last that is not the header's, if there is one
	keyTypes, valueTypes map[string]bool
}

// entries yields the entries of a map.
type entries = iter.Seq2[starling.Entry[starling.RawKey, starling.Raw], error]

// scan reads a range of a map, and gives up when a page takes longer than limit,
// unless that is 0.
func (s *session) scan(name string, r starling.Range[starling.RawKey], limit time.Duration, opts ...starling.ReadOption) entries {
	return inTime(s.ctx, limit, fmt.Sprintf("no page of map %q", name), func(ctx context.Context) entries {
		return rawMap(s, name).Scan(ctx, r, append(s.read, opts...)...)
	}, nil)
}

func (p mapCommands) exportTyped(s *session, name string, limit time.Duration) error {
	w, bar := p.newLines()
	defer bar.finish()
	e := &typedExport{w: w, keyTypes: map[string]bool{}, valueTypes: map[string]bool{}}
	e.header = exportHeader{Format: exportFormat, Version: exportVersion, Map: name}
	var info starling.Info
	var buffer []byte
	written := int64(0)
	for entry, err := range s.scan(name, starling.Range[starling.RawKey]{}, limit, starling.WithInfo(&info)) {
		if err != nil {
			return err
		}
		buffer = appendEntry(buffer[:0], entry.Key, entry.Value)
		if err := e.add(buffer, entry, info.Index); err != nil {
			return err
		}
		written += int64(len(buffer))
		bar.set(written, e.entries)
	}
	return e.end(info.Index)
}

// add writes the line of an entry, or keeps it until the header is known.
func (e *typedExport) add(text []byte, entry starling.Entry[starling.RawKey, starling.Raw], index starling.Index) error {
	e.readAt(index)
	e.entries++
	e.keyTypes[entry.Key.Kind().String()] = true
	e.valueTypes[entry.Value.Type()] = true
	if e.begun {
		_, err := e.w.Write(text)
		return err
	}
	e.head.Write(text)
	if e.entries < headEntriesMax && e.head.Len() < headBytesMax {
		return nil
	}
	return e.begin()
}

// readAt notes where a page was read.
func (e *typedExport) readAt(index starling.Index) {
	if e.entries == 0 {
		e.header.Index, e.index = index, index
	}
	if index != e.header.Index {
		e.index = index
	}
}

// begin writes the header and what has waited for it.
func (e *typedExport) begin() error {
	e.begun = true
	e.header.KeyTypes, e.header.ValueTypes = sortedNames(e.keyTypes), sortedNames(e.valueTypes)
	if _, err := e.w.Write(appendJSONLine(nil, e.header)); err != nil {
		return err
	}
	_, err := e.head.WriteTo(e.w)
	return err
}

// end writes the footer.
func (e *typedExport) end(index starling.Index) error {
	e.readAt(index)
	if !e.begun {
		if err := e.begin(); err != nil {
			return err
		}
	}
	foot := exportFooter{Entries: &e.entries, KeyTypes: sortedNames(e.keyTypes), ValueTypes: sortedNames(e.valueTypes), Index: e.index}
	if _, err := e.w.Write(appendJSONLine(nil, foot)); err != nil {
		return err
	}
	return e.w.Flush()
}

func sortedNames(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for name := range set { // order does not matter: sorted below
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// exportTab writes lines of key, TAB, value, if all keys and values are strings.
func (p mapCommands) exportTab(s *session, name string, limit time.Duration) error {
	refused := func(what string) error {
		return starling.ErrWrongType.With(what + ": --format tab is for strings only, and --format json, the default, keeps all types")
	}
	kinds, err := s.kindsWithin(name, limit)
	if err != nil {
		return err
	}
	if others := without(kinds, starling.KindString); len(others) > 0 {
		return refused(fmt.Sprintf("map %q has keys of type %s", name, joinKinds(others)))
	}
	w, bar := p.newLines()
	defer bar.finish()
	var buffer []byte
	var written, lines int64
	for pair, err := range lineOrder(s.scanStrings(name, limit)) {
		if err != nil {
			return err
		}
		text, ok := starling.Raw(pair.value).Text()
		if !ok {
			return refused(fmt.Sprintf("the value of key %s in map %q is of type %s", starling.RawKeyOf(string(pair.key)), name, starling.Raw(pair.value).Type()))
		}
		buffer = appendLine(buffer[:0], pair.key, []byte(text))
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		written, lines = written+int64(len(buffer)), lines+1
		bar.set(written, lines)
	}
	return w.Flush()
}

// kindsWithin returns the kinds of keys that a map has.
func (s *session) kindsWithin(name string, limit time.Duration) ([]starling.KeyKind, error) {
	ctx, cancel := context.WithTimeout(s.ctx, cmp.Or(max(limit, 0), math.MaxInt64))
	defer cancel()
	return s.kindsIn(ctx, name, s.read...)
}

// scanStrings reads the string keys of a map in raw order.
func (s *session) scanStrings(name string, limit time.Duration) scanFunc {
	return func(from, to []byte) iter.Seq2[pair, error] {
		return func(yield func(pair, error) bool) {
			first, end := starling.RawKeyOf(string(from)), starling.RawKeyOf(string(to))
			if to == nil {
				_, end = keysOf(starling.KindString)
			}
			for e, err := range s.scan(name, starling.Between(first, end), limit) {
				var p pair
				if err == nil {
					p = pair{e.Key[1:], e.Value}
				}
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

package cmd

import (
	"bufio"
	"io"
	"iter"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func (p *Program) mapExportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "print every key and value as a line: key, TAB, value",
		ArgsUsage: "NAME",
		Description: `In keys and values a tab is written \t, a newline \n, a backslash \\. ` +
			"The lines are sorted bytewise, as LC_ALL=C sort does, so an export equals its sorted input. " +
			"The map is read in pages, each at its own index: for one state, let no one write meanwhile. " +
			"--timeout is for all of it; 0 means as long as it takes.\n\n" +
			examples("starling map export colors > colors.tsv",
				"starling map export --consistency stale=1s colors > colors.tsv   (from a passive, if there is one)",
				"starling map export --addr 127.0.0.1:7604 --consistency local colors | sha256sum"),
		Flags: readFlags(),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			args, err := arguments(c, 1, 1)
			if err != nil {
				return err
			}
			store := starling.NewMap[string, starling.Raw](s.Client, args[0])
			return p.export(lineOrder(scanMap(s, store)))
		}),
	}
}

// scanMap reads a map in raw order.
func scanMap(s *session, store *starling.Map[string, starling.Raw]) scanFunc {
	return func(from, to []byte) iter.Seq2[pair, error] {
		return func(yield func(pair, error) bool) {
			r := starling.From(string(from))
			if to != nil {
				r = starling.Between(string(from), string(to))
			}
			for e, err := range store.Scan(s.ctx, r, s.read...) {
				var p pair
				if err == nil {
					p = pair{[]byte(e.Key), []byte(valueText(e.Value))}
				}
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

// export writes pairs as lines.
func (p *Program) export(pairs iter.Seq2[pair, error]) error {
	w := bufio.NewWriterSize(p.Stdout, 64<<10)
	messages := p.Stderr
	if isTerminal(p.Stdout) {
		messages = io.Discard // a bar among the lines would help nobody
	}
	bar := newProgress(messages, "exporting", "lines", -1)
	defer bar.finish()
	var buffer []byte
	var bytes, lines int64
	for pair, err := range pairs {
		if err != nil {
			return err
		}
		buffer = appendLine(buffer[:0], pair.key, pair.value)
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		bytes, lines = bytes+int64(len(buffer)), lines+1
		bar.set(bytes, lines)
	}
	return w.Flush()
}

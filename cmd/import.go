package cmd

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
)

// Limits of an import.
const (
	concurrencyMax = 256
	// badLinesShown is how many bad lines are reported one by one.
	badLinesShown = 20
	// queuedPerWriter is how many lines wait for each writer.
	queuedPerWriter = 16
)

func (p mapCommands) importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "put every key of an export, or every line of key, TAB, value, from standard input",
		ArgsUsage: "NAME < FILE",
		Description: "It reads what starling map export writes, of whatever map: NAME gets the same keys and values, of the same types. " +
			"An input without its last line was cut: what it has is imported, and the exit code is 1. " +
			`With --format tab it reads lines of key, TAB, value, both strings, in which a tab is written \t, a newline \n, a backslash \\. ` +
			"Keys that the map has already and the input has not stay. Lines of one key take effect in their order; running an import again changes nothing. " +
			"When a member fails, the import goes on through the next address of --addr. " +
			"A line that cannot be imported is reported with its number, the others are imported, and the exit code is 1. " +
			"--timeout is for each line; 0 means as long as it takes.\n\n" +
			examples("starling map import colors < colors.jsonl",
				"starling map import --format tab colors < colors.tsv",
				"starling map import --concurrency 64 --addr 127.0.0.1:7601,127.0.0.1:7602 colors < colors.jsonl"),
		Flags: clientFlags(formatFlag(), boundedInt("concurrency", 8, 1, concurrencyMax, fmt.Sprintf("`N` lines in flight, at most %d", concurrencyMax))),
		Action: p.withClientUntimed(func(c *cli.Context, s *session) error {
			args := c.Args().Slice()
			n := c.Int("concurrency")
			if n < 1 || n > concurrencyMax {
				return &usageError{fmt.Sprintf("%s: --concurrency is %d, not from 1 to %d", c.Command.HelpName, n, concurrencyMax)}
			}
			tab, err := wantsTab(c)
			if err != nil {
				return err
			}
			im := &importer{
				store: rawMap(s, args[0]), timeout: c.Duration("timeout"), source: sourceOf(p.Stdin, tab), stderr: p.Stderr,
				bar: newProgress(p.Stderr, "importing", "lines", inputSize(p.Stdin)),
			}
			began := time.Now()
			if err := im.run(s.ctx, n); err != nil {
				return err
			}
			if s.json {
				return p.printJSON(map[string]any{"lines": im.entries, "imported": im.imported.Load()})
			}
			_, err = fmt.Fprintf(p.Stderr, "%s imported in %v\n", counted(im.imported.Load(), "line"), time.Since(began).Round(time.Millisecond))
			return err
		}),
	}
}

// importer reads lines and hands them to writers. Memory is bounded by the
// writers and their queues, whatever the length of the input.
type importer struct {
	store   *starling.Map[starling.RawKey, starling.Raw]
	timeout time.Duration
	source  entrySource
	entries int // lines with a key that have been read, bad ones too
	bar     *progress
	stderr  io.Writer

	imported atomic.Int64
	mu       sync.Mutex // guards bad and stderr
	bad      int
}

// sourceOf returns a reader of one of the two forms.
func sourceOf(r io.Reader, tab bool) entrySource {
	if tab {
		return &tabSource{newLineReader(r, tabLineMax)}
	}
	return &typedSource{lines: newLineReader(r, typedLineMax)}
}

// run imports everything. Lines of one key go to one writer, so that they take
// effect in their order.
func (im *importer) run(ctx context.Context, writers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queues := make([]chan line, writers)
	var all sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan line, queuedPerWriter)
		all.Go(func() {
			if err := im.write(ctx, queues[i]); err != nil {
				cancel(err)
			}
		})
	}
	err := im.read(ctx, queues)
	for _, q := range queues {
		close(q)
	}
	all.Wait()
	im.bar.finish()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w; so far imported: %s, and importing all of them again does no harm", err, counted(im.imported.Load(), "line"))
	case im.bad > 0:
		return fmt.Errorf("not imported: %d of %s", im.bad, counted(int64(im.entries), "line"))
	}
	return nil
}

// read reads lines until the end of the input or of ctx.
func (im *importer) read(ctx context.Context, queues []chan line) error {
	seed := maphash.MakeSeed()
	for {
		l, err := im.source.next()
		switch bad := (badLine{}); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			im.entries++
			im.reject(l.number, err)
			continue
		case err != nil:
			return err
		}
		im.entries++
		select {
		case queues[maphash.Bytes(seed, l.key)%uint64(len(queues))] <- l:
			im.bar.set(im.source.bytes(), im.imported.Load())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write puts lines. An error other than a bad line ends the import.
func (im *importer) write(ctx context.Context, queue <-chan line) error {
	for l := range queue {
		if ctx.Err() != nil {
			continue // drain
		}
		err := im.put(ctx, l)
		switch {
		case err == nil:
			im.imported.Add(1)
		case errors.Is(err, starling.ErrTooLarge) || errors.Is(err, starling.ErrInvalid):
			im.reject(l.number, err)
		default:
			return fmt.Errorf("line %d: %w", l.number, err)
		}
	}
	return nil
}

// put puts one line. The client retries what may not have happened; what may
// have happened in a session that is gone is put again in another one, because
// a line may be put twice.
func (im *importer) put(ctx context.Context, l line) error {
	ctx, cancel := within(ctx, im.timeout)
	defer cancel()
	for {
		err := im.store.Put(ctx, l.key, l.value)
		if ctx.Err() != nil || !errors.Is(err, starling.ErrSessionExpired) {
			return err
		}
	}
}

// reject reports a bad line.
func (im *importer) reject(number int, why error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.bad++
	switch {
	case im.bad <= badLinesShown:
		im.bar.clear()
		fmt.Fprintf(im.stderr, "line %d: %s\n", number, notation.Safe(why.Error(), ""))
	case im.bad == badLinesShown+1:
		fmt.Fprintln(im.stderr, "more bad lines are counted, not shown")
	}
}

// inputSize returns the bytes of an input that is a file, otherwise -1.
func inputSize(r io.Reader) int64 {
	f, ok := r.(*os.File)
	if !ok {
		return -1
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return -1
}

// Command cmd plants each bug of package mutation in a copy of a commit, and
// prints a table of what found it: which directed test, and within how many
// seeds the simulator.
//
//	go run ./internal/dev/mutation/cmd --seeds 1000 --results planted-bugs.jsonl
//
// What is known of a bug is written to the results file at once, and is not
// tried again: a run that was stopped goes on where it was, with the commit that
// it began with. It exits with 1 if a bug was found by neither, or could not be
// tried, or if a test or a seed fails without one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/dev/mutation"
)

// options are the command's flags.
type options struct {
	seeds, batch, workers int
	duration              time.Duration
	testTime, batchTime   time.Duration
	memory                int64 // of a batch's process, in MiB
	only, results, commit string
	into                  string
	noTests, list         bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("mutation", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.seeds, "seeds", 100, "how many `SEEDS` to look at for each bug, up to the first that breaks a promise; 0 for the directed tests alone")
	f.DurationVar(&o.duration, "for", time.Minute, "simulated `DURATION` of a seed")
	f.IntVar(&o.batch, "batch", 20, "how many `SEEDS` one process looks at")
	f.IntVar(&o.workers, "workers", runtime.NumCPU(), "how many seeds are looked at `AT ONCE`")
	f.DurationVar(&o.batchTime, "batch-time", 0, "`TIME` after which a batch is killed, and the bug found because it hangs (default: twenty times what a batch takes without a bug, at least a minute)")
	f.Int64Var(&o.memory, "batch-memory", 4096, "`MIB` of memory at which a batch is killed, and the bug found because it eats all")
	f.DurationVar(&o.testTime, "test-time", 5*time.Minute, "`TIME` after which a package's directed tests end, and the bug is found because they hang")
	f.BoolVar(&o.noTests, "no-tests", false, "look at seeds alone")
	f.StringVar(&o.only, "only", "", "`NAMES` of the bugs to plant, separated by commas (default: all)")
	f.BoolVar(&o.list, "list", false, "print the names of the bugs and what they break, and end")
	f.StringVar(&o.commit, "commit", "", "the `COMMIT` that is copied (default: that of the results file, otherwise HEAD)")
	f.StringVar(&o.results, "results", "", "`FILE` that keeps what is known, to go on from (default: none)")
	f.StringVar(&o.into, "into", "", "Markdown `FILE` whose table, between the lines "+tableBegin+" and "+tableEnd+", is replaced")
	f.Usage = func() {
		fmt.Fprint(stderr, "Plants bugs in a copy of a commit, one at a time, and tells what finds each.\n\n"+
			"  go run ./internal/dev/mutation/cmd --seeds 0                                    directed tests alone: minutes\n"+
			"  go run ./internal/dev/mutation/cmd --seeds 1000 --results planted-bugs.jsonl    everything: hours; again to go on\n"+
			"  go run ./internal/dev/mutation/cmd --only vote-twice,half-is-a-majority --seeds 50\n\nFlags:\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.seeds < 0 || o.batch < 1 || o.workers < 1 || (o.noTests && o.seeds == 0) {
		return o, errors.New("no arguments, --seeds from 0, --batch and --workers from 1, and something to do")
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	missed, err := run(ctx, o, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || missed > 0 {
		os.Exit(1)
	}
}

// chosen returns the bugs that are to be planted.
func chosen(only string) ([]mutation.Mutation, error) {
	all := mutation.All()
	if only == "" {
		return all, nil
	}
	var some []mutation.Mutation
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(m mutation.Mutation) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no bug is called %q: --list prints the names", name)
		}
		some = append(some, all[i])
	}
	return some, nil
}

// run tries what is not known yet and prints the table of everything.
func run(ctx context.Context, o options, out, progress io.Writer) (missed int, err error) {
	bugs, err := chosen(o.only)
	if err != nil {
		return 0, err
	}
	if o.list {
		for _, m := range bugs {
			fmt.Fprintf(out, "%-28s %s\n", m.Name, m.Breaks)
		}
		return 0, nil
	}
	known, err := openResults(o.results)
	if err != nil {
		return 0, err
	}
	defer known.close()
	dir, err := os.MkdirTemp("", "starling-mutation-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	r := &runner{options: o, ctx: ctx, dir: filepath.Join(dir, "tree"), progress: progress}
	if r.commit == "" {
		r.commit = known.commit()
	}
	if err := r.export(); err != nil {
		return 0, err
	}
	findings, err := r.all(bugs, known)
	if err != nil {
		return 0, err
	}
	for i := range findings {
		if !findings[i].found() {
			missed++
		}
	}
	text := table(findings, r.commit, o)
	fmt.Fprint(out, text)
	if o.into != "" {
		err = replaceTable(o.into, text)
	}
	return missed, err
}

// all tries the bugs that are not known, and tells how far it is.
func (r *runner) all(bugs []mutation.Mutation, known *results) ([]finding, error) {
	findings := make([]finding, len(bugs))
	var open []int
	for i := range bugs {
		f, ok := known.find(&bugs[i], r.commit, r.options)
		if findings[i] = f; !ok {
			open = append(open, i)
		}
	}
	fmt.Fprintf(r.progress, "commit %s: %d bugs, %d of them are known\n", r.commit, len(bugs), len(bugs)-len(open))
	if len(open) == 0 {
		return findings, nil
	}
	if err := r.sound(bugs, known.commit() != r.commit); err != nil {
		return nil, err
	}
	began := time.Now()
	for n, i := range open {
		r.label = fmt.Sprintf("[%d/%d] %s", n+1, len(open), bugs[i].Name)
		f := r.try(bugs[i])
		if r.ctx.Err() != nil {
			return nil, errors.New("interrupted: with the same --results it goes on from here")
		}
		findings[i] = f
		if err := known.add(&f); err != nil {
			return nil, err
		}
		left := time.Since(began) / time.Duration(n+1) * time.Duration(len(open)-n-1)
		fmt.Fprintf(r.progress, "%s: %s (%v); about %v left\n", r.label, f.text(r.seeds), f.Took.Round(time.Second), left.Round(time.Second))
	}
	return findings, nil
}

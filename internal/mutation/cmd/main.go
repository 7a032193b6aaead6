// Command cmd plants each bug of package mutation in a copy of the last commit,
// and prints a table of what found it: which directed test, and which seed of
// the simulator.
//
//	go run ./internal/mutation/cmd --seeds 1000
//
// It exits with 1 if a bug was found by neither, or if a test fails without one.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/mutation"
)

// runner tries mutations in a copy of the tree.
type runner struct {
	dir      string // of the copy
	seeds    int
	duration time.Duration
	progress io.Writer
}

// finding is what came of one mutation.
type finding struct {
	mutation mutation.Mutation
	test     string // the first test that failed; empty: none did
	seed     int    // the first seed that broke a promise; 0: none did
	err      error  // the mutation could not be tried
}

func (f *finding) found() bool { return f.err == nil && (f.test != "" || f.seed > 0) }

func main() {
	seeds := flag.Int("seeds", 100, "how many `SEEDS` to look at; 0 for the directed tests alone")
	duration := flag.Duration("for", time.Minute, "simulated `DURATION` of a seed")
	only := flag.String("only", "", "`NAMES` of the bugs to plant, separated by commas (default: all)")
	flag.Parse()
	missed, err := run(*seeds, *duration, *only, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || missed > 0 {
		os.Exit(1)
	}
}

func run(seeds int, duration time.Duration, only string, out, progress io.Writer) (missed int, err error) {
	dir, err := os.MkdirTemp("", "starling-mutation-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	r := &runner{dir: filepath.Join(dir, "tree"), seeds: seeds, duration: duration, progress: progress}
	commit, err := r.export()
	if err != nil {
		return 0, err
	}
	if err := r.sound(); err != nil {
		return 0, err
	}
	var findings []finding
	for _, m := range mutation.All() {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.Name) {
			continue
		}
		f := r.try(m)
		fmt.Fprintln(progress, row(&f, seeds))
		if !f.found() {
			missed++
		}
		findings = append(findings, f)
	}
	fmt.Fprint(out, table(findings, commit, seeds, duration))
	return missed, nil
}

// export makes the copy: the last commit, without what is not committed.
func (r *runner) export() (commit string, err error) {
	top, err := output("", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", err
	}
	if commit, err = output(top, "git", "rev-parse", "--short", "HEAD"); err != nil {
		return "", err
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return "", err
	}
	archive := r.dir + ".tar"
	if _, err := output(top, "git", "archive", "-o", archive, "HEAD"); err != nil {
		return "", err
	}
	_, err = output(r.dir, "tar", "xf", archive)
	return commit, err
}

func output(dir, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// sound fails if a directed test fails without a bug: it would find them all.
func (r *runner) sound() error {
	var all []string
	for _, m := range mutation.All() {
		all = append(all, m.Tests...)
	}
	slices.Sort(all)
	failed, err := r.tests(slices.Compact(all))
	if err == nil && failed != "" {
		err = fmt.Errorf("%s fails without any bug", failed)
	}
	return err
}

// try plants one bug, runs the directed tests and the seeds, and takes it out.
func (r *runner) try(m mutation.Mutation) (f finding) {
	f.mutation = m
	restore, err := m.Plant(r.dir)
	if err != nil {
		f.err = err
		return f
	}
	defer func() { f.err = errors.Join(f.err, restore()) }()
	if f.test, f.err = r.tests(m.Tests); f.err != nil || r.seeds == 0 {
		return f
	}
	binary := filepath.Join(r.dir, "..", "starling")
	if _, f.err = output(r.dir, "go", "build", "-o", binary, "./cmd/starling"); f.err == nil {
		f.seed, f.err = r.simulate(binary)
	}
	return f
}

// testsTimeMax ends a package's tests: a planted bug may make them wait for ever.
const testsTimeMax = "2m"

// tests returns the name of the first test that fails.
func (r *runner) tests(packages []string) (string, error) {
	args := append([]string{"test", "-short", "-count=1", "-failfast", "-vet=off", "-timeout", testsTimeMax}, packages...)
	c := exec.Command("go", args...)
	c.Dir = r.dir
	out, err := c.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if bytes.Contains(out, []byte("[build failed]")) {
		return "", fmt.Errorf("the tests do not build:\n%s", out)
	}
	name := ""
	for line := range strings.SplitSeq(string(out), "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			if word, _, _ := strings.Cut(rest, " "); name == "" || strings.HasPrefix(word, name+"/") {
				name = word
			}
		}
	}
	if name == "" {
		name = "(a panic outside of a test, or out of time)"
	}
	return name, nil
}

// chunk is how many seeds are looked at before asking whether one broke a promise.
const chunk = 8

// chunkTimeMax ends a chunk: a planted bug may make a seed go on for ever, which
// finds it too.
const chunkTimeMax = 2 * time.Minute

// simulate returns the first seed that breaks a promise.
func (r *runner) simulate(binary string) (int, error) {
	for from := 1; from <= r.seeds; from += chunk {
		n := min(chunk, r.seeds-from+1)
		ctx, cancel := context.WithTimeout(context.Background(), chunkTimeMax)
		c := exec.CommandContext(ctx, binary, "sim", "--from", strconv.Itoa(from), "--seeds", strconv.Itoa(n), "--for", r.duration.String(), "-o", "json")
		var out, stderr bytes.Buffer
		c.Stdout, c.Stderr = &out, &stderr
		err := c.Run()
		cancel()
		var result struct {
			Seeds []int `json:"violating_seeds"`
		}
		if bad := json.Unmarshal(out.Bytes(), &result); bad != nil {
			if strings.Contains(stderr.String(), "panic") || strings.Contains(stderr.String(), "goroutine ") || ctx.Err() != nil {
				return from, nil // it did not survive the bug
			}
			return 0, fmt.Errorf("starling sim: %w: %s", errors.Join(err, bad), stderr.String())
		}
		if len(result.Seeds) > 0 {
			return slices.Min(result.Seeds), nil
		}
	}
	return 0, nil
}

// table is the result, in Markdown.
func table(findings []finding, commit string, seeds int, duration time.Duration) string {
	var b strings.Builder
	byTest, bySeed, either := 0, 0, 0
	b.WriteString("| planted bug | what it breaks | where | found by test | found by seed |\n|---|---|---|---|---|\n")
	for i := range findings {
		f := &findings[i]
		b.WriteString(row(f, seeds) + "\n")
		if f.test != "" {
			byTest++
		}
		if f.seed > 0 {
			bySeed++
		}
		if f.found() {
			either++
		}
	}
	fmt.Fprintf(&b, "\nCommit %s, %d seeds of %v: %d of %d found, %d by a directed test, %d by the simulator.\n",
		commit, seeds, duration, either, len(findings), byTest, bySeed)
	return b.String()
}

func row(f *finding, seeds int) string {
	test, seed := f.test, strconv.Itoa(f.seed)
	if test == "" {
		test = "none"
	} else {
		test = "`" + test + "`"
	}
	if f.seed == 0 {
		seed = fmt.Sprintf("none of %d", seeds)
	}
	if seeds == 0 {
		seed = "not run"
	}
	if f.err != nil {
		test, seed = "not tried: "+strings.ReplaceAll(f.err.Error(), "\n", " "), ""
	}
	return fmt.Sprintf("| %s | %s | `%s` | %s | %s |", f.mutation.Name, f.mutation.Breaks, f.mutation.File, test, seed)
}

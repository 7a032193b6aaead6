package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/dev/mutation"
)

// runner tries bugs in a copy of the tree.
type runner struct {
	options
	ctx      context.Context
	dir      string // of the copy
	label    string // of the bug at hand, for people
	progress io.Writer
}

// export makes the copy: a commit, without what is not committed.
func (r *runner) export() error {
	top, err := r.output("", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	if r.commit == "" {
		r.commit = "HEAD"
	}
	if r.commit, err = r.output(top, "git", "rev-parse", "--short=12", r.commit+"^{commit}"); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	archive := r.dir + ".tar"
	if _, err := r.output(top, "git", "archive", "-o", archive, r.commit); err != nil {
		return err
	}
	_, err = r.output(r.dir, "tar", "xf", archive)
	return err
}

func (r *runner) output(dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(r.ctx, name, args...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// batchTimeMin is the least time that a batch gets by itself.
const batchTimeMin = time.Minute

// sound fails if a test or a seed fails without a bug: it would find them all.
// It measures what a batch takes. The tests are left out if they have passed for
// this commit before.
func (r *runner) sound(bugs []mutation.Mutation, tests bool) error {
	if tests && !r.noTests {
		var all []string
		for _, m := range bugs {
			all = append(all, m.Tests...)
		}
		slices.Sort(all)
		failed, how, err := r.tests(slices.Compact(all))
		if err == nil && failed != "" {
			err = fmt.Errorf("%s fails without any bug%s", failed, in(how))
		}
		if err != nil {
			return err
		}
	}
	if r.seeds == 0 {
		return nil
	}
	binary, err := r.build()
	if err != nil {
		return err
	}
	limit := r.batchTime
	if limit == 0 {
		limit = time.Hour
	}
	began := time.Now()
	seed, how, err := r.look(binary, 1, min(r.batch, r.seeds), limit)
	if err == nil && seed != 0 {
		err = fmt.Errorf("seed %d fails without any bug %s", seed, how)
	}
	if r.batchTime == 0 {
		r.batchTime = max(batchTimeMin, 20*time.Since(began))
	}
	return err
}

// try plants one bug, runs the directed tests and the seeds, and takes it out.
func (r *runner) try(m mutation.Mutation) (f finding) {
	began := time.Now()
	f = finding{Name: m.Name, Mark: mark(&m), Commit: r.commit, Seeds: r.seeds, For: r.duration, NoTests: r.noTests, mutation: m}
	err := func() error {
		restore, err := m.Plant(r.dir)
		if err != nil {
			return err
		}
		return errors.Join(r.ask(&f), restore())
	}()
	if err != nil {
		f.Error = err.Error()
	}
	f.Took = time.Since(began)
	return f
}

// ask runs what may find the bug that is planted.
func (r *runner) ask(f *finding) (err error) {
	if !r.noTests {
		if f.Test, f.TestHow, err = r.tests(f.mutation.Tests); err != nil {
			return err
		}
	}
	if r.seeds == 0 {
		return nil
	}
	binary, err := r.build()
	if err != nil {
		return err
	}
	told := time.Now()
	for from := 1; from <= r.seeds; from += r.batch {
		f.Seed, f.SeedHow, err = r.look(binary, from, min(r.batch, r.seeds-from+1), r.batchTime)
		if err != nil || f.Seed != 0 {
			return err
		}
		if time.Since(told) > 15*time.Second {
			told = time.Now()
			fmt.Fprintf(r.progress, "%s: %d of %d seeds\n", r.label, from+r.batch-1, r.seeds)
		}
	}
	return nil
}

// hangs says how a bug was found if nothing ended.
const hangs = "hangs"

// tests returns the name of the first test that fails, and how if it does not
// just fail.
func (r *runner) tests(packages []string) (name, how string, err error) {
	args := append([]string{"test", "-short", "-count=1", "-failfast", "-vet=off", "-timeout", r.testTime.String()}, packages...)
	c := exec.CommandContext(r.ctx, "go", args...)
	c.Dir = r.dir
	out, err := c.CombinedOutput()
	if err == nil {
		return "", "", nil
	}
	if r.ctx.Err() != nil {
		return "", "", r.ctx.Err()
	}
	if bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")) {
		return "", "", fmt.Errorf("the tests do not build:\n%s", out)
	}
	name, how = failure(string(out))
	return name, how, nil
}

// failure reads the output of tests: the first that failed, its innermost part
// if it has parts, or what ran when the time was over.
func failure(out string) (name, how string) {
	running := false
	for line := range strings.SplitSeq(out, "\n") {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			if word, _, _ := strings.Cut(rest, " "); name == "" || strings.HasPrefix(word, name+"/") {
				name = word
			}
		}
		if name == "" && running && strings.HasPrefix(line, "Test") {
			name, how = strings.Fields(line)[0], hangs
		}
		running = running || line == "running tests:"
	}
	switch {
	case name != "":
	case strings.Contains(out, "Test killed") || strings.Contains(out, "timed out"):
		name, how = "a test", hangs
	default:
		name, how = "a test", "panics"
	}
	return name, how
}

// build returns the command with the simulator in it.
func (r *runner) build() (string, error) {
	binary := filepath.Join(r.dir, "..", "starling")
	_, err := r.output(r.dir, "go", "build", "-o", binary, "./cmd/starling")
	return binary, err
}

// look runs seeds in a process of their own and returns the first that is heard
// to break a promise. If the process hangs, eats all memory or dies, that finds
// the bug as well, and the last seed of the batch stands for it: within so many.
func (r *runner) look(binary string, from, n int, limit time.Duration) (seed int, how string, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "sim", "--from", strconv.Itoa(from), "--seeds", strconv.Itoa(n),
		"--for", r.duration.String(), "--workers", strconv.Itoa(r.workers), "-o", "json")
	var out bytes.Buffer
	c.Stdout = &out
	c.WaitDelay = 10 * time.Second
	stderr, err := c.StderrPipe()
	if err != nil {
		return 0, "", err
	}
	if err := c.Start(); err != nil {
		return 0, "", err
	}
	ate := watchMemory(ctx, cancel, c.Process.Pid, r.memory<<20)
	seed, said := listen(stderr, cancel)
	err = c.Wait()
	switch {
	case r.ctx.Err() != nil:
		return 0, "", r.ctx.Err()
	case seed != 0:
		return seed, "", nil
	case ate():
		return from + n - 1, "eats all memory", nil
	case ctx.Err() != nil:
		return from + n - 1, hangs, nil
	case err != nil && (strings.Contains(said, "panic") || strings.Contains(said, "fatal error") || strings.Contains(said, "goroutine ")):
		return from + n - 1, "dies", nil
	}
	var result struct {
		Seeds []int `json:"violating_seeds"`
	}
	if bad := json.Unmarshal(out.Bytes(), &result); bad != nil {
		return 0, "", fmt.Errorf("starling sim: %w: %s", errors.Join(err, bad), said)
	}
	if len(result.Seeds) > 0 {
		return slices.Min(result.Seeds), "", nil
	}
	return 0, "", nil
}

// listen reads what the simulator says while it runs and ends it at the first
// seed that breaks a promise: the rest of the batch is of no interest. It
// returns the end of what was said.
func listen(stderr io.Reader, end func()) (seed int, said string) {
	var kept []string
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if i := strings.LastIndexByte(line, '\r'); i >= 0 { // behind a progress bar
			line = line[i+1:]
		}
		if rest, ok := strings.CutPrefix(line, "seed "); ok && seed == 0 {
			number, _, _ := strings.Cut(rest, ":")
			if n, err := strconv.Atoi(number); err == nil {
				seed = n
				end()
			}
		}
		if kept = append(kept, line); len(kept) > 200 {
			kept = kept[100:]
		}
	}
	// A pipe that breaks says no more than that the process has ended.
	_, _ = io.Copy(io.Discard, stderr)
	return seed, strings.Join(kept, "\n")
}

// watchMemory ends a process that takes more than a limit, and reports whether
// it did. Where memory cannot be looked at it does nothing.
func watchMemory(ctx context.Context, end func(), pid int, limit int64) (ate func() bool) {
	file := fmt.Sprintf("/proc/%d/statm", pid)
	done := make(chan bool, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- false
				return
			case <-tick.C:
			}
			var size, resident int64
			b, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if _, err := fmt.Sscan(string(b), &size, &resident); err == nil && resident*int64(os.Getpagesize()) > limit {
				done <- true
				end()
				return
			}
		}
	}()
	return func() bool {
		select {
		case over := <-done:
			return over
		default:
			return false
		}
	}
}

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/mutation"
)

func TestFailureNamesWhatFailedOrHung(t *testing.T) {
	for _, test := range []struct{ name, out, want, how string }{
		{"a test", "--- FAIL: TestA (0.1s)\n    a_test.go:1: bad\nFAIL\n", "TestA", ""},
		{"a part", "--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/b (0.1s)\n", "TestA/b", ""},
		{"out of time", "panic: test timed out after 2m0s\n\trunning tests:\n\t\tTestLoops (2m0s)\n", "TestLoops", hangs},
		{"killed", "*** Test killed with quit: ran too long (3m0s).\n", "a test", hangs},
		{"a panic elsewhere", "panic: x\n\ngoroutine 7 [running]:\n", "a test", "panics"},
	} {
		if got, how := failure(test.out); got != test.want || how != test.how {
			t.Errorf("%s: got %q, %q, want %q, %q", test.name, got, how, test.want, test.how)
		}
	}
}

// A planted bug may make the simulator loop for ever, or die: that finds it, and
// nothing is left running.
func TestLookEndsWhatHangsAndHearsWhatBreaks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows: the stand-ins for the simulator are shell scripts")
	}
	for _, test := range []struct {
		name, script string
		limit        time.Duration
		seed         int
		how          string
		fails        bool
	}{
		{"sound", `echo '{"violating_seeds":null}'`, time.Minute, 0, "", false},
		{"told at the end", `echo '{"violating_seeds":[14,12]}'; exit 1`, time.Minute, 12, "", false},
		{"told at once", `echo 'seed 13: election safety: two lead' >&2; exec sleep 600`, time.Minute, 13, "", false},
		{"hangs", `exec sleep 600`, 100 * time.Millisecond, 20, hangs, false},
		{"dies", `echo 'panic: impossible' >&2; exit 2`, time.Minute, 20, "dies", false},
		{"cannot run", `echo 'no such flag' >&2; exit 2`, time.Minute, 0, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "starling")
			if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			r := &runner{options: options{workers: 1, memory: 4096}, ctx: context.Background(), progress: io.Discard}
			seed, how, err := r.look(binary, 11, 10, test.limit)
			if seed != test.seed || how != test.how || (err != nil) != test.fails {
				t.Errorf("got %d, %q, %v, want %d, %q, an error %v", seed, how, err, test.seed, test.how, test.fails)
			}
		})
	}
}

func TestResultsGoOnWhereTheyWere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	bug := mutation.Mutation{Name: "x", File: "a.go", Old: "1", New: "2"}
	asked := options{seeds: 100, duration: time.Minute}
	known, err := openResults(file)
	if err != nil {
		t.Fatal(err)
	}
	f := finding{Name: "x", Mark: mark(&bug), Commit: "c1", Seeds: 100, For: time.Minute, Test: "TestA"}
	failed := finding{Name: "y", Mark: mark(&bug), Commit: "c1", Seeds: 100, For: time.Minute, Error: "it does not build"}
	for _, one := range []*finding{&f, &failed} {
		if err := known.add(one); err != nil {
			t.Fatal(err)
		}
	}
	known.close()
	cut, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cut.WriteString(`{"name":"z`); err != nil { // the run was stopped here
		t.Fatal(err)
	}
	cut.Close()
	if known, err = openResults(file); err != nil {
		t.Fatal(err)
	}
	defer known.close()
	if got := known.commit(); got != "c1" {
		t.Errorf("got commit %q, want c1", got)
	}
	other := bug
	other.New = "3"
	failing := bug
	failing.Name = "y"
	more := asked
	more.seeds = 1000
	for _, test := range []struct {
		name   string
		bug    mutation.Mutation
		commit string
		o      options
		want   bool
	}{
		{"the same", bug, "c1", asked, true},
		{"another bug of that name", other, "c1", asked, false},
		{"another commit", bug, "c2", asked, false},
		{"more seeds", bug, "c1", more, false},
		{"what could not be tried", failing, "c1", asked, false},
	} {
		if got, ok := known.find(&test.bug, test.commit, test.o); ok != test.want || ok && got.Test != "TestA" {
			t.Errorf("%s: known is %v, want %v", test.name, ok, test.want)
		}
	}
}

func TestTableIsReplacedInADocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n"+tableBegin+"\nold\n"+tableEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bug := mutation.Mutation{Name: "x", Breaks: "all", File: "a.go"}
	findings := []finding{{Name: "x", Test: "TestA", Seed: 40, SeedHow: hangs, mutation: bug}, {Name: "x", mutation: bug}}
	text := table(findings, "c1", options{seeds: 1000, duration: time.Minute})
	if err := replaceTable(file, text); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	got := string(b)
	if err != nil || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") || strings.Contains(got, "old") {
		t.Errorf("got %q, %v", got, err)
	}
	for _, want := range []string{"| `TestA` | 40 (hangs) |", "| none | none of 1000 |", "1 of 2 found, 1 by a directed test, 1 by the simulator"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if err := os.WriteFile(file, []byte("no lines"), 0o644); err != nil {
		t.Fatal(err)
	}
	if replaceTable(file, text) == nil {
		t.Error("a document without the lines was changed")
	}
}

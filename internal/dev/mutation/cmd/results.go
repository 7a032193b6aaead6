package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/dev/mutation"
)

// finding is what came of one bug. As JSON it is a line of the results file.
type finding struct {
	Name   string `json:"name"`
	Mark   string `json:"mark"` // of the bug's text: another one is another bug
	Commit string `json:"commit"`
	// Seeds and For are what was asked for; NoTests, that no test was.
	Seeds   int           `json:"seeds"`
	For     time.Duration `json:"for"`
	NoTests bool          `json:"no_tests,omitempty"`

	Test    string        `json:"test,omitempty"`     // the first test that failed; empty: none did
	TestHow string        `json:"test_how,omitempty"` // empty: it failed, as tests do
	Seed    int           `json:"seed,omitempty"`     // found within so many seeds; 0: not
	SeedHow string        `json:"seed_how,omitempty"` // empty: it broke a promise
	Error   string        `json:"error,omitempty"`    // why the bug could not be tried
	Took    time.Duration `json:"took"`

	mutation mutation.Mutation
}

func (f *finding) found() bool { return f.Error == "" && (f.Test != "" || f.Seed > 0) }

// mark tells a bug from an earlier one of the same name.
func mark(m *mutation.Mutation) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{m.File, m.Old, m.New}, m.Tests...), "\x00")))
	return hex.EncodeToString(sum[:8])
}

// results is the file of what is known. Without a name it keeps nothing.
type results struct {
	file *os.File
	old  []finding
}

func openResults(name string) (*results, error) {
	r := &results{}
	if name == "" {
		return r, nil
	}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1 // what follows was cut short
	for line := range bytes.Lines(b[:whole]) {
		var f finding
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, fmt.Errorf("%s is no results file: %w", name, err)
		}
		r.old = append(r.old, f)
	}
	if r.file, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	if err := r.file.Truncate(int64(whole)); err != nil {
		return nil, err
	}
	_, err = r.file.Seek(int64(whole), 0)
	return r, err
}

func (r *results) close() {
	if r.file != nil {
		_ = r.file.Close() // every line was written when it was known
	}
}

// commit returns the commit that the newest line is of, or nothing.
func (r *results) commit() string {
	if len(r.old) == 0 {
		return ""
	}
	return r.old[len(r.old)-1].Commit
}

// find returns what is known of a bug in a commit, if at least as much was asked
// for. What could not be tried is tried again.
func (r *results) find(m *mutation.Mutation, commit string, o options) (finding, bool) {
	for i := len(r.old) - 1; i >= 0; i-- {
		f := r.old[i]
		enough := f.Seeds >= o.seeds || f.Seed > 0
		if f.Name == m.Name && f.Mark == mark(m) && f.Commit == commit && f.Error == "" &&
			enough && f.For == o.duration && (o.noTests || !f.NoTests) {
			f.mutation = *m
			return f, true
		}
	}
	return finding{mutation: *m}, false
}

func (r *results) add(f *finding) error {
	if r.file == nil {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = r.file.Write(append(b, '\n'))
	return err
}

// byTest and bySeed say what found a bug, for people.
func (f *finding) byTest() string {
	switch {
	case f.NoTests:
		return "not run"
	case f.Test == "":
		return "none"
	}
	return "`" + f.Test + "`" + in(f.TestHow)
}

func (f *finding) bySeed(seeds int) string {
	switch {
	case seeds == 0:
		return "not run"
	case f.Seed == 0:
		return fmt.Sprintf("none of %d", max(seeds, f.Seeds))
	}
	return strconv.Itoa(f.Seed) + in(f.SeedHow)
}

func in(how string) string {
	if how == "" {
		return ""
	}
	return " (" + how + ")"
}

func (f *finding) text(seeds int) string {
	if f.Error != "" {
		return "not tried: " + f.Error
	}
	return "test " + f.byTest() + ", seed " + f.bySeed(seeds)
}

// The lines between which a document has the table.
const (
	tableBegin = "<!-- planted bugs -->"
	tableEnd   = "<!-- end of planted bugs -->"
)

// table is the result, in Markdown.
func table(findings []finding, commit string, o options) string {
	var b strings.Builder
	byTest, bySeed, either := 0, 0, 0
	b.WriteString("| planted bug | what it breaks | where | found by test | found within seeds |\n|---|---|---|---|---|\n")
	for i := range findings {
		f := &findings[i]
		b.WriteString(f.row(o.seeds) + "\n")
		if f.Test != "" {
			byTest++
		}
		if f.Seed > 0 {
			bySeed++
		}
		if f.found() {
			either++
		}
	}
	seeds := "no seeds"
	if o.seeds > 0 {
		seeds = fmt.Sprintf("up to %d seeds of %v", o.seeds, o.duration)
	}
	fmt.Fprintf(&b, "\nCommit %s, %s: %d of %d found, %d by a directed test, %d by the simulator.\n",
		commit, seeds, either, len(findings), byTest, bySeed)
	return b.String()
}

func (f *finding) row(seeds int) string {
	m := &f.mutation
	test, seed := f.byTest(), f.bySeed(seeds)
	if f.Error != "" {
		test, seed = "not tried: "+strings.ReplaceAll(f.Error, "\n", " "), ""
	}
	return fmt.Sprintf("| %s | %s | `%s` | %s | %s |", m.Name, m.Breaks, m.File, test, seed)
}

// replaceTable puts the table into a document.
func replaceTable(name, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, begun := strings.Cut(string(b), tableBegin+"\n")
	_, after, ended := strings.Cut(rest, tableEnd+"\n")
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %s and %s", name, tableBegin, tableEnd)
	}
	return os.WriteFile(name, []byte(before+tableBegin+"\n"+text+tableEnd+"\n"+after), 0o644)
}

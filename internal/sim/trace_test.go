package sim

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateFlag = flag.Bool("update", false, "rewrite the golden traces; read the difference")

// TestFilm looks at every kind of line once, with the members' signs as they
// would be.
func TestTrace(t *testing.T) {
	for _, c := range []struct {
		name             string
		messages, colors bool
	}{{name: "trace"}, {name: "film_messages", messages: true}, {name: "film_colors", messages: true, colors: true}} {
		var out strings.Builder
		signs := []string{signActive, signActive, signActive, signPassive, signPassive}
		f := &traceLines{out: &out, messages: c.messages, colors: c.colors, names: []string{"a1", "a2", "a3", "p1", "p2"},
			sign: func(i int) string { return signs[i] }}
		f.head("seed 1, profile calm, 1m0s")
		f.beside(0, 0, colorPlain, "starts: t1, log to 1, commit 1")
		f.beside(Time(501_250_000), 0, colorTrouble, "campaign t2")
		if c.messages {
			f.between(Time(501_900_000), 0, 2, "vote t2 mine 1@1")
			f.between(Time(502_400_000), 2, 0, "yes t2")
			f.between(Time(502_500_000), 1, 0, "an answer that is longer than the way")
		}
		signs[0] = signLeader
		f.beside(Time(503_000_000), 0, colorLeader, "leader t2")
		f.beside(Time(503_100_000), 4, colorPlain, "+12..15 in the last column, longer than it is wide")
		signs[1] = signPaused
		f.beside(Time(1_000_000_000), 1, colorTrouble, "% stands still for 1.5s")
		signs[2] = signDown
		f.beside(Time(61_000_000_000), 2, colorFault, "x power fails before sending, which hides two columns")
		f.across(Time(62_000_000_000), "the faults stop")
		f.across(Time(120_000_000_000), "VIOLATION: election safety: a1 and a2 both lead term 2")
		if f.err != nil {
			t.Fatal(f.err)
		}
		golden(t, c.name, out.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *updateFlag {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// full fails after some lines, as a pipe whose reader has gone.
type full struct{ lines int }

var errGone = errors.New("the reader has gone")

func (f *full) Write(p []byte) (int, error) {
	if f.lines--; f.lines < 0 {
		return 0, errGone
	}
	return len(p), nil
}

func TestAFilmThatCannotBeWrittenIsReported(t *testing.T) {
	r := Run(1, Options{Duration: 1e9, Trace: &full{lines: 10}})
	if !errors.Is(r.TraceErr, errGone) {
		t.Errorf("got %v, want that the reader has gone", r.TraceErr)
	}
	if r.Violation != nil {
		t.Errorf("got %v, want none", r.Violation)
	}
}

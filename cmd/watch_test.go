package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func TestWatchesOfACounterAndBookmarks(t *testing.T) {
	addr := local(t)
	works(t, "", "counter", "add", addr, "hits", "3")
	works(t, "", "counter", "add", addr, "hits", "-10")
	works(t, "", "resource", "delete", addr, "--type", "counter", "hits")
	works(t, "", "map", "put", addr, "colors", "sky", "blue")
	index := strings.Split(strings.Split(works(t, "", "map", "get", addr, "-o", "json", "colors", "sky"), `"index":`)[1], ",")[0]
	for _, watch := range []struct {
		args string
		want []string
	}{
		{"counter watch --after 1 hits", []string{"\t3\n", "\t-7\n", "\t0\n"}},
		{"counter watch --after 1 --bookmarks hits", []string{"1\tbookmark\n", "\t3\n", "\t-7\n", index + "\tbookmark\n"}},
		{"counter watch --after 1 --bookmarks -o json hits", []string{`{"index":1,"kind":"bookmark","resume":1}`, `"kind":"put"`, `"value":-7}`, `"kind":"delete","resume":`,
			`{"index":` + index + `,"kind":"bookmark","resume":` + index + `}`}},
		{"map watch --after 1 --previous --bookmarks colors", []string{"put\tsky\tblue\tnone\t\n", index + "\tbookmark\t\t\n"}},
		{"map watch --list --bookmarks -o json colors", []string{`{"kind":"listed","index":` + index + `}`, `{"kind":"bookmark","index":` + index + `}`}},
	} {
		said := new(syncBuffer)
		args := strings.Fields(watch.args)
		c := command(t, append(args[:2:2], append([]string{addr}, args[2:]...)...)...)
		c.Stdout, c.Stderr = said, said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			for _, want := range watch.want {
				if !strings.Contains(said.String(), want) {
					return fmt.Errorf("%s: it says %q, not %q", watch.args, said, want)
				}
			}
			return nil
		})
		if err := errors.Join(c.Process.Signal(os.Interrupt), c.Wait()); err != nil {
			t.Errorf("%s: Ctrl-C: %v: %s", watch.args, err, said)
		}
	}
}

// What all watches of the command line do: bookmarks are printed where they are asked for, what may be missing is said once
// and that nothing is any more, the first error is the end, and so is an interruption, which is none.
func TestWhatAWatchTells(t *testing.T) {
	broken := errors.New("broken")
	events := func(yield func(starling.CounterEvent, error) bool) {
		for i, e := range []starling.CounterEvent{
			{Kind: starling.EventBookmark, AgeKnown: true},
			{Kind: starling.EventPut, Value: 1, AgeKnown: true},
			{Kind: starling.EventBookmark, Age: time.Minute, AgeKnown: true},
			{Kind: starling.EventPut, Value: 2, Age: time.Minute, AgeKnown: true},
			{Kind: starling.EventPut, Value: 3},
			{Kind: starling.EventPut, Value: 4, AgeKnown: true},
		} {
			e.Index = starling.Index(i)
			if !yield(e, nil) {
				return
			}
		}
		yield(starling.CounterEvent{}, broken)
	}
	for asked, want := range map[string]string{"false": "1 3 4 5", "true": "0 1 2 3 4 5"} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.Bool("bookmarks", asked == "true", "")
		c := cli.NewContext(nil, flags, nil)
		c.Command.HelpName = "starling counter watch"
		var said bytes.Buffer
		p, s, got := &Program{Stderr: &said}, &session{}, []string(nil)
		ctx, interrupt := context.WithCancel(t.Context())
		s.ctx = ctx
		print := func(e *starling.CounterEvent) error { got = append(got, fmt.Sprint(e.Index)); return nil }
		if err := tell(p, c, s, events, readEvent, print); !errors.Is(err, broken) || strings.Join(got, " ") != want {
			t.Errorf("bookmarks %s: got %q, %v, want %q and %v", asked, got, err, want, broken)
		}
		lines := strings.Split(said.String(), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "in the last 1m0s may be missing") || !strings.Contains(lines[1], "nothing is missing any more") {
			t.Errorf("bookmarks %s: it says %q, want that something may be missing, and once that nothing is", asked, lines)
		}
		interrupt()
		if err := tell(p, c, s, events, readEvent, print); err != nil {
			t.Errorf("bookmarks %s: interrupted: got %v", asked, err)
		}
	}
}

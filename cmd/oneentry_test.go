package cmd

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// A write from the command line is one entry of the log: no session is opened and closed
// for it. An import, whose writes are many, has one.
func TestASingleWriteIsOneEntry(t *testing.T) {
	addr := local(t)
	client := dial(t, addr)
	applied := func() uint64 {
		status, err := client.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return uint64(status.Applied)
	}
	writes := func(stdin string, lines ...string) uint64 {
		before := applied()
		for _, line := range lines {
			if _, errs, code := run(context.Background(), stdin, strings.Fields(strings.Replace(line, "A", addr, 1))...); code != 0 {
				t.Fatalf("%s: code %d, %s", line, code, errs)
			}
		}
		return applied() - before
	}
	single := []string{
		"map put A colors sky blue", "map put A --if-version 0 colors grass green", "map delete A colors grass",
		"counter add A hits 5", "counter set A hits 3", "counter cas A hits 3 4",
		"queue push A jobs first", "queue push A jobs second", "queue pop A jobs", "resource delete A jobs", "resource delete A colors",
	}
	const lines = 20
	var input strings.Builder
	for i := range lines {
		fmt.Fprintf(&input, "k%d\tv\n", i)
	}
	var one, imported uint64
	for range 5 { // a membership change, or a checkpoint entry, may come between
		one = writes("", single...)
		imported = writes(input.String(), "map import --format tab A imported")
		if one == uint64(len(single)) && imported == lines+2 {
			return
		}
	}
	t.Errorf("got %d entries for %d writes, and %d for an import of %d, want %d and %d", one, len(single), imported, lines, len(single), lines+2)
}

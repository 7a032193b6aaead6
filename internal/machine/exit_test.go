package machine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// leaver has a command that writes and then ends its goroutine, panics, or neither.
func leaver() *resources.Type {
	table := resources.NewTable[string, string]("t")
	return resources.NewType("leaver", 1, resources.NewCommand("note", func(tx *resources.Tx, what string) (int, error) {
		if err := table.Put(tx, what, what); err != nil {
			return 0, err
		}
		switch what {
		case "exit":
			runtime.Goexit()
		case "panic":
			panic("as told")
		}
		return 1, nil
	}))
}

// A command that ends its goroutine has no effect and is answered as one that panics;
// those before and after it in its batch are applied, however batches are cut, and the
// state is the same.
func TestACommandThatEndsItsGoroutine(t *testing.T) {
	words := []string{"a", "exit", "exit", "b", "exit", "c", "panic", "exit"}
	var digests []machine.Digest
	for _, size := range []int{1, 3, len(words)} {
		registry, err := resources.NewRegistry(leaver())
		if err != nil {
			t.Fatal(err)
		}
		m := machine.New(machine.Config{Registry: registry, Logger: slog.New(slog.DiscardHandler)})
		open := sessionop.Open(time.Minute)
		entries := []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&open)}}
		for i, w := range words {
			argument, err := resources.AppendValue(nil, w)
			if err != nil {
				t.Fatal(err)
			}
			c := protocol.Command{Session: 1, Sequence: uint64(i + 1), Floor: 1, Resource: "r", Type: "leaver", Version: 1, Operation: "note", Argument: argument}
			entries = append(entries, protocol.Entry{Index: protocol.Index(i + 2), Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)})
		}
		var results []protocol.Result
		for at := 0; at < len(entries); at += size {
			results = m.ApplyAside(entries[at:min(at+size, len(entries))], results)
		}
		if len(results) != len(entries) {
			t.Fatalf("batches of %d: %d results of %d entries", size, len(results), len(entries))
		}
		for i, w := range words {
			r := &results[i+1]
			if wrong := w == "exit" || w == "panic"; r.Index != protocol.Index(i+2) || errors.Is(r.Err(), protocol.ErrPanicked) != wrong || (r.Err() == nil) == wrong {
				t.Errorf("batches of %d: %s: got %+v", size, w, r)
			}
		}
		counted, kept := m.Verify()
		if counted != kept {
			t.Errorf("the digest is %v, counted %v", kept, counted)
		}
		digests = append(digests, kept)
		if _, runs := m.Running(); runs {
			t.Error("a command is said to run")
		}
	}
	if digests[0] != digests[1] || digests[1] != digests[2] {
		t.Error(fmt.Sprint("the states differ: ", digests))
	}
}

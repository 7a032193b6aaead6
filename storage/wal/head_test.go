package wal_test

import (
	"fmt"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// configure appends a configuration entry after an index.
func (l *lab) configure(after protocol.Index, target int, term protocol.Term) protocol.ConfigurationAt {
	l.t.Helper()
	c := protocol.Configuration{Target: target, Members: []protocol.ActiveMember{{ID: id.Member, Name: "a1", Address: "a:1", Suffrage: protocol.SuffrageVoter}}}
	e := []protocol.Entry{{Index: after + 1, Term: term, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(c)}}
	l.write(after, e)
	return protocol.ConfigurationAt{Index: after + 1, Configuration: c}
}

// Dropping the head is cut short at every step, in a log whose later segments
// begin above a cut: whatever is left says who is active.
func TestDropHeadCutShortKeepsTheConfiguration(t *testing.T) {
	for n := 0; ; n++ {
		l := newLab(t, uint64(n))
		want := l.configure(0, 3, 1)
		l.state.Commit = 1
		last := func() protocol.Index { return protocol.Index(len(l.entries)) }
		grow := func(segments int, term protocol.Term) {
			for len(l.segments()) < segments {
				l.append(last(), 1, 900, term)
			}
		}
		grow(3, 1)
		at := last()
		l.configure(last(), 5, 1) // never committed
		grow(4, 1)                // this one begins with it in force
		l.append(at, 1, 900, 2)
		l.state.Commit = at + 1
		grow(5, 2)
		l.state.Commit = last()
		l.append(last(), 1, 100, 2)
		l.sync()
		l.must(l.log.Settle())
		l.disk.StopAfter(n)
		_, err := l.log.DropHead(l.state.Commit)
		l.log.Close()
		if err != nil && !l.disk.Stopped() {
			t.Fatal(err)
		}
		l.disk.Crash()
		l.open()
		l.expect(last())
		rec := l.log.Opened()
		if got, ok := rec.Configurations.At(rec.State.Commit); !ok || got.Index != want.Index || !got.Configuration.Equal(want.Configuration) {
			t.Fatalf("stopped after %d steps: configuration at %d: got %v of %d, known %v; want %v; the log begins after %d",
				n, rec.State.Commit, got.Configuration, got.Index, ok, want.Configuration, rec.LogTerms.PrevIndex)
		}
		l.log.Close()
		if err == nil {
			return
		}
	}
}

// Counterexample 14 after each way to lose the head: the hard state is in what
// is left, and a power cut does not take it.
func TestHardStateAfterDroppedHeadAndPowerCut(t *testing.T) {
	for _, how := range []string{"drop", "reset", "reset and drop"} {
		for seed := range uint64(30) {
			t.Run(fmt.Sprintf("%s/seed=%d", how, seed), func(t *testing.T) {
				l := newLab(t, seed)
				l.vote(7, 1)
				for i := range protocol.Index(60) {
					l.state.Commit = i
					l.append(i, 1, 800, 7)
				}
				l.vote(9, 3)
				below := l.state.Commit
				if how != "drop" {
					l.state.Commit = 80
					below = 81
					l.must(l.log.Reset(storage.Begin{Index: 80, Term: 6, Sum: protocol.LogSum{1, 1},
						Configuration: protocol.ConfigurationAt{Index: 1, Configuration: sampleConfiguration()}}, l.state))
				}
				if how != "reset" {
					_, err := l.log.DropHead(below)
					l.must(err)
				}
				for range 3 {
					l.crash()
					l.open()
					if got := l.log.Opened().State; got != l.state {
						t.Fatalf("got %+v, want %+v", got, l.state)
					}
				}
				l.log.Close()
			})
		}
	}
}

func sampleConfiguration() protocol.Configuration {
	return protocol.Configuration{Target: 1, Members: []protocol.ActiveMember{{ID: id.Member, Name: "a1", Address: "a:1", Suffrage: protocol.SuffrageVoter}}}
}

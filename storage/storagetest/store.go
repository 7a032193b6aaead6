// Package storagetest is one suite for every implementation of storage.Log:
// append, truncate, reopen, crash at each step, torn tail, flipped bits,
// recycled segments, full disk, failed sync, and random histories against a
// model.
package storagetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// Store is the home of one log, empty when the factory returns it.
type Store struct {
	// Open opens the log. The suite has at most one open at a time.
	Open func() (storage.Log, error)
	// Kill ends the process of an open log: nothing that was written is lost.
	Kill func(storage.Log)
	// Crash cuts the power: what was not synced may be lost. Nil if the store
	// cannot.
	Crash func(storage.Log)
	// Disk is the file system, if it can be broken; Dir is the folder with the
	// log's files.
	Disk *vfs.Memory
	Dir  string
}

// Factory makes stores. The seed decides everything that is random in one.
type Factory func(t *testing.T, seed uint64) *Store

// Run runs the suite.
func Run(t *testing.T, factory Factory) {
	tests := []struct {
		name string
		test func(*testing.T, Factory)
		disk bool // needs a disk that breaks
	}{
		{"Append", testAppend, false},
		{"Truncate", testTruncate, false},
		{"ReadLimits", testReadLimits, false},
		{"StateOnly", testState, false},
		{"Reset", testReset, false},
		{"ResetKeepsHardState", testResetKeepsHardState, false},
		{"DropHead", testDropHead, false},
		{"DropHeadInRecentSegment", testDropHeadRecent, false},
		{"DropHeadAfterReset", testDropHeadAfterReset, false},
		{"DropHeadWhileReading", testDropHeadWhileReading, false},
		{"ReadWhileWriting", testConcurrentRead, false},
		{"Closed", testClosed, false},
		{"Random", testRandom, false},
		{"CrashAtEveryStep", testCrashAtEveryStep, true},
		{"FailedSyncIsFinal", testFailedSync, true},
		{"FailedWriteIsFinal", testFailedWrite, true},
		{"FullDisk", testFullDisk, true},
		{"FullDiskInReset", testFullDiskReset, true},
		{"FlippedBits", testFlippedBits, true},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if c.disk && factory(t, 0).Disk == nil {
				t.Skip("this store has no disk that can be broken")
			}
			c.test(t, factory)
		})
	}
}

// image is what a log holds after a write.
type image struct {
	state   protocol.HardState
	begin   storage.Begin
	entries []protocol.Entry // from begin.Index+1
	head    protocol.Index   // entries below it may be gone
}

func (g *image) last() protocol.Index { return g.begin.Index + protocol.Index(len(g.entries)) }

func (g *image) sum() protocol.LogSum {
	if n := len(g.entries); n > 0 {
		return g.entries[n-1].Sum
	}
	return g.begin.Sum
}

func (g *image) term() protocol.Term {
	if n := len(g.entries); n > 0 {
		return g.entries[n-1].Term
	}
	return g.begin.Term
}

// run drives a log and knows what it must hold.
type run struct {
	t      *testing.T
	random *rand.Rand
	store  *Store
	log    storage.Log
	// images are what the log held at opening and after each write since; the
	// one at synced is durable.
	images []image
	synced int
	counts map[string]int
}

func newRun(t *testing.T, factory Factory, seed uint64) *run {
	t.Helper()
	r := &run{t: t, random: rand.New(rand.NewPCG(seed, 1)), store: factory(t, seed), counts: map[string]int{}}
	r.open()
	t.Cleanup(func() { r.log.Close() })
	rec := r.log.Opened()
	if rec.LogTerms.LastIndex() != 0 {
		t.Fatalf("a new log holds %d entries", rec.LogTerms.LastIndex())
	}
	r.images = []image{{state: rec.State}}
	return r
}

func (r *run) open() {
	r.t.Helper()
	l, err := r.store.Open()
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.log = l
}

func (r *run) now() *image { return &r.images[len(r.images)-1] }

// entries makes n entries that continue the log after index.
func (r *run) entries(after protocol.Index, n, bytesMax int, term protocol.Term) []protocol.Entry {
	g := r.now()
	out := make([]protocol.Entry, n)
	for i := range out {
		data := make([]byte, r.random.IntN(bytesMax+1))
		for k := range data {
			data[k] = byte(r.random.Uint32())
		}
		out[i] = protocol.Entry{Index: after + 1 + protocol.Index(i), Term: term, Time: protocol.ClusterTime(after) + protocol.ClusterTime(i),
			Kind: protocol.EntryCommand, Data: data}
		if r.random.IntN(20) == 0 {
			out[i].Kind = protocol.EntryConfiguration
			out[i].Data = protocol.EncodeConfiguration(configuration(byte(1 + r.random.IntN(200))))
		}
	}
	protocol.EncodeEntries(out)
	sum := g.begin.Sum
	if after > g.begin.Index {
		sum = g.entries[after-g.begin.Index-1].Sum
	}
	protocol.SumEntries(sum, out)
	return out
}

func configuration(id byte) protocol.Configuration {
	return protocol.Configuration{Target: 1, Members: []protocol.ActiveMember{{
		ID: protocol.MemberID{id}, Name: fmt.Sprintf("m%d", id), Address: "127.0.0.1:1", Suffrage: protocol.SuffrageVoter}}}
}

// write writes and notes the image that it leads to, also if it fails: the
// record may have reached the disk.
func (r *run) write(w protocol.Write, entries []protocol.Entry) error {
	g := *r.now()
	g.state = w.State
	held := g.entries
	if w.Truncate {
		held = held[:w.After-g.begin.Index]
	}
	g.entries = append(held[:len(held):len(held)], entries...)
	r.images = append(r.images, g)
	return r.log.Write(w, entries)
}

// vote writes a vote ahead of what there may be.
func (r *run) vote(term protocol.Term, vote protocol.MemberID) error {
	g := *r.now()
	if g.state = g.state.Noting(term, vote); g.state != r.now().state {
		r.images = append(r.images, g)
	}
	return r.log.WriteVote(term, vote)
}

// append writes n entries after an index.
func (r *run) append(after protocol.Index, n, bytesMax int, state protocol.HardState) error {
	entries := r.entries(after, n, bytesMax, state.Term)
	w := protocol.Write{State: state, First: after + 1, Last: after + protocol.Index(n), Truncate: after < r.now().last(), After: after}
	return r.write(w, entries)
}

func (r *run) sync() error {
	err := r.log.Sync()
	if err == nil {
		r.synced = len(r.images) - 1
	}
	return err
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// reopen ends the log in a way and opens it again.
func (r *run) reopen(end func(storage.Log), least int) {
	r.t.Helper()
	end(r.log)
	r.open()
	r.check(least)
}

// check verifies that the log holds one of the images from least on, and goes
// on from that one, which is durable now.
func (r *run) check(least int) {
	r.t.Helper()
	rec := r.log.Opened()
	if rec.Damage != nil {
		r.t.Fatalf("damage where there is none: %v", rec.Damage)
	}
	for k := len(r.images) - 1; k >= least; k-- {
		g := &r.images[k]
		if rec.State == g.state && rec.LogTerms.LastIndex() == g.last() && rec.LastSum == g.sum() && rec.LogTerms.PrevIndex >= g.begin.Index {
			r.images, r.synced = []image{*g}, 0
			r.checkContent(rec)
			return
		}
	}
	r.t.Fatalf("the log has state %+v and ends at %d with sum %s, which it never had since what is durable: state %+v, end %d",
		rec.State, rec.LogTerms.LastIndex(), rec.LastSum, r.images[least].state, r.images[least].last())
}

// checkContent compares what was recovered, and what can be read, with the
// newest image.
func (r *run) checkContent(rec storage.Opened) {
	r.t.Helper()
	g := r.now()
	first := rec.LogTerms.FirstIndex()
	if first > max(g.head, g.begin.Index+1) {
		r.t.Fatalf("the log begins at %d, %d must be held", first, g.head)
	}
	var logTerms protocol.LogTerms
	if first-1 == g.begin.Index {
		logTerms.PrevIndex, logTerms.PrevTerm, logTerms.PrevSum = g.begin.Index, g.begin.Term, g.begin.Sum
	} else {
		e := g.entries[first-2-g.begin.Index]
		logTerms.PrevIndex, logTerms.PrevTerm, logTerms.PrevSum = e.Index, e.Term, e.Sum
	}
	held := g.entries[first-1-g.begin.Index:]
	for i := range held {
		logTerms.Append(held[i].Term)
	}
	if got, want := describeLogTerms(&rec.LogTerms), describeLogTerms(&logTerms); got != want {
		r.t.Fatalf("shape: got %s, want %s", got, want)
	}
	r.checkConfigurations(rec, g)
	r.checkEntries("read", r.readAll(first, g.last()), held)
	n := len(rec.Tail)
	if n > len(held) || (n < len(held) && n < storage.TailEntriesMax && protocol.RawSize(held[len(held)-n-1:]) <= storage.TailBytesMax) {
		r.t.Fatalf("a tail of %d entries of %d", n, len(held))
	}
	r.checkEntries("tail", rec.Tail, held[len(held)-n:])
	if len(held) > 0 && rec.LastTime != held[len(held)-1].Time {
		r.t.Fatalf("last time: got %d, want %d", rec.LastTime, held[len(held)-1].Time)
	}
}

func describeLogTerms(s *protocol.LogTerms) string {
	return fmt.Sprintf("begins after %d@%d sum %s, ends at %d, %v", s.PrevIndex, s.PrevTerm, s.PrevSum, s.LastIndex(), s.Runs())
}

func (r *run) checkConfigurations(rec storage.Opened, g *image) {
	r.t.Helper()
	at := g.begin.Configuration
	if rec.LogTerms.PrevIndex == g.begin.Index {
		got, ok := rec.Configurations.At(g.begin.Index)
		if ok != (at.Index > 0) || got.Index != at.Index || !got.Configuration.Equal(at.Configuration) {
			r.t.Fatalf("configuration at the begin %d: got %v of %d, want %v of %d", g.begin.Index, got.Configuration, got.Index, at.Configuration, at.Index)
		}
	}
	for i := range g.entries {
		if e := &g.entries[i]; e.Kind == protocol.EntryConfiguration {
			c, err := protocol.DecodeConfiguration(e.Data)
			r.must(err)
			at = protocol.ConfigurationAt{Index: e.Index, Configuration: c}
		}
		if g.entries[i].Index < rec.LogTerms.PrevIndex {
			continue
		}
		got, ok := rec.Configurations.At(g.entries[i].Index)
		if ok != (at.Index > 0) || got.Index != at.Index || !got.Configuration.Equal(at.Configuration) {
			r.t.Fatalf("configuration at %d: got %v of %d, want %v of %d", g.entries[i].Index, got.Configuration, got.Index, at.Configuration, at.Index)
		}
	}
}

func (r *run) readAll(first, last protocol.Index) []protocol.Entry {
	r.t.Helper()
	var out []protocol.Entry
	for first <= last {
		got, err := r.log.Read(first, last, r.random.IntN(10000))
		if err != nil {
			r.t.Fatalf("read %d to %d: %v", first, last, err)
		}
		if len(got) == 0 {
			r.t.Fatalf("read %d to %d: nothing", first, last)
		}
		out = append(out, got...)
		first += protocol.Index(len(got))
	}
	return out
}

func (r *run) checkEntries(what string, got, want []protocol.Entry) {
	r.t.Helper()
	if len(got) != len(want) {
		r.t.Fatalf("%s: got %d entries, want %d", what, len(got), len(want))
	}
	for i := range got {
		a, b := &got[i], &want[i]
		if a.Index != b.Index || a.Term != b.Term || a.Kind != b.Kind || a.Sum != b.Sum || !bytes.Equal(a.Raw, b.Raw) || !bytes.Equal(a.Data, b.Data) {
			r.t.Fatalf("%s: got entry %s sum %s, want %s sum %s", what, *a, a.Sum, *b, b.Sum)
		}
	}
}

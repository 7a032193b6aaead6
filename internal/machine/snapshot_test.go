package machine_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// stored is what a checkpoint holds, by space and key.
type stored map[[2]string]machine.CheckpointItem

// full is a checkpoint of all of a snapshot. Each key must come once, in order.
func full(t testing.TB, s *machine.Snapshot) stored {
	t.Helper()
	out, last := stored{}, [2]string{}
	for item := range s.All() {
		at := [2]string{item.Space, string(item.Key)}
		if len(out) > 0 && slices.Compare(last[:], at[:]) >= 0 || item.Deleted {
			t.Fatalf("at %d: %q after %q (deleted: %v)", s.Index(), at, last, item.Deleted)
		}
		last = at
		out.put(item)
	}
	return out
}

func (c stored) put(item machine.CheckpointItem) {
	item.Key, item.Value = slices.Clone(item.Key), slices.Clone(item.Value)
	c[[2]string{item.Space, string(item.Key)}] = item
}

// baseOf returns the nearest index that a snapshot's changes begin after, 0 if there
// is none.
func baseOf(s *machine.Snapshot) protocol.Index {
	if bases := s.Bases(); len(bases) > 0 {
		return bases[0]
	}
	return 0
}

// change brings a checkpoint from the snapshot's base to its index. Each key
// must come once.
func (c stored) change(t testing.TB, s *machine.Snapshot) (items []machine.CheckpointItem) {
	t.Helper()
	seen := map[[2]string]bool{}
	changes, known := s.Changed(baseOf(s))
	if !known {
		for item := range s.All() {
			c.put(item)
			items = append(items, item)
		}
		return items
	}
	for item := range changes {
		at := [2]string{item.Space, string(item.Key)}
		if seen[at] {
			t.Fatalf("changed %d..%d: %q comes twice", baseOf(s), s.Index(), at)
		}
		seen[at] = true
		items = append(items, item)
		if item.Deleted {
			delete(c, at)
		} else {
			c.put(item)
		}
	}
	return items
}

func (c stored) equal(other stored) error {
	for _, at := range slices.SortedFunc(maps.Keys(c), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		got, want := other[at], c[at]
		if got.Index != want.Index || !bytes.Equal(got.Value, want.Value) || got.Deleted || want.Deleted {
			return fmt.Errorf("%q: got %d bytes of %d, want %d bytes of %d", at, len(got.Value), got.Index, len(want.Value), want.Index)
		}
	}
	if len(c) != len(other) {
		return fmt.Errorf("got %d keys, want %d", len(other), len(c))
	}
	return nil
}

// load returns a loader with the items in random order.
func load(t testing.TB, r *rand.Rand, m *machine.Machine, i protocol.Index, want machine.Digest, layers ...[]machine.CheckpointItem) *machine.Loader {
	t.Helper()
	l := m.NewLoader()
	for _, items := range layers {
		for _, k := range r.Perm(len(items)) {
			if err := l.Add(items[k]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := l.Finish(i); err != nil || got != want {
		t.Fatalf("loaded at %d: got digest %v, %v, want %v", i, got, err, want)
	}
	return l
}

func (c stored) items() []machine.CheckpointItem {
	return slices.Collect(maps.Values(c))
}

var historyTypes = []*resources.Type{kvmap.Type, queue.Type, counter.Type, journal, flicker}

// flicker is a type whose command deletes all that it finds, after a key of its
// own, and then sets some again, or fails, or panics.
var flicker = resources.NewType("flicker", 1, resources.NewCommand("flicker", func(tx *resources.Tx, then string) (int, error) {
	if err := tx.Set([]byte("before"), nil); err != nil {
		return 0, err
	}
	n := 0
	for item := range tx.Scan(nil, nil) {
		tx.Delete(item.Key)
		n++
	}
	switch then {
	case "refill":
		return n, tx.Set([]byte{byte(n)}, []byte(then))
	case "fail":
		return n, errors.New("as told")
	case "panic":
		panic("as told")
	}
	return n, nil
}))

// history makes entries that a cluster could have, at random.
type history struct {
	r        *rand.Rand
	index    protocol.Index
	time     protocol.ClusterTime
	sessions []*historySession
	alone    bool // some commands belong to no session
	shots    []protocol.Command
}

type historySession struct {
	id          protocol.SessionID
	floor, next uint64
}

func (h *history) entry(kind protocol.EntryKind, data []byte) protocol.Entry {
	h.index++
	switch h.r.IntN(40) {
	case 0:
		h.time += protocol.ClusterTime(4 * time.Second)
	default:
		h.time += protocol.ClusterTime(h.r.IntN(int(20 * time.Millisecond)))
	}
	return protocol.Entry{Index: h.index, Term: 1, Time: h.time, Kind: kind, Data: data}
}

func (h *history) next() protocol.Entry {
	switch n := h.r.IntN(100); {
	case n < 2:
		return h.entry(protocol.EntryNoop, nil)
	case n < 4:
		return h.entry(protocol.EntryTick, nil)
	case n < 7:
		return h.entry(protocol.EntryCheckpoint, nil)
	case n < 11 || len(h.sessions) == 0:
		timeout := protocol.SessionTimeoutMin + time.Duration(h.r.IntN(int(8*time.Second)))
		if h.r.IntN(10) == 0 {
			timeout = 1 // refused
		}
		e := h.entry(protocol.EntryCommand, command(sessionop.Open(timeout)))
		h.sessions = append(h.sessions, &historySession{id: protocol.SessionID(e.Index), floor: 1, next: 1})
		return e
	}
	if h.alone && h.r.IntN(5) == 0 {
		return h.entry(protocol.EntryCommand, command(h.oneShot()))
	}
	s := h.sessions[h.r.IntN(len(h.sessions))]
	switch n := h.r.IntN(40); {
	case n == 0:
		return h.entry(protocol.EntryCommand, command(sessionop.Close(s.id)))
	case n < 4:
		s.floor = min(s.floor+uint64(h.r.IntN(10)), s.next)
		return h.entry(protocol.EntryCommand, command(sessionop.KeepAlive(s.id, s.floor)))
	}
	return h.entry(protocol.EntryCommand, command(h.command(s)))
}

// oneShot is a command that belongs to no session, or one of the last that comes again.
func (h *history) oneShot() protocol.Command {
	if n := len(h.shots); n > 0 && h.r.IntN(3) == 0 {
		return h.shots[h.r.IntN(n)]
	}
	c := h.command(&historySession{id: 1, floor: 1, next: 1})
	c.Session, c.Sequence, c.Floor = 0, 0, 0
	c.OneShot = protocol.OneShot{Number: number(h.r.Uint64()), Seen: h.index - min(h.index, protocol.Index(h.r.IntN(50)))}
	if h.shots = append(h.shots, c); len(h.shots) > 300 {
		h.shots = h.shots[100:]
	}
	return c
}

// command is one of a client that pipelines, retries, and goes wrong.
func (h *history) command(s *historySession) protocol.Command {
	if h.r.IntN(4) == 0 {
		s.floor = min(s.floor+uint64(h.r.IntN(4)), s.next)
	}
	c := protocol.Command{Session: s.id, Sequence: s.next, Floor: s.floor, Version: 1}
	switch n := h.r.IntN(20); {
	case n < 4 && s.next > 1: // a retry, perhaps below the floor
		c.Sequence -= uint64(h.r.IntN(int(min(s.next-1, 20)))) + 1
		c.Floor = min(c.Floor, c.Sequence)
	case n == 4: // beyond the window, now and then
		c.Sequence += protocol.SessionWindow - uint64(h.r.IntN(30))
	case n == 5: // 6 before 5
		c.Sequence += uint64(h.r.IntN(5))
		s.next++
	default:
		s.next++
	}
	key := []byte(fmt.Sprintf("k%d", h.r.IntN(12)))
	set := func(resource, kind, operation string, argument any) {
		c.Resource, c.Type, c.Operation = resource, kind, operation
		for _, t := range historyTypes {
			for _, op := range t.Operations() {
				if d := op.Describe(); t.Name() == kind && d.Name == operation {
					c.Argument, _ = d.Encode(argument)
				}
			}
		}
	}
	names := []string{"m0", "m1", "m2", "q", "c", "j0", "j1"}
	switch h.r.IntN(15) {
	case 0, 1, 2:
		set(fmt.Sprintf("m%d", h.r.IntN(3)), "map", "put", kvmap.PutRequest{Key: key, Value: []byte(fmt.Sprint(h.index))})
	case 3, 4:
		set(fmt.Sprintf("m%d", h.r.IntN(3)), "map", "delete", kvmap.DeleteRequest{Key: key})
	case 5:
		set("m0", "map", "put", kvmap.PutRequest{Key: key, Value: key, Condition: kvmap.IfVersion, Version: h.index - 3})
	case 6:
		set("q", "queue", "push", key)
	case 7:
		set("q", "queue", "pop", struct{}{})
	case 8:
		set("c", "counter", "add", int64(h.r.IntN(7)))
	case 9:
		set(fmt.Sprintf("j%d", h.r.IntN(2)), "journal", "note", []string{"refuse", "fine", "fine"}[h.r.IntN(3)])
	case 10:
		set("j0", "journal", "big", h.r.IntN(protocol.SessionAnswersBytesMax/3))
	case 11: // of another type than the resource, unless that was deleted
		set(names[h.r.IntN(len(names))], "map", "put", kvmap.PutRequest{Key: key})
	case 12: // likewise; it deletes all that it finds
		set(names[1+h.r.IntN(len(names)-1)], "flicker", "flicker", []string{"empty", "refill", "fail", "panic"}[h.r.IntN(4)])
	case 13:
		set(names[h.r.IntN(len(names))], "catalogue", "delete", "")
		c.Argument, _ = resources.AppendValue(nil, []string{"", "", "map", "queue"}[h.r.IntN(4)])
	case 14: // the last key goes
		set("single", "map", []string{"put", "delete"}[h.r.IntN(2)], nil)
		if c.Operation == "put" {
			c.Argument, _ = kvmap.PutRequest{Key: []byte("k")}.AppendRaw(nil)
		} else {
			c.Argument, _ = kvmap.DeleteRequest{Key: []byte("k")}.AppendRaw(nil)
		}
	}
	return c
}

func command(c protocol.Command) []byte { return protocol.EncodeCommand(&c) }

func newTracked(t testing.TB) *machine.Machine {
	t.Helper()
	registry, err := resources.NewRegistry(historyTypes...)
	if err != nil {
		t.Fatal(err)
	}
	return machine.New(machine.Config{Registry: registry, Logger: slog.New(slog.DiscardHandler), Track: true})
}

// TestRestoredAtEveryStep has one machine live for ever, and others that are
// made anew at every step: out of the whole state, out of a base and all that
// was changed since, and out of layers. All must stay equal.
func TestRestoredAtEveryStep(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: one goroutine, 3,000 states")
	}
	r := newRandom(t)
	for range 6 {
		testRestored(t, r, 500)
	}
}

func testRestored(t *testing.T, r *rand.Rand, steps int) {
	h := &history{r: r, alone: true}
	live := newTracked(t)
	whole, chained := newTracked(t), newTracked(t)
	var chain stored
	for range steps {
		e := h.next()
		want := live.Apply([]protocol.Entry{e}, nil)
		index, digest := live.Digest()
		for name, m := range map[string]**machine.Machine{"whole": &whole, "chained": &chained} {
			got := (*m).Apply([]protocol.Entry{e}, nil)
			if err := sameResults(got, want); err != nil {
				t.Fatalf("%s at %d: %v", name, e.Index, err)
			}
			if i, d := (*m).Digest(); i != index || d != digest {
				t.Fatalf("%s: got %v at %d, want %v at %d", name, d, i, digest, index)
			}
			if got, want := fmt.Sprintf("%+v, next deadline %v", (*m).Stats(), (*m).NextDeadline()),
				fmt.Sprintf("%+v, next deadline %v", live.Stats(), live.NextDeadline()); got != want {
				t.Fatalf("%s at %d:\n got %s,\nwant %s", name, e.Index, got, want)
			}
		}
		if r.IntN(3) == 0 {
			continue // so that there is more between two checkpoints
		}
		snapshot := chained.Snapshot()
		base := chain.items()
		if chain == nil {
			chain = full(t, snapshot)
			base = chain.items()
		} else if baseOf(snapshot) == 0 {
			t.Fatalf("at %d: no base", index)
		}
		changed := chain.change(t, snapshot)
		all := full(t, snapshot)
		if err := all.equal(chain); err != nil {
			t.Fatalf("base and changes at %d: %v", index, err)
		}
		snapshot.Close()
		next := newTracked(t)
		var l *machine.Loader
		if baseOf(snapshot) > 0 && r.IntN(2) == 0 {
			l = load(t, r, next, index, digest, base, changed)
		} else {
			l = load(t, r, next, index, digest, chain.items())
		}
		if e.Kind == protocol.EntryCheckpoint && l.Time() != e.Time {
			t.Fatalf("at %d: got time %v, want %v", index, l.Time(), e.Time)
		}
		if r.IntN(4) > 0 { // else it goes on, and the next one builds on this
			next.Install(l)
			chained = next
		} else if r.IntN(2) == 0 {
			chained.Install(l)
		}
		if got, want := chained.NextDeadline(), live.NextDeadline(); got != want {
			t.Fatalf("at %d: got deadline %v, want %v", index, got, want)
		}
		whole = newTracked(t)
		whole.Install(load(t, r, whole, index, digest, all.items()))
		if counted, kept := whole.Verify(); counted != digest || kept != digest {
			t.Fatalf("at %d: counted %v, kept %v, want %v", index, counted, kept, digest)
		}
	}
}

// sameResults compares all but texts, which are local.
func sameResults(got, want []protocol.Result) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d results, want %d", len(got), len(want))
	}
	for k := range got {
		g, w := got[k], want[k]
		if g.Code != w.Code || g.Index != w.Index || !bytes.Equal(g.Data, w.Data) {
			return fmt.Errorf("got %q at %d with %d bytes, want %q at %d with %d", g.Code, g.Index, len(g.Data), w.Code, w.Index, len(w.Data))
		}
	}
	return nil
}

func TestDigestCrossesAsBytes(t *testing.T) {
	d := machine.Digest{0x0102030405060708, 0x090a0b0c0d0e0f10}
	if got, want := d.Bytes(), [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}; got != want {
		t.Errorf("got % x, want % x", got, want)
	}
	if got := machine.DigestFrom(d.Bytes()); got != d {
		t.Errorf("got %v, want %v", got, d)
	}
}

// TestSnapshotsOverlap keeps several snapshots and views open while keys go,
// are unlinked and made again, and reads them late: each tells its own moment,
// and its changes lead from its base to it.
func TestSnapshotsOverlap(t *testing.T) {
	h := &history{r: newRandom(t), alone: true}
	m := newTracked(t)
	type taken struct {
		s           *machine.Snapshot
		before, now stored // at base and at the index
		earlier     stored // at the base before
	}
	var open []taken
	var last, lastButOne stored
	var views []*resources.View
	earlier := 0
	check := func(one taken) {
		t.Helper()
		if err := full(t, one.s).equal(one.now); err != nil {
			t.Fatalf("snapshot at %d, read at %d: %v", one.s.Index(), m.Applied(), err)
		}
		if one.before == nil {
			one.before = stored{}
		}
		got := maps.Clone(one.before)
		items := got.change(t, one.s)
		if err := got.equal(one.now); err != nil {
			t.Fatalf("changes %d..%d, read at %d: %v", baseOf(one.s), one.s.Index(), m.Applied(), err)
		}
		if bases := one.s.Bases(); len(bases) > 1 {
			got, since := maps.Clone(one.earlier), bases[1]
			changes, _ := one.s.Changed(since)
			for item := range changes {
				if item.Deleted {
					delete(got, [2]string{item.Space, string(item.Key)})
				} else {
					got.put(item)
				}
			}
			if err := got.equal(one.now); err != nil {
				t.Fatalf("changes since the last but one, %d..%d, read at %d: %v", since, one.s.Index(), m.Applied(), err)
			}
			earlier++
		}
		for _, item := range items {
			if !item.Deleted && item.Index <= baseOf(one.s) {
				t.Fatalf("%q of index %d is told above %d", item.Key, item.Index, baseOf(one.s))
			}
		}
	}
	for range 6000 {
		m.Apply([]protocol.Entry{h.next()}, nil)
		if h.r.IntN(12) == 0 {
			s := m.Snapshot()
			now := full(t, s)
			open = append(open, taken{s, last, now, lastButOne})
			last, lastButOne = now, last
		}
		for len(open) > 0 && (len(open) > 6 || h.r.IntN(16) == 0) {
			k := h.r.IntN(len(open))
			check(open[k])
			open[k].s.Close()
			open[k].s.Close()
			open = slices.Delete(open, k, k+1)
		}
		if h.r.IntN(5) == 0 {
			v, err := m.View("m0", "map")
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, v)
		}
		if len(views) > 3 {
			k := h.r.IntN(len(views))
			views[k].Close()
			views = slices.Delete(views, k, k+1)
		}
	}
	if earlier < 100 {
		t.Errorf("only %d changes since the last base but one were compared", earlier)
	}
}

// Snapshots are read by other goroutines while entries are applied, and each comes to the digest of its
// index: what is changed in place is not what it has.
func TestSnapshotsAreReadWhileEntriesAreApplied(t *testing.T) {
	h := &history{r: newRandom(t), alone: true}
	m := newTracked(t)
	var reading sync.WaitGroup
	apply := func(n int) {
		for range n {
			m.Apply([]protocol.Entry{h.next()}, nil)
		}
	}
	for range 60 {
		apply(30)
		s := m.Snapshot()
		apply(30) // some of it before anybody reads, in any case
		reading.Go(func() {
			defer s.Close()
			if counted, _ := s.Recount(); counted != s.Digest() {
				t.Errorf("at %d: counted %v, want %v", s.Index(), counted, s.Digest())
			}
			l := m.NewLoader()
			for item := range s.All() {
				if err := l.Add(item); err != nil {
					t.Error(err)
				}
			}
			if got, err := l.Finish(s.Index()); err != nil || got != s.Digest() {
				t.Errorf("loaded at %d: got %v, %v, want %v", s.Index(), got, err, s.Digest())
			}
		})
	}
	reading.Wait()
}

// TestSnapshotDoesNotExpire while views that are as old do, and what they held
// is freed once it is closed.
func TestSnapshotDoesNotExpire(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	var now protocol.Instant
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), Clock: func() protocol.Instant { return now }})
	put(t, l, "m", "k", "first")
	s := l.m.Snapshot()
	want := full(t, s)
	view := func() *resources.View {
		v, err := l.m.View("m", "map")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		return v
	}
	same := view() // at the same index
	put(t, l, "m", "k", "second")
	later := view()
	for range 3 {
		now = now.Add(time.Hour)
		put(t, l, "m", "k", fmt.Sprint(now))
	}
	if err := full(t, s).equal(want); err != nil {
		t.Errorf("after hours: %v", err)
	}
	for what, v := range map[string]*resources.View{"of the same index": same, "of a later one": later} {
		if _, _, err := v.Get([]byte("k")); !errors.Is(err, protocol.ErrViewExpired) {
			t.Errorf("a view %s: got %v, want expired", what, err)
		}
	}
	s.Close()
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "closed") {
			t.Errorf("read after it was closed: got %s, want a violated invariant", got)
		}
	}()
	full(t, s)
}

// TestClusterTimeSurvivesACheckpoint: the entry's time is in the state, and the
// machine that is made of it goes on from there, though its log says nothing.
func TestClusterTimeSurvivesACheckpoint(t *testing.T) {
	l := newLocal(t, journal)
	l.open(t, 3*time.Second)
	l.time = protocol.ClusterTime(2 * time.Second)
	l.m.Apply([]protocol.Entry{l.entry(protocol.EntryCheckpoint, []byte("a checkpoint entry"))}, nil)
	s := l.m.Snapshot()
	defer s.Close()
	m := newTracked(t)
	loader := loaderOf(t, m, s)
	if got, want := loader.Time(), l.time; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	m.Install(loader)
	for _, machine := range []*machine.Machine{l.m, m} {
		e := protocol.Entry{Index: s.Index() + 1, Term: 1, Kind: protocol.EntryCommand, Time: 0, // a leader gone wrong: time stays
			Data: command(sessionop.Open(time.Second))}
		machine.Apply([]protocol.Entry{e}, nil)
		if got, want := machine.NextDeadline(), protocol.ClusterTime(3*time.Second); got != want {
			t.Errorf("got deadline %v, want %v", got, want)
		}
	}
	_, got := m.Digest()
	if _, want := l.m.Digest(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, _ := m.Digest(); got != 3 {
		t.Errorf("got index %d, want 3", got)
	}
}

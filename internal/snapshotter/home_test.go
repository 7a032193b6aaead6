package snapshotter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	flatengine "github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

var ctx = context.Background()

func registry(t testing.TB) *resources.Registry {
	t.Helper()
	r, err := resources.NewRegistry(kvmap.Type, queue.Type, counter.Type)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newMachine(t testing.TB) *machine.Machine {
	t.Helper()
	m := machine.New(machine.Config{Registry: registry(t), Logger: slog.New(slog.DiscardHandler), Track: true})
	t.Cleanup(m.Close)
	return m
}

// markEvery is the distance of the checkpoint entries in a history.
const markEvery = 50

// session is the one session of a history: the entry that opens it has this
// index.
const session = 2

// configuration is the one of a history.
var configuration = protocol.ConfigurationAt{Index: 1, Configuration: protocol.Configuration{
	Members: []protocol.ActiveMember{{ID: protocol.MemberID{1}, Name: "a1", Address: "127.0.0.1:1", Suffrage: protocol.SuffrageVoter}}, Target: 1,
}}

// command returns the n-th command of the session.
func command[A, R any](op *resources.Command[A, R], typ *resources.Type, resource string, sequence uint64, argument A) []byte {
	data, err := resources.AppendValue(nil, argument)
	if err != nil {
		panic(err)
	}
	return protocol.EncodeCommand(&protocol.Command{
		Session: session, Sequence: sequence, Floor: max(1, sequence-min(sequence, 20)),
		Resource: resource, Type: typ.Name(), Version: typ.Version(), Operation: op.Describe().Name, Argument: data,
	})
}

// history returns n entries of a log: a configuration, a session, and commands
// of it on a map, a queue and a counter, with a checkpoint entry now and then. The same seed
// gives the same entries, term after term.
func history(seed uint64, n int, term protocol.Term) []protocol.Entry {
	r := rand.New(rand.NewPCG(seed, 1))
	entries := make([]protocol.Entry, n)
	sequence := uint64(0)
	for k := range entries {
		e := &entries[k]
		*e = protocol.Entry{Index: protocol.Index(k + 1), Term: term, Time: protocol.ClusterTime(k) * protocol.ClusterTime(time.Millisecond), Kind: protocol.EntryCommand}
		open := sessionop.Open(0)
		switch {
		case k == 0:
			e.Kind, e.Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(configuration.Configuration)
		case e.Index == session:
			e.Data = protocol.EncodeCommand(&open)
		case e.Index%markEvery == 0:
			e.Kind, e.Data = protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})
		default:
			sequence++
			e.Data = someCommand(r, sequence)
		}
	}
	protocol.EncodeEntries(entries)
	protocol.SumEntries(protocol.LogSum{}, entries)
	return entries
}

func someCommand(r *rand.Rand, sequence uint64) []byte {
	key := fmt.Appendf(nil, "key %d", r.IntN(40))
	switch r.IntN(5) {
	case 0:
		return command(counter.Add, counter.Type, "hits", sequence, 1)
	case 1:
		return command(queue.Push, queue.Type, "jobs", sequence, key)
	case 2:
		return command(kvmap.Delete, kvmap.Type, "m", sequence, kvmap.DeleteRequest{Key: key})
	}
	value := make([]byte, r.IntN(3000))
	for i := range value {
		value[i] = byte(r.Uint32())
	}
	return command(kvmap.Put, kvmap.Type, "m", sequence, kvmap.PutRequest{Key: key, Value: value})
}

// describe returns what a replica says of the checkpoint at a checkpoint entry.
func describe(entries []protocol.Entry, i protocol.Index) storage.Manifest {
	e := &entries[i-1]
	return storage.Manifest{Index: i, Term: e.Term, LogSum: e.Sum, Configuration: configuration}
}

// kind is where a home has its checkpoints.
type kind string

const (
	flat   kind = "flat files"
	badger kind = "Badger"
	memory kind = "memory"
)

var kinds = []kind{flat, badger, memory}

// home is one member's directory: a log and checkpoints, and the machine of the
// start that is running. The disk is a simulated one, but for Badger.
type home struct {
	t       *testing.T
	kind    kind
	disk    *vfs.Memory
	folder  string // of Badger
	options checkpoint.Options
	random  io.Reader

	log      storage.Log
	store    storage.CheckpointStore
	machine  *machine.Machine
	rec      storage.Opened
	restored replica.OpenedState
	told     []protocol.Event
	starts   snapshotter.Options
	level    protocol.FormatLevel // of the checkpoints that are taken
}

const dir = "/d"

type noise struct{ r *rand.Rand }

func (n noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(n.r.Uint64())
	}
	return len(p), nil
}

// newHome makes a home that is not open. What is random comes from the seed.
func newHome(t *testing.T, k kind, seed uint64) *home {
	t.Helper()
	h := &home{t: t, kind: k, disk: vfs.NewMemory(seed), folder: filepath.Join(t.TempDir(), "checkpoints"), random: noise{rand.New(rand.NewPCG(seed, 2))}}
	h.disk.SetCapacity(1 << 40)
	h.options = checkpoint.Options{SpaceReserve: 1 << 20, BootID: "one boot", ChunkBytes: 4 << 10}
	h.must(wal.Init(h.disk, dir, wal.Identity{Cluster: protocol.ClusterID{1}, Member: protocol.MemberID{1}, Name: "a1"}, nil, h.walOptions()))
	t.Cleanup(func() {
		if h.log != nil {
			h.close()
		}
	})
	return h
}

func (h *home) walOptions() wal.Options { return wal.Options{SegmentBytes: 32 << 10, Random: h.random} }

func (h *home) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// open opens log and checkpoints, and does nothing with them.
func (h *home) open() error {
	log, err := wal.Open(h.disk, dir, h.walOptions())
	if err != nil {
		return err
	}
	h.log = log
	var s *checkpoint.Store
	switch h.kind {
	case flat:
		s, err = checkpoint.Open(h.disk, filepath.Join(dir, "checkpoints"), flatengine.New(h.disk), h.options)
	case badger:
		s, err = checkpoint.Open(vfs.OS(), h.folder, badgerengine.New(badgerengine.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20}), h.options)
	case memory:
		if h.store != nil {
			return nil // it outlives the machine, not the process
		}
		s, err = checkpoint.NewMemory(h.options)
	}
	if err != nil {
		return err
	}
	h.store = s
	return nil
}

// start opens the home and starts a machine on it.
func (h *home) start() error {
	if err := h.open(); err != nil {
		return err
	}
	h.machine, h.told = newMachine(h.t), nil
	o := h.starts
	o.Tell = func(e protocol.Event) { h.told = append(h.told, e) }
	var err error
	h.rec, h.restored, err = snapshotter.Start(ctx, h.log, h.store, h.machine, o)
	return err
}

// startAgain does so after a clean end.
func (h *home) startAgain() {
	h.t.Helper()
	h.close()
	h.must(h.start())
}

func (h *home) close() {
	h.log.Close()
	if h.kind != memory {
		h.store.Close()
	}
	h.disk.Kill()
}

// powerCut ends the home; what was not synced may be lost.
func (h *home) powerCut() {
	h.disk.Crash()
	h.log.Close()
	h.store.Close()
}

// append writes entries, above after, durably or not.
func (h *home) append(after protocol.Index, entries []protocol.Entry, state protocol.HardState, sync bool) {
	h.t.Helper()
	w := protocol.Write{State: state, Truncate: true, After: after, First: after + 1, Last: after}
	if len(entries) > 0 {
		w.Last = entries[len(entries)-1].Index
	}
	h.must(h.log.Write(w, entries))
	if sync {
		h.must(h.log.Sync())
	}
}

// apply applies entries and takes a checkpoint at each checkpoint entry among them.
func (h *home) apply(entries []protocol.Entry) {
	h.t.Helper()
	for k := range entries {
		h.machine.Apply(entries[k:k+1], nil)
		h.must(h.machine.Stopped())
		if e := &entries[k]; e.Kind == protocol.EntryCheckpoint {
			_, err := snapshotter.Take(ctx, h.store, h.machine.Snapshot(), storage.Manifest{Index: e.Index, Term: e.Term, LogSum: e.Sum, Configuration: h.inForce()})
			h.must(err)
		}
	}
}

// inForce is the configuration of a history at the home's level.
func (h *home) inForce() protocol.ConfigurationAt {
	return protocol.ConfigurationAt{Index: configuration.Index, Configuration: configuration.Configuration.At(h.level)}
}

// grow appends the entries that are missing of all, some at a time, and applies
// them.
func (h *home) grow(all []protocol.Entry) {
	h.t.Helper()
	for after := h.machine.Applied(); int(after) < len(all); after = h.machine.Applied() {
		some := all[after:min(int(after)+10, len(all))]
		last := &some[len(some)-1]
		h.append(after, some, protocol.HardState{Term: last.Term, Vote: protocol.MemberID{1}, Commit: last.Index}, true)
		h.apply(some)
	}
}

// replay applies what the log holds above the restored state.
func (h *home) replay() {
	h.t.Helper()
	for i := h.restored.Applied + 1; i <= h.rec.LogTerms.LastIndex(); {
		entries, err := h.log.Read(i, h.rec.LogTerms.LastIndex(), 1<<20)
		h.must(err)
		h.machine.Apply(entries, nil)
		i += protocol.Index(len(entries))
	}
}

// wantState compares the machine with one that has applied all entries.
func (h *home) wantState(entries []protocol.Entry) {
	h.t.Helper()
	want := stateOf(h.t, entries)
	wantIndex, wantDigest := want.Digest()
	if i, digest := h.machine.Digest(); i != wantIndex || digest != wantDigest {
		h.t.Errorf("the state is at %d with digest %s, want %d with %s", i, digest, wantIndex, wantDigest)
	}
	if counted, kept := h.machine.Verify(); counted != kept {
		h.t.Errorf("the state counts to %s and says %s", counted, kept)
	}
}

func stateOf(t testing.TB, entries []protocol.Entry) *machine.Machine {
	t.Helper()
	m := newMachine(t)
	m.Apply(entries, nil)
	if err := m.Stopped(); err != nil {
		t.Fatal(err)
	}
	return m
}

// wantKept compares the indexes of the kept checkpoints.
func (h *home) wantKept(want ...protocol.Index) {
	h.t.Helper()
	var got []protocol.Index
	for _, d := range h.store.Kept() {
		got = append(got, d.Index)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("kept are %v, want %v", got, want)
	}
}

func (h *home) wantError(err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Errorf("got %v, want %v", err, want)
	}
}

// forge keeps a checkpoint at a checkpoint entry that says another digest than its items
// have.
func (h *home) forge(entries []protocol.Entry, i protocol.Index) {
	h.t.Helper()
	snap := stateOf(h.t, entries[:i]).Snapshot()
	defer snap.Close()
	w, err := h.store.BeginFull(ctx, i, 0)
	h.must(err)
	var items []storage.Item
	for it := range snap.All() {
		items = append(items, storage.Item(it))
	}
	h.must(w.Write(ctx, items))
	d := describe(entries, i)
	d.Digest = snap.Digest().Bytes()
	d.Digest[0] ^= 1
	_, err = w.Commit(ctx, d)
	h.must(err)
}

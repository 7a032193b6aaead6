package recovery

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// member is the directory of a stopped member.
type member struct {
	t       *testing.T
	dir     string
	id      wal.Identity
	log     *wal.Log
	next    protocol.Index
	sum     protocol.LogSum
	session protocol.SessionID
	calls   uint64
}

func registry(t *testing.T) *resources.Registry {
	t.Helper()
	r, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newMember(t *testing.T, cluster protocol.ClusterID, name string) *member {
	t.Helper()
	m := &member{t: t, dir: filepath.Join(t.TempDir(), name), next: 1}
	m.id = wal.Identity{Cluster: cluster, Member: protocol.MemberID{1: name[0], 2: name[1]}, Name: name}
	if err := wal.Init(vfs.OS(), m.dir, m.id, nil, wal.Options{SegmentBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	m.open()
	conf := protocol.Configuration{Target: 3, Members: []protocol.ActiveMember{
		{ID: protocol.MemberID{1: 'a', 2: '1'}, Name: "a1", Address: "h:1", Suffrage: protocol.SuffrageVoter},
		{ID: protocol.MemberID{1: 'a', 2: '2'}, Name: "a2", Address: "h:2", Suffrage: protocol.SuffrageVoter},
		{ID: protocol.MemberID{1: 'a', 2: '3'}, Name: "a3", Address: "h:3", Suffrage: protocol.SuffrageVoter},
	}}
	m.append(1, protocol.EntryConfiguration, protocol.EncodeConfiguration(conf))
	open := sessionop.Open(0)
	m.session = protocol.SessionID(m.append(1, protocol.EntryCommand, protocol.EncodeCommand(&open)))
	return m
}

func (m *member) open() {
	m.t.Helper()
	log, err := wal.Open(vfs.OS(), m.dir, wal.Options{SegmentBytes: 64 << 10})
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = log
	m.t.Cleanup(func() { log.Close() })
}

func (m *member) append(term protocol.Term, kind protocol.EntryKind, data []byte) protocol.Index {
	m.t.Helper()
	e := []protocol.Entry{{Index: m.next, Term: term, Kind: kind, Data: data}}
	protocol.EncodeEntries(e)
	m.sum = protocol.SumEntries(m.sum, e)
	w := protocol.Write{State: protocol.HardState{Term: term, Commit: m.next - 1}, First: m.next, Last: m.next}
	if err := errors.Join(m.log.Write(w, e), m.log.Sync(), m.log.Settle()); err != nil {
		m.t.Fatal(err)
	}
	m.next++
	return m.next - 1
}

func (m *member) put(term protocol.Term, key, value string) protocol.Index {
	m.t.Helper()
	m.calls++
	argument, err := resources.AppendValue(nil, kvmap.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		m.t.Fatal(err)
	}
	c := protocol.Command{Session: m.session, Sequence: m.calls, Resource: "m", Type: kvmap.Type.Name(), Version: kvmap.Type.Version(),
		Operation: "put", Argument: argument}
	return m.append(term, protocol.EntryCommand, protocol.EncodeCommand(&c))
}

// state starts a machine on a directory as a member does.
func state(t *testing.T, dir string) (*machine.Machine, storage.Opened) {
	t.Helper()
	log, err := wal.Open(vfs.OS(), dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	store, err := checkpoint.Open(vfs.OS(), filepath.Join(dir, checkpoint.Folder), badgerengine.New(badgerengine.Options{}), checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	machine := machine.New(machine.Config{Registry: registry(t)})
	rec, restored, err := snapshotter.Start(t.Context(), log, store, machine, snapshotter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if restored.Applied == 0 {
		t.Fatal("nothing was restored")
	}
	return machine, rec
}

func get(t *testing.T, m *machine.Machine, key string) (resources.Item, bool) {
	t.Helper()
	v, err := m.View("m", kvmap.Type.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	item, found, err := v.Lookup([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	item.Value = bytes.Clone(item.Value)
	return item, found
}

var oldCluster = protocol.ClusterID{1, 2, 3}

func TestSurvivorWithTheHighestLastTermThenIndexIsBest(t *testing.T) {
	long, newer, newest := newMember(t, oldCluster, "a1"), newMember(t, oldCluster, "a2"), newMember(t, oldCluster, "p1")
	for range 10 {
		long.put(1, "k", "long")
	}
	newer.put(2, "k", "newer")
	newest.put(2, "k", "newer")
	newest.put(2, "k", "newest")
	var list []Survivor
	for _, m := range []*member{long, newer, newest} {
		s, err := Survey(t.Context(), m.dir)
		if err != nil || s.Fault != nil {
			t.Fatal(err, s.Fault)
		}
		list = append(list, s)
	}
	if list[1].Compare(&list[0]) <= 0 || list[2].Compare(&list[1]) <= 0 {
		t.Errorf("ranked %+v", list)
	}
	if list[2].Term != 2 || list[2].Last != 4 {
		t.Errorf("the best one ends with %d@%d, want 4@2", list[2].Last, list[2].Term)
	}
}

// Counterexample: the new cluster begins at index 1. Fencing tokens fall below
// those already given out, and conditions on versions succeed wrongly.
func TestIndexesNeverGoBackAfterARecovery(t *testing.T) {
	m := newMember(t, oldCluster, "a2")
	old := m.put(3, "k", "v1")
	last := m.put(3, "uncommitted", "may have been acknowledged")
	m.log.Close()
	r, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Last != last || r.Begin != last+Gap || r.Term <= 3 || r.Old != oldCluster || r.New == oldCluster || r.Sessions != 1 {
		t.Errorf("got %+v", r)
	}
	machine, rec := state(t, m.dir)
	if rec.LogTerms.FirstIndex() != r.Begin+1 || rec.State.Term != r.Term || rec.State.Commit != r.Begin {
		t.Errorf("the new log begins at %d, in term %d, committed to %d", rec.LogTerms.FirstIndex(), rec.State.Term, rec.State.Commit)
	}
	item, found := get(t, machine, "k")
	if !found || string(item.Value) != "v1" || item.Version != old {
		t.Errorf("got %q version %d, want v1 at %d", item.Value, item.Version, old)
	}
	if _, found := get(t, machine, "uncommitted"); !found {
		t.Error("lost an entry that may have been acknowledged")
	}
	if n := machine.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions go on", n)
	}
	conf, _ := rec.Configurations.Latest()
	if v := conf.Configuration.Voters(); len(v) != 1 || v[0] != r.Member || conf.Configuration.Target != 3 || conf.Configuration.Members[0].Address != "h:2" {
		t.Errorf("configuration %+v", conf)
	}
	// No entry of the old log fits the new one.
	if rec.LastSum == m.sum {
		t.Error("the new log goes on from the old log's sum")
	}
	id, err := wal.ReadIdentity(vfs.OS(), m.dir)
	if err != nil || id.Cluster != r.New || id.Member == m.id.Member || id.Name != "a2" {
		t.Errorf("identity %+v, %v", id, err)
	}
	if id, err := wal.ReadIdentity(vfs.OS(), r.Aside); err != nil || id.Cluster != oldCluster {
		t.Errorf("the old directory holds %+v, %v", id, err)
	}
}

func TestRefusedEntryHasNoEffect(t *testing.T) {
	m := newMember(t, oldCluster, "a2")
	m.put(3, "before", "1")
	bad := m.append(3, protocol.EntryCommand, []byte("what no program can decode"))
	m.put(3, "after", "2")
	m.log.Close()
	_, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)})
	if err == nil {
		t.Fatal("went past an entry that cannot be applied")
	}
	if _, err := os.Stat(m.dir + ".recovered"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left the attempt behind: %v", err)
	}
	if _, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t), Refuse: []protocol.Index{bad}}); err != nil {
		t.Fatal(err)
	}
	machine, _ := state(t, m.dir)
	for _, key := range []string{"before", "after"} {
		if _, found := get(t, machine, key); !found {
			t.Errorf("%q is lost", key)
		}
	}
}

func TestRecoverRefuses(t *testing.T) {
	running := newMember(t, oldCluster, "a1")
	empty := filepath.Join(t.TempDir(), "e1")
	if err := wal.Init(vfs.OS(), empty, wal.Identity{Cluster: oldCluster, Member: protocol.MemberID{9}, Name: "e1"}, nil, wal.Options{}); err != nil {
		t.Fatal(err)
	}
	ended := newMember(t, oldCluster, "a3")
	ended.log.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		dir  string
		want error
	}{
		"a member that runs": {t.Context(), running.dir, protocol.ErrDirectory},
		"an empty log":       {t.Context(), empty, protocol.ErrNotFound},
		"no directory":       {t.Context(), filepath.Join(t.TempDir(), "none"), protocol.ErrNotFound},
		"an interrupt":       {canceled, ended.dir, context.Canceled},
	} {
		if _, err := Recover(c.ctx, Options{Dir: c.dir, Registry: registry(t)}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if id, err := wal.ReadIdentity(vfs.OS(), c.dir); err == nil && id.Cluster != oldCluster {
			t.Errorf("%s: the directory belongs to cluster %s now", name, id.Cluster)
		}
	}
}

// Whatever term somebody has named to the survivor, the new cluster begins just
// above the last entry's: above the highest term there is none.
func TestRecoverBeginsAboveTheTermOfTheLastEntry(t *testing.T) {
	m := newMember(t, protocol.ClusterID{1}, "a1")
	last := m.put(3, "k", "v")
	w := protocol.Write{State: protocol.HardState{Term: 1<<64 - 1, Commit: last}, First: m.next, Last: m.next - 1}
	if err := errors.Join(m.log.Write(w, nil), m.log.Sync(), m.log.Settle(), m.log.Close()); err != nil {
		t.Fatal(err)
	}
	result, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)})
	if err != nil {
		t.Fatal(err)
	}
	if result.Term != 4 || result.Last != last {
		t.Errorf("got term %d after entry %d, want 4 after %d", result.Term, result.Last, last)
	}
	if _, rec := state(t, m.dir); rec.State.Term != 4 {
		t.Errorf("the new directory is in term %d, want 4", rec.State.Term)
	}
}

// [S] Counterexample: the best survivor's state had diverged, and it was stopped before it had another one.
// What is begun from its newest checkpoint is wrong at all members; its log is as good as any.
func TestRecoverBeginsFromNoStateInQuarantine(t *testing.T) {
	a := newMember(t, protocol.ClusterID{1}, "a1")
	a.put(1, "key", "right")
	at := a.append(1, protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{}))
	bad := machine.New(machine.Config{Registry: registry(t)})
	entries, err := a.log.Read(1, at, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	bad.Apply(append(entries[:2:2], protocol.Entry{Index: 3, Term: 1, Kind: protocol.EntryNoop}, entries[3]), nil) // the write has no effect
	store, err := checkpoint.Open(vfs.OS(), filepath.Join(a.dir, checkpoint.Folder), badgerengine.New(badgerengine.Options{}), checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := protocol.DecodeConfiguration(entries[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = snapshotter.Take(context.Background(), store, bad.Snapshot(), storage.Manifest{Index: at, Term: 1, LogSum: entries[3].Sum, Configuration: protocol.ConfigurationAt{Index: 1, Configuration: conf}})
	if err = errors.Join(err, store.Close(), a.log.Close(), wal.WriteQuarantine(vfs.OS(), a.dir, storage.Quarantine{At: at, Until: at})); err != nil {
		t.Fatal(err)
	}
	if s, err := Survey(context.Background(), a.dir); err != nil || s.Checkpoint != 0 || s.Quarantine.At != at || s.Last != at {
		t.Errorf("survey: %+v, %v, want a log to %d and no checkpoint", s, err, at)
	}
	if _, err := Recover(context.Background(), Options{Dir: a.dir, Registry: registry(t)}); err != nil {
		t.Fatal(err)
	}
	m, _ := state(t, a.dir)
	if item, found := get(t, m, "key"); !found || !bytes.Contains(item.Value, []byte("right")) {
		t.Errorf("the new cluster begins with %q, found: %t", item.Value, found)
	}
	if q, err := wal.ReadQuarantine(vfs.OS(), a.dir); err != nil || q.At != 0 {
		t.Errorf("the new cluster begins in quarantine: %+v, %v", q, err)
	}
}

package repair_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

const dir = "/d"

type seeded struct{ r *rand.Rand }

func (s seeded) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.r.Uint32())
	}
	return len(p), nil
}

func memberID(n byte) protocol.MemberID { return protocol.MemberID{n} }

// names of the three members are in the first entry.
func configurationEntry() []byte {
	c := protocol.Configuration{Target: 3}
	for n := range byte(3) {
		c.Members = append(c.Members, protocol.ActiveMember{ID: memberID(n + 1), Name: fmt.Sprintf("m%d", n+1), Address: "a:1", Suffrage: protocol.SuffrageVoter})
	}
	return protocol.EncodeConfiguration(c)
}

// run makes entries after a log that ends at last, with payloads drawn from a
// seed.
func run(before []protocol.Entry, n int, term protocol.Term, seed uint64, bytesMax int) []protocol.Entry {
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]protocol.Entry, n)
	for i := range out {
		out[i] = protocol.Entry{Index: protocol.Index(len(before) + i + 1), Term: term, Kind: protocol.EntryCommand, Data: make([]byte, r.IntN(bytesMax+1))}
		for k := range out[i].Data {
			out[i].Data[k] = byte(r.Uint32())
		}
		if out[i].Index == 1 {
			out[i].Kind, out[i].Data = protocol.EntryConfiguration, configurationEntry()
		}
	}
	protocol.EncodeEntries(out)
	var sum protocol.LogSum
	if n := len(before); n > 0 {
		sum = before[n-1].Sum
	}
	protocol.SumEntries(sum, out)
	return append(before[:len(before):len(before)], out...)
}

// member is one with a log on a disk that can be damaged.
type member struct {
	t       *testing.T
	id      protocol.MemberID
	disk    *vfs.Memory
	options wal.Options
	state   protocol.HardState
	log     *wal.Log
	// active is what it says of itself while its log is sound.
	active bool
	core   *repair.Core
	own    []storage.Begin
}

func newMember(t *testing.T, n byte, entries []protocol.Entry, commit protocol.Index, batch int) *member {
	t.Helper()
	m := &member{t: t, id: memberID(n), disk: vfs.NewMemory(uint64(n)), active: true,
		options: wal.Options{SegmentBytes: 16 << 10, Random: seeded{rand.New(rand.NewPCG(uint64(n), 3))}}}
	m.must(wal.Init(m.disk, dir, wal.Identity{Cluster: protocol.ClusterID{1}, Member: m.id, Name: "m"}, nil, m.options))
	m.open()
	for i := 0; i < len(entries); i += batch {
		part := entries[i:min(len(entries), i+batch)]
		m.write(part, min(commit, part[0].Index-1))
	}
	m.state = protocol.HardState{Term: m.state.Term + 1, Vote: memberID(9), Commit: commit}
	m.must(m.log.Write(protocol.Write{State: m.state, First: 1}, nil))
	m.must(m.log.Sync())
	m.must(m.log.Settle())
	return m
}

func (m *member) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) write(part []protocol.Entry, commit protocol.Index) {
	m.t.Helper()
	last := part[len(part)-1]
	m.state.Term, m.state.Commit = max(m.state.Term, last.Term), max(m.state.Commit, commit)
	m.must(m.log.Write(protocol.Write{State: m.state, First: part[0].Index, Last: last.Index}, part))
	m.must(m.log.Sync())
}

// last returns where the log on the disk ends.
func (m *member) last() protocol.Index {
	m.t.Helper()
	p, err := wal.Inspect(m.disk, dir, nil)
	m.must(err)
	return p.Last
}

func (m *member) open() {
	m.t.Helper()
	var err error
	m.log, err = wal.Open(m.disk, dir, m.options)
	m.must(err)
}

// begins lets the log begin after b, and hold nothing.
func (m *member) begins(b storage.Begin) {
	m.t.Helper()
	m.state.Commit = max(m.state.Commit, b.Index)
	m.must(m.log.Reset(b, m.state))
}

// records lists what is on the disk.
func (m *member) records() []wal.Record {
	m.t.Helper()
	var all []wal.Record
	_, err := wal.Inspect(m.disk, dir, func(r wal.Record) { all = append(all, r) })
	m.must(err)
	return all
}

func (m *member) segments() []string {
	names, err := m.disk.ReadDir(filepath.Join(dir, "log"))
	m.must(err)
	var out []string
	for _, n := range names {
		if filepath.Ext(n) == ".wal" {
			out = append(out, filepath.Join(dir, "log", n))
		}
	}
	return out
}

func (m *member) flip(segment string, at int64) {
	m.t.Helper()
	m.must(m.disk.FlipBit(filepath.Join(dir, "log", filepath.Base(segment)), at*8+2))
}

// damage flips a bit in the payload of the record that holds an entry.
func (m *member) damage(i protocol.Index) {
	m.t.Helper()
	m.log.Close()
	for _, r := range m.records() {
		if r.First <= i && i <= r.Last {
			m.flip(r.Segment, r.Offset+104+int64(r.Bytes)/2)
			m.open()
			if m.log.Opened().Damage == nil {
				m.t.Fatalf("entry %d: no damage", i)
			}
			return
		}
	}
	m.t.Fatalf("entry %d is not on the disk", i)
}

// answer is what a member says to a RepairWant; nil if nothing.
func (m *member) answer(now protocol.Instant, from protocol.MemberID, want *protocol.RepairWant) *protocol.Repair {
	if m.core != nil {
		m.core.Receive(now, from, want)
		return nil // it is among its core's messages
	}
	rec := m.log.Opened()
	s := &rec.LogTerms
	return repair.Answer(m.log, repair.Held{Begin: s.PrevIndex, Sum: s.PrevSum, Last: s.LastIndex(), Commit: rec.State.Commit, Active: m.active}, want)
}

// reopen gives Recovered the newest writes.
func (m *member) reopen() *member {
	m.log.Close()
	m.open()
	return m
}

// network runs the cores of the damaged members until all have a verdict, or
// virtual time is up.
type network struct {
	t       *testing.T
	now     protocol.Instant
	members []*member
	// alter, if not nil, changes or drops (nil) a message on its way.
	alter func(protocol.Envelope) protocol.Message
	// wanted is the highest checkpoint that was asked for.
	wanted protocol.Index
	sent   int
}

func (n *network) peers() []protocol.Peer {
	var out []protocol.Peer
	for _, m := range n.members {
		out = append(out, protocol.Peer{ID: m.id})
	}
	return out
}

func (n *network) find(id protocol.MemberID) *member {
	for _, m := range n.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// start gives each damaged member a core.
func (n *network) start() {
	for _, m := range n.members {
		rec := m.log.Opened()
		if repair.Needed(m.id, &rec) {
			m.core = repair.New(n.now, repair.Config{ID: m.id, Seed: uint64(m.id[0])}, &rec, m.log, m.own)
			m.core.SetPeers(n.now, n.peers())
		}
	}
}

// run delivers messages and lets time pass until everybody is done, at most for
// so many virtual nanoseconds; it reports whether they are.
func (n *network) run(limit protocol.Instant) bool {
	n.t.Helper()
	end := n.now + limit
	for n.now < end {
		busy, waiting := false, false
		next := end
		for _, m := range n.members {
			if m.core == nil {
				continue
			}
			for _, e := range m.core.Ready().Messages {
				busy = true
				n.sent++
				n.deliver(e)
			}
			v := m.core.Verdict()
			n.wanted = max(n.wanted, v.Checkpoint)
			if v.Plan == nil && v.Lost == nil {
				waiting = true
				next = min(next, m.core.Deadline())
			}
		}
		if busy {
			continue
		}
		if !waiting {
			return true
		}
		if next <= n.now {
			n.t.Fatalf("the deadline %d is not after %d", next, n.now)
		}
		n.now = next
		for _, m := range n.members {
			if m.core != nil {
				m.core.Tick(n.now)
			}
		}
	}
	return false
}

func (n *network) deliver(e protocol.Envelope) {
	if n.alter != nil {
		if e.Message = n.alter(e); e.Message == nil {
			return
		}
	}
	to := n.find(e.To)
	if want, ok := e.Message.(*protocol.RepairWant); ok {
		if a := to.answer(n.now, e.From, want); a != nil {
			n.deliver(protocol.Envelope{From: e.To, To: e.From, Message: a})
		}
		return
	}
	if to.core != nil {
		to.core.Receive(n.now, e.From, e.Message)
	}
}

// repair carries the plan out and opens the log again.
func (m *member) repair() {
	m.t.Helper()
	v := m.core.Verdict()
	if v.Plan == nil {
		m.t.Fatalf("no plan: %+v", v)
	}
	was := m.log.Opened()
	m.log.Close()
	if err := wal.Repair(context.Background(), m.disk, dir, m.options, *v.Plan); err != nil {
		m.t.Fatalf("repair: %v; damage %+v; plan begins %v, ends at %d", err, was.Damage, v.Plan.Begin, v.Plan.Last)
	}
	m.open()
	m.core = nil
	rec := m.log.Opened()
	if repair.Needed(m.id, &rec) {
		m.t.Fatalf("repaired, and still in need of it: %v", rec.Damage)
	}
	if rec.Sequence <= was.Sequence {
		m.t.Fatalf("the sequence number went back from %d to %d", was.Sequence, rec.Sequence)
	}
	if rec.State.Term == was.State.Term && rec.State.Vote != was.State.Vote || rec.State.Term < was.State.Term || rec.State.Commit < was.State.Commit {
		m.t.Fatalf("hard state: got %+v, was %+v", rec.State, was.State)
	}
}

// holds checks that the log is these entries, from its begin on.
func (m *member) holds(want []protocol.Entry) {
	m.t.Helper()
	rec := m.log.Opened()
	s := &rec.LogTerms
	if s.LastIndex() != protocol.Index(len(want)) {
		m.t.Fatalf("the log ends at %d, want %d", s.LastIndex(), len(want))
	}
	for i := s.FirstIndex(); i <= s.LastIndex(); {
		got, err := m.log.Read(i, s.LastIndex(), 1<<20)
		m.must(err)
		for k := range got {
			if e := &want[got[k].Index-1]; got[k].Index != i || !bytes.Equal(got[k].Raw, e.Raw) || got[k].Sum != e.Sum {
				m.t.Fatalf("entry %d: got %s sum %s, want %s sum %s", i, got[k], got[k].Sum, *e, e.Sum)
			}
			i++
		}
	}
}

func beginAt(entries []protocol.Entry, i protocol.Index) storage.Begin {
	c, err := protocol.DecodeConfiguration(entries[0].Data)
	if err != nil {
		panic(err)
	}
	e := &entries[i-1]
	return storage.Begin{Index: i, Term: e.Term, Sum: e.Sum, Configuration: protocol.ConfigurationAt{Index: 1, Configuration: c}}
}

const second = protocol.Instant(1e9)

// healAll brings all damaged members back.
func (n *network) healAll() {
	n.t.Helper()
	n.start()
	if !n.run(60 * second) {
		n.t.Fatalf("no verdict after 60 s")
	}
	for _, m := range n.members {
		if m.core != nil {
			m.repair()
		}
	}
}

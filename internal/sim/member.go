package sim

import (
	"encoding/binary"
	"errors"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// member is one member: a process on a host, and the parts that make it.
type member struct {
	witnessed
	applying
	ailing
	greeter greeter
	serving serving
	s       *directories
	// copies says that this is a copy of another member's directory, copied that
	// there is, or was, a copy of this one.
	copies, copied *copying

	// What follows belongs to one run of the process.
	repairing *repairing // instead of the replica
	hands     *hands
}

// newMember returns a member that has never run.
func newMember(s *directories, number int, h host) *member {
	m := &member{witnessed: witnessed{process: process{host: h}}, s: s}
	m.process.s, m.number = &s.checkers, number
	m.applying.witnessed, m.serving.applying = &m.witnessed, &m.applying
	m.ailing.witnessed, m.greeter.witnessed, m.greeter.network = &m.witnessed, &m.witnessed, s.network
	m.dies = func(power bool, why string) { s.crash(m, power, why) }
	m.ends = func() {
		m.stop()
		m.disk.crash(false)
	}
	m.restart = func() { s.restart(m) }
	m.refused = func(by string) { s.turnedAway(m, by) }
	m.send = func(to *member, msg protocol.Message, datagram bool) { s.network.send(m, to, msg, datagram) }
	return m
}

// boot starts the process: it opens the log, which may be what a crash left,
// and a state machine without anything in it.
func (m *member) boot() error {
	m.run++
	if !m.mayStart() {
		return nil
	}
	if m.power && m.disk.torn() > 0 {
		m.s.counts.add(countTornTails, 1)
	}
	steps := -1
	if m.s.opensBadly(m) {
		steps = m.s.random.faults.IntN(40)
	}
	m.applied = 0
	repaired := m.s.counts[countRepaired]
	rec, restored, err := m.open(steps)
	if m.disk.stopped() {
		m.s.crashOpening(m)
		return nil
	}
	var broken *Violation
	if errors.As(err, &broken) {
		return err
	}
	if m.refuses(err) {
		return nil
	}
	if m.damaged && !m.opensDamaged(&rec, repaired, err) {
		if m.repairing == nil {
			m.ends()
		}
		return nil
	}
	if err != nil {
		return violated(RuleDurable, "%s cannot open what it has on disk: %v", m.name, err)
	}
	m.hurt = m.hurt || m.unreadable
	m.greeter.begins()
	m.s.trace.note(tagBoot, m.number, uint64(rec.LogTerms.LastIndex()), uint64(rec.State.Term))
	m.log.sheds, m.rot = nil, rotNone
	m.replica, err = replica.New(m.now(), m.config(), rec, restored)
	if err != nil {
		return violated(RuleDurable, "%s cannot start: %v", m.name, err)
	}
	drive(m)
	resumes(m)
	m.tell(colorPlain, "starts: t%d, log %d to %d, commit %d", rec.State.Term, rec.LogTerms.FirstIndex(), rec.LogTerms.LastIndex(), rec.State.Commit)
	m.later(watermarkEvery, m.greeter.stand)
	m.later(changefile.LookEvery, m.looksAtChanges)
	m.greeter.mustBeTold()
	m.serve()
	return nil
}

// open opens log and checkpoints and joins them to a state machine. With a limit
// on the steps the machine may stop in the middle of it.
func (m *member) open(steps int) (storage.Opened, replica.OpenedState, error) {
	m.disk.stopIn(steps)
	defer m.disk.goesOn()
	log, err := wal.Open(m.disk.fs, directory, m.disk.options)
	if err != nil {
		return storage.Opened{}, replica.OpenedState{}, err
	}
	rec := log.Opened()
	if m.damaged && repair.Needed(m.id, &rec) {
		m.wal = log
		return rec, replica.OpenedState{}, nil
	}
	if err := m.openStore(); err != nil {
		return rec, replica.OpenedState{}, err
	}
	if err := m.onOpened(&rec, log); err != nil {
		return rec, replica.OpenedState{}, err
	}
	m.wal = log
	return m.startFrom()
}

func (m *member) config() replica.Config {
	return replica.Config{
		ID: m.id, Run: m.runID, Address: m.address, Reserve: m.reserve, Level: m.format, Policy: true,
		Seed: mix(m.s.seed ^ mix(uint64(m.number)<<32|m.starts)),
		Active: active.Config{
			Election: m.s.plan.election, Heartbeat: m.s.plan.heartbeat,
			AppendBytesMax: m.s.plan.appendBytes, InflightMax: m.s.plan.inflight,
			Secret: secretOf(m.runID),
		},
		Gossip:          gossip.Config{Have: m.s.plan.have},
		CheckpointBytes: m.s.plan.checkpoint, CheckpointEvery: -1, RetainEntries: m.s.plan.retain, RetainBytes: m.s.plan.retainBytes,
		BehindBytes: m.s.plan.behind, TailBytes: m.s.plan.tail, Frees: m.s.registry.Frees,
	}
}

// secretOf is nothing to guess for liars, who know no runs but those that they are told.
func secretOf(run protocol.RunID) (s active.Secret) {
	binary.BigEndian.PutUint64(s[:], uint64(run))
	return s
}

// onOpened checks what the opening found against what was written.
func (m *member) onOpened(rec *storage.Opened, log *wal.Log) error {
	if rec.Damage != nil {
		return violated(RuleDurable, "%s finds its log damaged: %v", m.name, rec.Damage)
	}
	if m.patched {
		m.log.half = 0
		var err error
		m.disk.unseen(func() { err = m.repaired(rec, log) })
		return err
	}
	if m.starts == 0 {
		return m.log.installState(m.s.ledger, m.number, rec)
	}
	if p := &rec.LogTerms; m.unsure && p.PrevIndex > 0 && m.log.written.sumAt(p.PrevIndex) != p.PrevSum {
		if err := m.log.reset(m.s.ledger, &storage.Begin{Index: p.PrevIndex, Term: p.PrevTerm, Sum: p.PrevSum}, rec.State); err != nil {
			return err
		}
	}
	pending, last := len(m.log.pending), m.log.written.last()
	defer func() { m.log.half = 0 }()
	if m.rolledBack != nil {
		pending = 0 // all of the copy is there
	}
	if err := m.log.onOpened(m.s.ledger, m.power, m.log.half, rec.State, rec.LogTerms.LastIndex(), rec.LastSum); err != nil {
		return err
	}
	if pending > 0 && m.log.written.last() < last {
		m.s.counts.add(countUnsyncedLost, 1)
	}
	return nil
}

// stop ends the process at once, whatever it was doing.
func (m *member) stop() {
	m.clock.goOn(m.s.schedule.now)
	if m.up() {
		m.knew, m.knewFrom = m.inForce(), m.replica.LogTerms().PrevIndex
	}
	m.run++
	m.life, m.hands, m.repairing = life{}, nil, nil
	m.applying.stop()
	m.serving = serving{applying: &m.applying}
	m.s.network.Forget(m.number, len(m.s.members))
}

package sim

import (
	"bytes"
	"fmt"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// States diverge: a bit flips in a member's memory, or it applies an entry
// wrongly, as a type would that depends on where it runs. From then on, and only
// then, the member is exempt from the rule of equal digests, and what it answers
// is not heard: a wrong answer that nobody knows to be wrong is covered by no
// promise. What is promised is that it finds out at the checkpoint entries, from a majority of
// the actives, serves nobody before it has been healed, and ends equal to all.

// checkpointEntriesMax is how many checkpoint entries a state may pass diverged and unnoticed: for as many a
// member knows its digests.
const checkpointEntriesMax = 16

// divergedState is what is known of a state that is not what its entries led to.
type divergedState struct {
	entries int // applied since
	found   bool
	// Of the last entry applied: the digest that is kept, and whether that is of
	// what is there. If others come to the same, it was overwritten.
	index  protocol.Index
	digest machine.Digest
	whole  bool
}

// mishaps lets states diverge while there are faults.
func (s *nemesis) mishaps() {
	if s.quiet {
		return
	}
	r := s.random.states
	for _, m := range s.machines() {
		m.misapplies = false // it has had no entry for it since
	}
	m := s.members[r.IntN(len(s.machines()))]
	if l := s.lastLeader; chance(r, 0.4) && l != nil && l.up() {
		m = l
	}
	if flip := chance(r, 0.5); s.mayStray(m) {
		if flip {
			m.flipState()
		} else {
			m.misapplies = true
		}
	}
	s.schedule.after(around(r, s.plan.diverge), s.mishaps)
}

// mayStray reports whether the cluster must survive that a member's state goes
// diverged: one at a time, and a majority stays right.
func (s *nemesis) mayStray(m *member) bool {
	for _, other := range s.members {
		if other.suspended() || other.misapplies {
			return false
		}
	}
	return s.faultFreeFor == 0 && s.copying == nil && m.up() && m.rolledBack == nil && !m.quarantined() && s.tolerates(m)
}

// doubtEntries is how many checkpoint entries a state that has come right must pass until it
// counts as right: at the checkpoint entries before, its digests may be wrong, and it may have
// to give its state up for one of them, with the help of a majority.
const doubtEntries = 3

// suspended reports whether the member's state counts as lost: it is wrong, or was a
// few checkpoint entries ago, or is being fetched.
func (x *applying) suspended() bool { return x.divergedState != nil || x.shut || x.suspendServing > 0 }

// passes says that the member has applied a checkpoint entry.
func (x *applying) passes() {
	if x.divergedState == nil && x.suspendServing > 0 {
		x.suspendServing--
	}
}

// flipState flips one bit of a value in the member's memory, of the key that was
// set longest ago: others would soon be set again.
func (x *applying) flipState() {
	r := x.s.random.states
	view, err := x.machine.View(mapName, kvmap.Type.Name())
	if err != nil {
		return // there is no map so far
	}
	defer view.Close()
	at, bit := r.Uint32(), r.IntN(8)
	var oldest resources.Item
	for k := range mapKeys {
		item, found, err := view.Lookup([]byte(objectName(k)))
		if err == nil && found && len(item.Value) > 0 && (oldest.Version == 0 || item.Version < oldest.Version) {
			oldest = item
		}
	}
	if oldest.Version != 0 {
		oldest.Value[int(at)%len(oldest.Value)] ^= 1 << bit
		x.s.counts.add(countStatesFlipped, 1)
		x.strays("a bit of its state flips")
	}
}

// misapplied returns one entry as a member applies it that does so wrongly.
func (x *applying) misapplied(one []protocol.Entry) []protocol.Entry {
	e := &one[0]
	if e.Kind != protocol.EntryCommand {
		return one
	}
	c, err := protocol.DecodeCommand(e.Data)
	if err != nil || c.Type != kvmap.Type.Name() || c.Operation != "put" {
		return one
	}
	at := bytes.IndexByte(c.Argument, 'v') // of the value, see drawOp
	if at < 0 || at+1 >= len(c.Argument) {
		return one
	}
	x.misapplies = false
	c.Argument = bytes.Clone(c.Argument)
	c.Argument[at+1] ^= 1
	wrong := *e
	wrong.Data = protocol.EncodeCommand(&c)
	x.s.counts.add(countMisapplied, 1)
	x.strays(fmt.Sprintf("applies %d wrongly", e.Index))
	return []protocol.Entry{wrong}
}

// strays says that the member's state is wrong from now on.
func (x *applying) strays(why string) {
	s := x.s
	x.goesWrong()
	switch st := x.replica.Status(x.now()); {
	case st.Leads:
		s.counts.add(countLeadersDiverged, 1)
	case st.Role == protocol.RolePassive:
		s.counts.add(countPassivesDiverged, 1)
	}
	s.trace.note(tagFault, x.number, 300, uint64(x.applied))
	x.tell(colorFault, "%% %s", why)
}

// goesWrong says that the member's state is a wrong one from now on.
func (x *applying) goesWrong() {
	x.divergedState, x.strayed, x.suspendServing = &divergedState{}, true, doubtEntries
	x.doubts++
}

// wanders follows a member that applies entries to a wrong state. It reports
// whether that has come right: all that was wrong has been overwritten.
func (x *applying) wanders(e *protocol.Entry, digest machine.Digest) (right bool) {
	d, st := x.divergedState, x.s.state
	if d.whole && d.index != 0 && d.index <= st.lastApplied() && st.applies[d.index-1].digest == d.digest {
		x.comesRight("what was wrong is overwritten")
		return true
	}
	counted, kept := x.machine.Verify()
	d.index, d.digest, d.whole = e.Index, digest, counted == kept
	st.wrong[wrongAt{e.Index, digest}] = true
	if e.Kind == protocol.EntryCheckpoint && !d.found {
		d.entries++
		if d.entries > checkpointEntriesMax {
			x.s.fail(violated(RuleQuarantine, "the state of %s has been wrong for %d checkpoint entries, and it does not know", x.name, d.entries))
		}
	}
	return false
}

// comesRight says that the member's state is what its entries led to again.
func (x *applying) comesRight(why string) {
	if x.divergedState == nil {
		return
	}
	if !x.divergedState.found {
		x.s.counts.add(countDivergedUnseen, 1)
	}
	x.divergedState, x.rightFrom = nil, x.applied
	x.doubts++
	x.tell(colorSuffrage, "# its state is right: %s", why)
}

// wrongAt is a digest that a wrong state had at an index.
type wrongAt struct {
	index  protocol.Index
	digest machine.Digest
}

// takesOver checks a state that the member has not applied in this run: that of a checkpoint of
// others, or its own, which may be a wrong one that it does not know to be. It gives such a one to nobody.
func (x *applying) takesOver(i protocol.Index, own bool) error {
	s := x.s
	if s.forked {
		return nil
	}
	index, digest := x.machine.Digest()
	if s.state.wrong[wrongAt{i, digest}] && index == i && (i > s.state.lastApplied() || s.state.applies[i-1].digest != digest) {
		if !own {
			return violated(RuleQuarantine, "%s has got a wrong state from others, at %d", x.name, i)
		}
		s.counts.add(countTakenOver, 1)
		x.goesWrong()
		x.tell(colorFault, "%% begins from a wrong state of its own")
		s.mostAreRight()
		return nil
	}
	err := s.state.onInstalled(x.name, x.machine, i)
	if err == nil {
		x.comesRight("it is another member's")
	}
	return err
}

// mostAreRight ends the run if so many actives are wrong, each in its own way, that
// the others are no majority: no promise covers that. Wrong states do not spread; one whose member was
// down while another one went wrong comes back.
func (s *cluster) mostAreRight() {
	for _, m := range s.machines() {
		list := m.knew
		if m.up() {
			list = m.inForce()
		}
		for _, c := range list {
			if !s.bears(c.Configuration, nil) {
				s.counts.add(countBeyond, 1)
				s.trace.say("too many states are wrong at once: no promise covers this")
				s.over = true
				return
			}
		}
	}
}

// quarantine follows what the member finds out about its state: only one that is
// wrong is given up, and what comes of it is right and as far as it was.
func (x *applying) quarantine() {
	switch now := x.quarantined(); {
	case now && !x.shut:
		x.shut, x.until = true, x.applied
		x.s.counts.add(countQuarantined, 1)
		if !x.strayed && !x.disk.quarantine { // it may have come right since, and be wrong at the checkpoint entry in question
			x.s.fail(violated(RuleQuarantine, "%s gives its state up, which was never wrong", x.name))
		}
		if x.divergedState != nil {
			x.divergedState.found = true
		}
	case !now && x.shut:
		x.shut, x.strayed, x.suspendServing = false, x.divergedState != nil, 0
		x.s.counts.add(countHealed, 1)
		x.s.fail(healed(x.name, x.divergedState != nil, x.applied, x.until))
	}
}

// resumes checks that a run goes on with the quarantine that is noted on its disk.
func resumes(m *member) {
	if !m.shut || m.s.forked {
		return
	}
	m.s.counts.add(countQuarantineResumed, 1)
	if m.quarantine(); m.divergedState != nil {
		m.divergedState.found = true
	}
}

// healed checks the end of a quarantine.
func healed(name string, wrong bool, applied, until protocol.Index) error {
	switch {
	case wrong:
		return violated(RuleQuarantine, "%s ends its quarantine, and its state is wrong", name)
	case applied < until:
		return violated(RuleQuarantine, "%s ends its quarantine at %d, it had applied %d", name, applied, until)
	}
	return nil
}

// isWrong reports whether the member's state is wrong and it does not know: its answers are
// covered by no promise, and lost on their way.
func (x *applying) isWrong() bool { return x.divergedState != nil && !x.quarantined() }

// nudge writes a little while a state is wrong and nobody has noticed: what is
// found at checkpoint entries is found when there are some.
func (s *load) nudge() {
	if s.plan.diverge == 0 {
		return
	}
	for _, m := range s.machines() {
		if first := s.members[0]; m.divergedState == nil && (m.applied != first.applied || m.digest == first.digest) {
			continue
		}
		for _, c := range s.clients {
			switch {
			case len(c.flying) > 0:
			case c.session == 0:
				c.open()
			default:
				s.values++
				c.execute(&op{kind: opPut, object: s.values % mapKeys, value: fmt.Sprintf("v%d", s.values)}, func() {})
			}
		}
		return
	}
}

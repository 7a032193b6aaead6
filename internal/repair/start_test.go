package repair_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// starter is a member whose log is repaired before it starts, among two actives whose
// logs begin above the damage.
type starter struct {
	t       *testing.T
	m       *member
	s       *repair.Start
	now     protocol.Instant
	d       storage.Manifest
	sent    []protocol.Envelope
	steps   []install.Step
	plan    *storage.RepairPlan
	told    []string
	fails   func(step *install.Step) error // of the store; nil: never
	missing []int
}

func newStarter(t *testing.T) (*starter, []protocol.Entry) {
	t.Helper()
	entries := run(nil, 60, 2, 1, 500)
	m := newMember(t, 1, entries, 50, 3)
	m.damage(32) // 31 to 33
	b := beginAt(entries, 45)
	x := &starter{t: t, m: m, missing: []int{0, 1, 2}, d: storage.Manifest{
		Index: b.Index, Term: b.Term, LogSum: b.Sum, Configuration: b.Configuration, Items: 3, Bytes: 300, Chunks: make([]storage.ChunkSum, 3),
	}}
	rec := m.log.Opened()
	x.s = repair.NewStart(0, repair.Config{ID: m.id, Seed: 3, Run: 1}, &rec, m.log, nil)
	return x, entries
}

// peers are the two others.
func (x *starter) peers() {
	x.s.SetPeers(x.now, []protocol.Peer{{ID: memberID(2), Role: protocol.RoleActive}, {ID: memberID(3), Role: protocol.RoleActive}})
}

// serve carries out all effects: the others answer, and so does the store.
func (x *starter) serve() {
	for {
		e := x.s.Effects()
		for _, v := range e.Events {
			x.told = append(x.told, v.Text)
		}
		if e.Write != nil {
			x.plan = e.Write
		}
		for i := range e.Install {
			step := &e.Install[i]
			x.steps = append(x.steps, *step)
			var err error
			if x.fails != nil {
				err = x.fails(step)
			}
			x.s.Installed(x.now, step, x.missing, err)
		}
		list := append(e.Send, e.Datagrams...)
		for _, m := range list {
			x.sent = append(x.sent, m)
			x.answer(m)
		}
		if len(list)+len(e.Install) == 0 {
			return
		}
	}
}

func (x *starter) answer(e protocol.Envelope) {
	say := func(m protocol.Message) { x.s.Receive(x.now, e.To, m) }
	switch m := e.Message.(type) {
	case *protocol.RepairWant:
		say(&protocol.Repair{Active: true, First: 41, Commit: 60})
	case *protocol.ManifestWant:
		say(&protocol.Manifest{Manifest: storage.EncodeManifest(x.d)})
	case *protocol.ChunkWant:
		for _, n := range m.Numbers {
			say(&protocol.Chunk{Index: m.Index, Sum: m.Sum, Number: n, Data: []byte{1}})
		}
	}
}

// run lets time pass until there is a plan.
func (x *starter) run(limit protocol.Instant) bool {
	for x.serve(); x.plan == nil && x.s.Lost() == nil && x.now < limit; x.serve() {
		for n := range byte(2) {
			x.s.Receive(x.now, memberID(n+2), &protocol.Have{First: 41, LastIndex: 60, Applied: 60, Commit: 60, Checkpoints: []protocol.Index{45}})
		}
		x.now += second / 10
		x.s.Tick(x.now)
	}
	return x.plan != nil
}

// A member whose damaged entries are in nobody's log any more fetches a checkpoint, from
// several members, whatever goes wrong with that once.
func TestStartFetchesACheckpointThatNobodyHasTheEntriesOf(t *testing.T) {
	once := func(when func(*install.Step) bool, err error) func(*install.Step) error {
		done := false
		return func(step *install.Step) error {
			if done || !when(step) {
				return nil
			}
			done = true
			return err
		}
	}
	full := protocol.ErrInvalid.With("no room")
	for name, fails := range map[string]func(*install.Step) error{
		"without trouble":               nil,
		"a chunk that does not fit":     once(func(s *install.Step) bool { return s.Chunk != nil }, protocol.ErrCorrupt),
		"a store that cannot begin":     once(func(s *install.Step) bool { return s.Begin != nil }, full),
		"a store that cannot add":       once(func(s *install.Step) bool { return s.Chunk != nil }, full),
		"a state that is not the sum's": once(func(s *install.Step) bool { return s.Finish }, protocol.ErrCorrupt),
	} {
		t.Run(name, func(t *testing.T) {
			x, entries := newStarter(t)
			x.fails = fails
			x.peers()
			if !x.run(60 * second) {
				t.Fatalf("no plan: %s; told %q", x.s, x.told)
			}
			if b := x.plan.Begin; b == nil || b.Index != 45 || b.Sum != entries[44].Sum || x.plan.Last != 60 || len(x.plan.Patches) != 0 {
				t.Errorf("the plan is %+v, want the log after the checkpoint at 45", x.plan)
			}
			last := x.steps[len(x.steps)-1]
			if !last.Finish {
				t.Errorf("the last step is %+v", last)
			}
			helpers := x.s.Helpers()
			if len(helpers) == 0 || slices.Contains(helpers, x.m.id) {
				t.Errorf("helped by %v", helpers)
			}
			if tried := strings.Contains(strings.Join(x.told, "\n"), "fetching the checkpoint at 45: "+full.Error()); tried != (fails != nil && (name == "a store that cannot begin" || name == "a store that cannot add")) {
				t.Errorf("told %q", x.told)
			}
		})
	}
}

// A checkpoint of the member's own that would do is used before another one is fetched.
func TestStartWaitsBeforeItFetchesWhatItHas(t *testing.T) {
	x, entries := newStarter(t)
	rec := x.m.log.Opened()
	x.s = repair.NewStart(0, repair.Config{ID: x.m.id, Seed: 3}, &rec, x.m.log, []storage.Begin{beginAt(entries, 40)})
	x.peers()
	if !x.run(20*second) || x.plan.Begin == nil || x.plan.Begin.Index != 40 || len(x.steps) != 0 {
		t.Errorf("the plan is %+v after %d steps of a fetch, want the own checkpoint at 40", x.plan, len(x.steps))
	}
}

// [S] A member without a role answers none of what is for one, and sends nothing of it.
func TestStartTakesNoPart(t *testing.T) {
	x, _ := newStarter(t)
	x.peers()
	x.serve()
	n := len(x.sent)
	for _, m := range []protocol.Message{
		&protocol.Vote{Term: 9}, &protocol.Append{Term: 9}, &protocol.Heartbeat{Term: 9}, &protocol.Frame{}, &protocol.Want{}, &protocol.InstallCheckpoint{Term: 9},
	} {
		if repair.Takes(m) {
			t.Errorf("a %s is taken", m.Kind())
		}
		x.s.Receive(x.now, memberID(2), m)
		x.serve()
	}
	if len(x.sent) != n {
		t.Errorf("sent %v", x.sent[n:])
	}
	x.run(30 * second)
	for _, e := range x.sent {
		switch e.Message.(type) {
		case *protocol.RepairWant, *protocol.Repair, *protocol.Have, *protocol.ManifestWant, *protocol.ChunkWant, *protocol.Busy, *protocol.Graft, *protocol.Prune:
		default:
			t.Errorf("sent a %s", e.Message.Kind())
		}
	}
}

// It says what it waits for.
func TestStartSaysWhatItWaitsFor(t *testing.T) {
	x, _ := newStarter(t)
	says := func(want string) {
		t.Helper()
		if got := x.s.String(); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	says("no other member answers")
	x.peers()
	says("asking 2 members for entries 31 to 33")
	x.fails = func(step *install.Step) error {
		if step.Begin != nil {
			says("fetching the checkpoint at 45")
		}
		return errors.New("not now")
	}
	x.run(5 * second)
	says("waiting for a checkpoint at 33 or above")
}

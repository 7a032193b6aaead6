package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

const (
	// DurationDefault is how long faults and load last, in virtual time.
	DurationDefault = 60 * time.Second
	activesDefault  = 3
	passivesDefault = 2
	// settleMax is how long a cluster may take to recover when they stop. A leader that has
	// entered where a member is keeps that for a minute, and a copy of the member's directory may have been
	// there just then.
	settleMax = 75 * time.Second
	// togetherMax is how long members may take to see each other.
	togetherMax = 45 * time.Second
	// reservesAfter is for how long somebody has to be missing before a reserve
	// is called.
	reservesAfter = 3 * time.Second
)

// Options are what a run does not draw from its seed. The zero value is the
// default.
type Options struct {
	// Duration is how long faults and load last, in virtual time; 0: 60 s.
	// What follows, until the cluster has settled, comes on top.
	Duration time.Duration
	// Actives and Passives are the numbers of members; 0: 3 and 2. Passives
	// below 0: none.
	Actives, Passives int
	// Reserves are members that hold nothing until they are asked to follow. If
	// there are any, the policy wants as many passives as there are at first,
	// and is quick to replace who is away.
	Reserves int
	// Profile is the kind of trouble; empty: drawn from the seed.
	Profile string
	// Trace receives one line for each event worth reading, with the members
	// as columns; nil: none. Messages adds an arrow for every message that
	// arrives, and what clients ask. Colors is for terminals.
	Trace    io.Writer
	Messages bool
	Colors   bool
	// Stop is asked now and then whether the run is to end early; nil: it is not. Such a run
	// has a Report that says Stopped, and proves nothing.
	Stop func() bool

	// format is the format level at which the cluster begins, and which its members know;
	// 0: the highest that this code does.
	format protocol.FormatLevel
}

// Report is what came of one run.
type Report struct {
	Seed    uint64
	Profile string
	// Violation is the first broken promise (a *Violation), or nil.
	Violation error
	// At is the virtual time at which the run ended.
	At Time
	// Steps is how many events were processed.
	Steps     uint64
	Counts    Counts
	TraceHash uint64
	// Wall is how long the run took in real time.
	Wall time.Duration
	// Stack says where a panic came from, if that is the violation.
	Stack string
	// Stopped says that Options.Stop has ended the run.
	Stopped bool
	// TraceErr is why Options.Trace did not get all lines, or nil.
	TraceErr error

	options Options
}

// Run plays one seed to its end, or to the first violation. Equal arguments
// give equal reports, but for Wall and Stopped. It is safe for concurrent use.
func Run(seed uint64, o Options) Report {
	s := newSimulation(seed, o)
	r := s.watched(hangMax)
	r.Stopped = r.Violation == nil && o.Stop != nil && o.Stop()
	return r
}

func newSimulation(seed uint64, o Options) *simulation {
	asked := o
	if o.Duration == 0 {
		o.Duration = DurationDefault
	}
	if o.Actives == 0 {
		o.Actives = activesDefault
	}
	if o.Passives == 0 {
		o.Passives = passivesDefault
	}
	o.Passives = max(o.Passives, 0)
	s := &simulation{asked: asked}
	s.seed, s.options, s.random = seed, o, newStreams(seed)
	s.trace = trace{hash: seed, now: &s.schedule.now}
	if o.Trace != nil {
		s.trace.lines = &traceLines{out: o.Trace, messages: o.Messages, colors: o.Colors}
	}
	s.plan = draw(s.random.plan, &s.options)
	s.plan.grow(s.random.states)
	s.plan.ail(s.random.calls)
	s.plan.tire(s.random.sluggish)
	s.plan.behind, s.plan.retainBytes = []int{0, -1, 8 << 10}[s.seed%3], []int{0, 1 << 10, -1}[s.seed/3%3]
	s.plan.forget(s.random.tails)
	s.plan.set(s.random.walls)
	s.plan.narrow(s.random.limits)
	s.plan.wall(s.random.blocks)
	s.plan.see(s.random.sight)
	s.plan.drag(s.random.drags)
	s.ledger = newLedger(func(i int) string { return s.members[i].name })
	if !s.plan.wild {
		s.ledger.ran = func(i int) time.Duration { return s.members[i].runFor() }
	}
	s.state = newState()
	s.state.beat = func() { s.beat.Add(1) }
	p := &s.plan
	s.network = newNetwork(&s.checkers)
	s.graves = map[protocol.MemberID]grave{}
	s.heard, s.unforeseen = map[answering]Time{}, map[proposal]bool{}
	s.operator = &operator{s: &s.directories, every: p.moves}
	s.membership = &membership{s: &s.supervisor, pace: p.pacing}
	return s
}

// play runs the whole trace. It returns the stack of a panic.
func (s *simulation) play() (stack string) {
	defer func() {
		if p := recover(); p != nil {
			stack = string(debug.Stack())
			if v, ok := p.(invariant.Violation); ok {
				s.fail(violated(RulePanic, "%s", v.Text))
				return
			}
			s.fail(violated(RulePanic, "%v", p))
		}
	}()
	if err := s.setUp(); err != nil {
		s.fail(err)
		return ""
	}
	s.schedule.after(around(s.random.faults, s.plan.every), s.trouble)
	s.operator.start()
	if s.plan.diverge > 0 {
		s.schedule.after(around(s.random.states, s.plan.diverge), s.mishaps)
	}
	if s.plan.ails > 0 {
		s.schedule.after(around(s.random.calls, s.plan.ails), ailments{&s.nemesis}.strike)
	}
	if s.plan.walls > 0 {
		s.schedule.after(around(s.random.walls, s.plan.walls), walls{&s.nemesis}.set)
	}
	blocks{&s.nemesis}.begin()
	drags{&s.nemesis}.begin()
	s.watchAges()
	s.lookOn()
	s.until(Time(s.options.Duration), nil)
	s.settle()
	return ""
}

// stopSteps is how many events lie between two looks at Options.Stop.
const stopSteps = 1 << 10

// until processes events up to a time, or until done.
func (s *simulation) until(t Time, done func() bool) bool {
	for !s.failed() {
		if done != nil && done() {
			return true
		}
		run, ok := s.schedule.next(t)
		if !ok {
			return false
		}
		if s.schedule.steps > s.stepsMax() {
			s.fail(violated(RuleEnds, "%d events by %v: something goes on for ever", s.schedule.steps, time.Duration(s.schedule.now)))
			return false
		}
		if s.options.Stop != nil && s.schedule.steps%stopSteps == 0 && s.options.Stop() {
			s.over = true
			return false
		}
		s.beat.Store(s.schedule.steps)
		run()
	}
	return false
}

// fail records the first violation.
func (s *stage) fail(err error) {
	if s.violation == nil && err != nil {
		s.violation = err
		s.trace.say("VIOLATION: %v", err)
	}
}

// failed reports whether the run is at its end before its time.
func (s *stage) failed() bool { return s.violation != nil || s.over }

// setUp makes the members and the clients. The first member founds the cluster.
func (s *simulation) setUp() error {
	var err error
	if s.registry, err = newRegistry(); err != nil {
		return err
	}
	for i := range s.options.Actives + s.options.Passives + s.options.Reserves {
		if err := s.addMember(i); err != nil {
			return err
		}
	}
	if s.plan.wild {
		s.counts.add(countWild, 1)
	}
	if f := s.trace.lines; f != nil {
		for _, m := range s.members {
			f.names = append(f.names, m.name)
		}
		f.sign = func(i int) string { return s.members[i].sign() }
		f.head(fmt.Sprintf("seed %d, profile %s, %v", s.seed, s.plan.profile, s.options.Duration))
	}
	for i, m := range s.members {
		s.schedule.after(s.plan.late[i], func() {
			if m.up() {
				return // the end of all faults has started it
			}
			if s.plan.late[i] > 0 {
				s.counts.add(countJoins, 1)
			}
			s.boot(m)
		})
	}
	for i := range s.plan.clients {
		s.addClient(i)
	}
	return nil
}

func (s *simulation) addMember(i int) error {
	r := s.random.members
	m := newMember(&s.directories, i, host{clock: newClock(s.random.clocks, s.plan.wild), wish: protocol.RolePassive})
	m.role = protocol.RolePassive
	for k := range m.id {
		m.id[k] = byte(r.Uint64())
	}
	m.name = fmt.Sprintf("p%d", i-s.options.Actives+1)
	if i < s.options.Actives {
		m.name, m.wish = fmt.Sprintf("a%d", i+1), protocol.RoleActive
	} else if chance(r, s.plan.eligible) {
		m.wish = protocol.RoleActive
	}
	if first := s.options.Actives + s.options.Passives; i >= first {
		m.name, m.reserve = fmt.Sprintf("r%d", i-first+1), true
		m.role = m.beginsAs()
		if i == first {
			m.wish = protocol.RoleActive // so that a seat can have one in every seed
		}
	}
	m.format = s.options.format
	m.log.name, m.address = m.name, m.name+":7000"
	s.members = append(s.members, m)
	var founding *protocol.Configuration
	if i == 0 {
		founding = &protocol.Configuration{Target: s.plan.target, Lease: s.plan.lease, StateBytes: s.plan.limit, Members: []protocol.ActiveMember{
			{ID: m.id, Name: m.name, Address: m.address, Suffrage: protocol.SuffrageVoter},
		}}
		if s.options.Reserves > 0 {
			founding.Autopilot = protocol.Autopilot{Passives: s.options.Passives, FailedAfter: reservesAfter}
		}
		if *founding = founding.At(m.format.OrKnown()); s.options.format != 0 {
			founding.Autopilot.FailedAfter = reservesAfter // a raise waits as long
		}
	}
	return m.disk.init(&s.stage, m, founding)
}

// machines returns the members, without copies of them.
func (s *cluster) machines() []*member {
	return s.members[:min(len(s.members), s.options.Actives+s.options.Passives+s.options.Reserves)]
}

// byID returns a member, or nil: of one and its copy the original.
func (s *cluster) byID(id protocol.MemberID) *member {
	for _, m := range s.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

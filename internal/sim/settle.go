package sim

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// settle ends all trouble, waits until the cluster has recovered, and looks at
// what is left.
func (s *simulation) settle() {
	if s.failed() {
		return
	}
	s.trace.say("the faults stop")
	s.quiet = true
	if s.plan.sluggish > 0 {
		s.counts.add(countSluggishWrites, s.counts[countAcknowledged])
	}
	s.plan.fair()
	p, r := &s.plan, s.network.rough
	r.Loss, r.Double, r.Breaks, s.network.jitter = p.loss, p.double, p.breaks, p.jitter
	s.healLinks()
	s.operator.every = 0
	if s.copying != nil {
		s.endCopy(s.copying)
	}
	for _, m := range s.machines() {
		m.crashPoint, m.doomed, m.stalled, m.drags, m.rot = crashPoint{}, false, 0, 0, rotNone
		m.emptied(m.disk.fs)
		m.heals()
		m.resume()
		if !m.up() {
			s.restart(m)
		}
	}
	stopped, patience := s.schedule.now, settleMax+s.pauseOnSlowClocks()
	deadline := stopped.Add(patience)
	for !s.failed() {
		s.until(s.schedule.now.Add(100*time.Millisecond), nil)
		s.operator.tidy()
		s.nudge()
		why, apart := s.unsettled(), s.apart()
		if why == "" && apart == "" {
			break
		}
		if apart != "" && s.schedule.now >= stopped.Add(togetherMax) {
			s.fail(violated(RuleTogether, "%v after the faults stopped, %s", togetherMax, apart))
		}
		if s.schedule.now >= deadline && s.stuck() {
			s.giveUp(why)
			return
		}
		if s.schedule.now >= deadline {
			s.fail(violated(RuleLiveness, "%v after the faults stopped: %s", patience, why))
		}
	}
	if s.failed() {
		return
	}
	s.trace.say("settled after %v", s.schedule.now.Sub(stopped).Round(time.Millisecond))
	s.counts.add(countSettled, 1)
	s.fail(s.state.linearizable())
	s.fail(s.judgeWatches(true))
}

// pauseOnSlowClocks is how much longer the minute takes, on the slowest clock of all, for which a leader
// leaves a member at the address that it has entered last.
func (s *simulation) pauseOnSlowClocks() (longer time.Duration) {
	for _, m := range s.machines() {
		longer = max(longer, time.Duration(-m.clock.ppm)*time.Minute/time.Duration(1e6+m.clock.ppm))
	}
	return longer
}

// giveUp ends a run in which nothing can be asked of the cluster any more (see
// stuck.go). What was answered must be right all the same.
func (s *simulation) giveUp(why string) {
	s.trace.say("the quorum is lost by a change that nobody could know better than to make: %s", why)
	s.counts.add(countStuck, 1)
	for _, c := range s.clients {
		for len(c.flying) > 0 {
			c.flying[0].leave()
		}
	}
	s.fail(s.state.linearizable())
	s.fail(s.judgeWatches(false))
}

// unsettled says what is missing for the cluster to have recovered, or nothing.
func (s *simulation) unsettled() string {
	for _, c := range s.clients {
		if len(c.flying) > 0 {
			return fmt.Sprintf("%s waits for the answer of %s", c.name, c.flying[0])
		}
	}
	for _, m := range s.machines() {
		if !m.up() {
			return m.name + " is down"
		}
	}
	leader := s.leaderNow()
	if leader == nil {
		return "nobody leads"
	}
	latest, _ := leader.replica.Configurations().Latest()
	if voters, want := len(latest.Configuration.Voters()), latest.Configuration.Target; voters < want || latest.Configuration.Joint() {
		return fmt.Sprintf("%d voters of %d: %s", voters, want, latest.Configuration)
	}
	if gone := s.buried(latest.Configuration); len(gone) > 0 {
		return s.nameOf(gone[0]) + " is lost, and still has a seat"
	}
	if why := s.misplaced(latest.Configuration); why != "" {
		return why
	}
	if why := s.understaffed(latest.Configuration); why != "" {
		return why
	}
	frontier := s.ledger.frontier()
	if frontier < s.state.acknowledged {
		return fmt.Sprintf("%d was acknowledged, committed is %d", s.state.acknowledged, frontier)
	}
	if why := s.unequal(leader, frontier); why != "" {
		return why
	}
	return s.untold()
}

// misplaced says who is not where the configuration says.
func (s *simulation) misplaced(c protocol.Configuration) string {
	for _, m := range s.members {
		if line, named := c.Find(m.id); named && line.Address != m.address {
			return fmt.Sprintf("%s is at %s, the configuration says %s", m.name, m.address, line.Address)
		}
	}
	return ""
}

// understaffed says that passives are missing while a reserve stands by.
func (s *simulation) understaffed(c protocol.Configuration) string {
	passives, idle := 0, ""
	for _, m := range s.machines() {
		switch m.replica.Status(m.now()).Role {
		case protocol.RolePassive:
			passives++
		case protocol.RoleReserve:
			idle = m.name
		}
	}
	if passives < c.Autopilot.Passives && idle != "" {
		return fmt.Sprintf("%d passives of %d, and %s stands by", passives, c.Autopilot.Passives, idle)
	}
	return ""
}

// unequal compares all members with the leader, but for reserves, which must
// hold nothing.
func (s *simulation) unequal(leader *member, frontier protocol.Index) string {
	for _, m := range s.machines() {
		if m.replica.Status(m.now()).Role == protocol.RoleReserve {
			if last := m.log.written.last(); m.applied != 0 || last != 0 {
				return fmt.Sprintf("%s is a reserve and has applied %d, holds up to %d", m.name, m.applied, last)
			}
			continue
		}
		if m.applied != frontier {
			return fmt.Sprintf("%s has applied %d, committed is %d", m.name, m.applied, frontier)
		}
		if m.divergedState != nil || m.quarantined() {
			return fmt.Sprintf("the state of %s is wrong (in quarantine: %v)", m.name, m.quarantined())
		}
		if m.digest != leader.digest {
			return fmt.Sprintf("%s has digest %s, the leader %s", m.name, m.digest, leader.digest)
		}
		if st := m.replica.Status(m.now()); st.Leader != leader.id {
			return fmt.Sprintf("%s does not know the leader", m.name)
		}
		age, known := m.replica.Age(m.now(), m.applied)
		if !known || age > 5*time.Second {
			return fmt.Sprintf("%s does not know that it is fresh (%v, %v)", m.name, age, known)
		}
	}
	return ""
}

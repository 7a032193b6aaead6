//go:build linux

package fieldtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// greyVariable says how many rounds each spell has.
	greyVariable = "STARLING_GREY"
	// greyLastsVariable says how long those last that last a minute, for instance 20s.
	greyLastsVariable = "STARLING_GREY_LASTS"
	greyLasts         = time.Minute
	// slot is as long as nobody minds that nothing is acknowledged.
	slot = 100 * time.Millisecond
)

// spell is something that is wrong for a while, with all members running.
type spell struct {
	name    string
	lasts   time.Duration // at least; 0: as long as greyLastsVariable says
	always  bool          // one round of it is in every run
	disks   bool          // actives have disks of their own
	session time.Duration // of the clients; 0: the default
	tools   []string
	// begin has it begin, and returns what ends it. Each round has a number.
	begin func(n *networked, leader *member, round int) (end func())
	// during waits for what has to come of it while it lasts, after what has to be said when it
	// is over; nil: nothing beyond what every round is asked for.
	during, after func(n *networked, leader *member)
	// halts says that nothing is committed meanwhile.
	halts bool
}

// spelt is what was seen of one round, or of several.
type spelt struct {
	slots, written int // of slots of 100 ms those with a write
	elections      uint64
	lasted         time.Duration
	longest        time.Duration // without a write
	follow         time.Duration // until all had what was committed when it was over, at most
}

func (s *spelt) share() float64 { return float64(s.written) / float64(s.slots) }

func (s *spelt) perMinute() float64 { return float64(s.elections) / s.lasted.Minutes() }

func (s *spelt) add(o spelt) {
	s.slots, s.written, s.elections, s.lasted = s.slots+o.slots, s.written+o.written, s.elections+o.elections, s.lasted+o.lasted
	s.longest, s.follow = max(s.longest, o.longest), max(s.follow, o.follow)
}

func (s *spelt) String() string {
	return fmt.Sprintf("%v: a write in %.1f %% of %d slots, at most %v without one, %d elections; all follow %v after it",
		s.lasted.Round(100*time.Millisecond), 100*s.share(), s.slots, s.longest.Round(time.Millisecond), s.elections, s.follow.Round(time.Millisecond))
}

// Five actives and four passives go through spells in which nobody is dead and something
// does not work. Clients at all of them see nothing that one copy of the state would not
// show, no member says that its state is younger than it is, no session ends, and all follow
// when it is over.
func TestMembersThatAreHalfWell(t *testing.T) {
	rounds := number(t, greyVariable)
	if testing.Short() && rounds == 0 {
		t.Skip("-short: nine processes")
	}
	beside(t, greyVariable)
	for _, s := range spells {
		if rounds == 0 && !s.always {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			beside(t, greyVariable)
			need(t, s.tools...)
			n := layNine(t, rounds > 0)
			if s.disks {
				for _, m := range n.members {
					if m.role == protocol.RoleActive {
						m.disk = newDisk(t, "ext4", 700)
						m.dir = m.disk.dir
					}
				}
			}
			n.begin()
			var all spelt
			runners := n.runners(s.session, n.members...)
			for k := range max(rounds, 1) {
				all.add(n.spell(s, k, runners))
			}
			t.Logf("all %d rounds: %s", max(rounds, 1), &all)
		})
	}
}

// spell has one round.
func (n *networked) spell(s spell, k int, runners []*runner) spelt {
	n.t.Helper()
	lasts := s.lasts
	if lasts == 0 {
		lasts = greyTime(n)
	}
	for _, m := range n.members {
		m.log.forget()
	}
	h, leader, term := n.open(fmt.Sprintf("spell-%d", k), runners)
	began := time.Now()
	end := s.begin(n, leader, k)
	n.t.Cleanup(end)
	_ = within(lasts-time.Since(began), func() error { return errors.New("it lasts") })
	if s.during != nil {
		s.during(n, leader)
	}
	if !s.halts {
		h.goOn(n, time.Now(), 3)
	}
	end()
	over := time.Now()
	out := spelt{lasted: over.Sub(began)}
	out.slots, out.written, out.longest = h.written(began, over)
	now, err := n.status(n.leader(n.members...))
	if err != nil {
		n.t.Fatal(err)
	}
	n.eventually(func() error { return n.follow(now.Commit) })
	out.follow = time.Since(over)
	if s.after != nil {
		s.after(n, leader)
	}
	n.close(h)
	if now, err = n.status(n.leader(n.members...)); err != nil {
		n.t.Fatal(err)
	}
	out.elections = now.Term - term
	n.t.Logf("%s, round %d: %s", s.name, k, &out)
	return out
}

// greyTime is how long a spell lasts that lasts a minute where it is measured.
func greyTime(n *networked) time.Duration {
	text := os.Getenv(greyLastsVariable)
	if text == "" {
		return greyLasts
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		n.t.Fatalf("%s: %v", greyLastsVariable, err)
	}
	return d
}

// written says in how many slots of a time some client had a write acknowledged, and how
// long none had.
func (h *history) written(from, until time.Time) (slots, written int, longest time.Duration) {
	has := make([]bool, until.Sub(from)/slot)
	acks := []time.Time{from, until}
	for _, r := range h.runners {
		r.mu.Lock()
		for _, a := range r.acks {
			if a.ended.Before(from) || !a.ended.Before(until) {
				continue
			}
			acks = append(acks, a.ended)
			if i := int(a.ended.Sub(from) / slot); i < len(has) {
				has[i] = true
			}
		}
		r.mu.Unlock()
	}
	for _, w := range has {
		if slots++; w {
			written++
		}
	}
	slices.SortFunc(acks, time.Time.Compare)
	for i := range acks[1:] {
		longest = max(longest, acks[i+1].Sub(acks[i]))
	}
	return slots, written, longest
}

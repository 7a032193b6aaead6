//go:build linux

package fieldtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
)

// packetLoss is a fifth of the packets between members, in each direction.
var packetLoss = spell{
	name: "a fifth of all packets is lost", lasts: 12 * time.Second, tools: []string{"nft"},
	begin: func(n *networked, _ *member, _ int) func() {
		n.drop(20)
		return sync.OnceFunc(func() { n.drop(0) })
	},
}

// standsStill is for how long processes are stopped, five times as long as the sessions of
// their clients last.
const standsStill = 5 * time.Second

var spells = []spell{
	{
		name: "UDP is blocked", tools: []string{"nft"},
		begin:  blocked(withoutUDP, func(n *networked, _ *member) []*member { return n.members }),
		during: func(n *networked, _ *member) { n.keepsUp(); n.lostIsSaid(); n.saidOf() },
		after: func(n *networked, _ *member) {
			n.say(n.members, datagramsBack, "UDP gets through again between this member and ")
		},
	}, {
		name: "TCP is blocked round two followers and two passives", tools: []string{"nft"},
		begin: blocked(withoutTCP, walled),
		during: func(n *networked, leader *member) {
			passives := walled(n, leader)[2:]
			n.firewall(withoutBoth, passives...)
			_ = within(time.Second, func() error { return errors.New("it lasts") })
			n.firewall(withoutTCP, passives...) // what they lack now is too large for a datagram
			n.keepsUp(walled(n, leader)[:2]...)
			for _, m := range walled(n, leader)[:2] {
				n.say([]*member{m}, streamsLost, " to="+leader.name+" ", ":"+memberPort)
				n.say([]*member{leader}, streamsLost, " to="+m.name+" ", ":"+memberPort)
			}
			n.saidOf()
		},
		after: func(n *networked, leader *member) { n.say(append(walled(n, leader)[:2], leader), streamsBack) },
	}, {
		name: "TCP is blocked between all", tools: []string{"nft"}, halts: true,
		begin:  blocked(withoutTCP, func(n *networked, _ *member) []*member { return n.members }),
		during: func(n *networked, _ *member) { n.say(n.members[:5], streamsLost, ":"+memberPort) },
	}, {
		name: "the leader's disk is slow", lasts: 5 * time.Second, disks: true,
		begin: func(_ *networked, leader *member, _ int) func() {
			return leader.disk.slow(30*time.Millisecond, 200*time.Millisecond)
		},
		during: handsOver, after: begunAnew,
	}, {
		name: "the leader is starved of the processor", lasts: 5 * time.Second,
		begin: func(_ *networked, leader *member, _ int) func() {
			return leader.rhythm(50*time.Millisecond, 200*time.Millisecond)
		},
		during: handsOver, after: begunAnew,
	}, {
		name: "two passives are cut off from members", lasts: 10 * time.Second, always: true,
		begin: func(n *networked, _ *member, _ int) func() {
			some, rest := n.members[5:7], n.without(n.members[5:7]...)
			n.part(some, rest)
			return sync.OnceFunc(func() { n.join(some, rest) })
		},
		during: func(n *networked, _ *member) { n.orphaned(n.members[5]) },
	}, {
		name: "one is stopped for 5 s, sessions last 1 s", lasts: standsStill, session: time.Second,
		begin: func(n *networked, leader *member, round int) func() {
			one := leader
			if round%2 == 1 { // and every other one in its turn
				one = n.without(leader)[round/2%8]
			}
			return stopped(one)
		},
		halts: true, // the one that is stopped is the home of one of the clients
	}, {
		name: "all are stopped for 5 s, sessions last 1 s", lasts: standsStill, session: time.Second, always: true,
		begin: func(n *networked, _ *member, _ int) func() { return stopped(n.members...) },
		halts: true,
	},
}

// blocked has some members drop what a rule matches.
func blocked(rule string, of func(n *networked, leader *member) []*member) func(*networked, *member, int) func() {
	return func(n *networked, leader *member, _ int) func() {
		some := of(n, leader)
		n.firewall(rule, some...)
		return sync.OnceFunc(func() { n.firewall("", some...) })
	}
}

// walled are two followers and two passives: the others have a majority.
func walled(n *networked, leader *member) []*member {
	var followers []*member
	for _, m := range n.members[:5] {
		if m != leader {
			followers = append(followers, m)
		}
	}
	return append(followers[2:4:4], n.members[7:9]...)
}

// stopped stops processes until the result is called.
func stopped(some ...*member) func() {
	for _, m := range some {
		m.signal(syscall.SIGSTOP)
	}
	return sync.OnceFunc(func() {
		for _, m := range some {
			m.signal(syscall.SIGCONT)
		}
	})
}

// handsOver waits until a slow leader leads no more.
func handsOver(n *networked, leader *member) {
	n.t.Helper()
	n.eventually(func() error {
		for _, m := range n.without(leader) {
			s, err := n.status(m)
			if err != nil {
				return err
			}
			if s.Leader == leader.name || s.Leader == "" {
				return fmt.Errorf("%s says that %q leads", m.name, s.Leader)
			}
		}
		return nil
	})
}

// begunAnew starts a member again that has handed over: it remembers for ten minutes that it
// was slow, and when most do, no next one is any better.
func begunAnew(n *networked, leader *member) {
	n.t.Helper()
	if err := leader.stop(); err != nil {
		n.t.Error(err)
	}
	leader.start()
}

// keepsUp waits until members have what is committed now, but for some: they follow while
// something is blocked. It says how old their states are.
func (n *networked) keepsUp(but ...*member) {
	n.t.Helper()
	rest := n.without(but...)
	s, err := n.status(rest[0])
	if err != nil {
		n.t.Fatal(err)
	}
	began := time.Now()
	n.eventually(func() error { return n.follow(s.Commit, rest...) })
	took := time.Since(began)
	var ages []string
	for _, m := range rest {
		if s, err = n.status(m); err != nil {
			n.t.Fatal(err)
		}
		age := "unknown"
		if s.AgeMS != nil {
			age = fmt.Sprint(*s.AgeMS)
		}
		ages = append(ages, m.name+" "+age)
	}
	n.t.Logf("they have what was committed after %v; ages in ms: %s", took.Round(time.Millisecond), strings.Join(ages, ", "))
}

// saidOf checks that each member shows of each other one what that has said last, and how long
// ago.
func (n *networked) saidOf() {
	n.t.Helper()
	n.eventually(func() error {
		for _, m := range n.members {
			s, err := n.status(m)
			if err != nil {
				return err
			}
			lines := 0
			for _, line := range s.Members {
				if line.Name == m.name {
					continue
				}
				if lines++; line.Applied == nil || line.SaidMS == nil {
					return fmt.Errorf("%s does not show what %s has said, or when: %+v", m.name, line.Name, line)
				}
			}
			if lines != len(n.members)-1 {
				return fmt.Errorf("%s shows %d others", m.name, lines)
			}
		}
		return nil
	})
}

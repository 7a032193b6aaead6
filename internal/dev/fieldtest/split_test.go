//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// splitsVariable says how long the cuts of these tests last, for instance
// "10s,90s,300s"; default: as long as it takes until both sides have noticed.
// With it, they also must be over two seconds after the links work again.
const splitsVariable = "STARLING_SPLITS"

// healedWithin is how long it may take on a machine that has nothing else to do.
const healedWithin = 2 * time.Second

func splitTimes(t *testing.T) []time.Duration {
	t.Helper()
	text := os.Getenv(splitsVariable)
	if text == "" {
		return []time.Duration{0}
	}
	var list []time.Duration
	for _, s := range strings.Split(text, ",") {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("%s: %v", splitsVariable, err)
		}
		list = append(list, d)
	}
	return list
}

// Two of four passives lose the rest, not each other. When the links work again
// they follow, at once, however long it was.
func TestPassivesThatWereCutOffFollowAgain(t *testing.T) {
	several(t)
	beside(t, splitsVariable)
	n := newNetworked(t, "a1", "a2", "a3", "a4", "a5", "p1", "p2", "p3", "p4")
	n.splits(n.members[5:7])
}

// The same with voters on both sides.
func TestVotersThatWereCutOffAreHeardAgain(t *testing.T) {
	several(t)
	beside(t, splitsVariable)
	n := newNetworked(t, "a1", "a2", "a3", "p1", "p2", "p3")
	n.splits([]*member{n.members[2], n.members[4], n.members[5]})
}

// splits parts some members from the rest, for each of the durations, while
// clients write to the rest.
func (n *networked) splits(some []*member) {
	n.t.Helper()
	var rest []*member
	for _, m := range n.members {
		off := false
		for _, s := range some {
			off = off || s == m
		}
		if !off {
			rest = append(rest, m)
		}
	}
	n.settled()
	client, err := n.client(rest[0])
	if err != nil {
		n.t.Fatal(err)
	}
	counter := starling.NewCounter(client, "split")
	for round, lasts := range splitTimes(n.t) {
		n.hear(len(n.members)-1, n.members)
		began := time.Now()
		n.part(some, rest)
		write := func() starling.Index {
			var index starling.Index
			n.eventually(func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				defer cancel()
				if _, err := counter.Add(ctx, 1); err != nil {
					return err
				}
				s, err := n.status(rest[0])
				index = s.Commit
				return err
			})
			return index
		}
		write()
		if lasts == 0 {
			n.hear(len(rest)-1, rest)
			n.hear(len(some)-1, some)
			n.missed(rest[0], some)
			n.orphaned(some[len(some)-1])
		}
		_ = within(lasts-time.Since(began), func() error { return errors.New("the cut lasts") })
		lasted := time.Since(began)
		goal := write()
		n.join(some, rest)
		healed := time.Now()
		n.eventually(func() error { return n.follow(goal) })
		follow := time.Since(healed)
		n.hear(len(n.members)-1, n.members)
		hear := time.Since(healed)
		n.t.Logf("round %d: a cut of %v: all follow %v after it, all hear each other %v after it",
			round, lasted.Round(time.Millisecond), follow.Round(time.Millisecond), hear.Round(time.Millisecond))
		if lasts > 0 && follow > healedWithin {
			n.t.Errorf("all follow %v after a cut of %v, want %v", follow, lasts, healedWithin)
		}
		n.settled()
	}
	out, err := n.verify(rest[0])
	if err != nil {
		n.t.Errorf("verify: %v\n%s", err, out)
	}
}

// hear waits until members hear so many others.
func (n *networked) hear(others int, members []*member) {
	n.t.Helper()
	n.eventually(func() error {
		for _, m := range members {
			s, err := n.status(m)
			if err != nil {
				return err
			}
			alive := -1
			for _, line := range s.Members {
				if line.Alive {
					alive++
				}
			}
			if alive != others {
				return fmt.Errorf("%s hears %d others, want %d", m.name, alive, others)
			}
		}
		return nil
	})
}

// follow returns an error unless members, all if none are named, have applied what was
// committed at goal, and know a leader.
func (n *networked) follow(goal starling.Index, members ...*member) error {
	if members == nil {
		members = n.members
	}
	for _, m := range members {
		s, err := n.status(m)
		if err != nil {
			return err
		}
		if s.Applied < goal || s.Leader == "" || !s.Serving {
			return fmt.Errorf("%s has applied %d of %d, leader %q, serving %t %s", m.name, s.Applied, goal, s.Leader, s.Serving, s.Reason)
		}
	}
	return nil
}

// verify runs the command of that name.
func (n *networked) verify(at *member) (string, error) {
	path, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	c := exec.Command(path, "verify", "--addr", at.addr)
	c.Env = append(os.Environ(), asVariable+"=agent")
	out, err := c.CombinedOutput()
	return string(out), err
}

// missed checks that a member names those that it does not hear.
func (n *networked) missed(at *member, missing []*member) {
	n.t.Helper()
	n.eventually(func() error {
		out, err := n.verify(at)
		if err == nil {
			return fmt.Errorf("verify has no error:\n%s", out)
		}
		_, last, _ := strings.Cut(out, "not heard: ")
		for _, m := range missing {
			if !strings.Contains(last, m.name) {
				return fmt.Errorf("verify does not name %s:\n%s", m.name, out)
			}
		}
		return nil
	})
}

// orphaned checks that a member says that it follows nobody.
func (n *networked) orphaned(m *member) {
	n.t.Helper()
	n.eventually(func() error {
		s, err := n.status(m)
		if err == nil && (s.Serving || !strings.Contains(s.Reason, "follows nobody")) {
			err = fmt.Errorf("%s: serving %t, %q", m.name, s.Serving, s.Reason)
		}
		if err == nil && !strings.Contains(m.log.String(), "level=WARN msg=\"this member follows nobody") {
			err = fmt.Errorf("%s does not say in its log that it follows nobody", m.name)
		}
		return err
	})
}

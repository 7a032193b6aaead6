//go:build linux

package fieldtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// transportsVariable says for how long one of the two transports is blocked, for instance
// 20s. Without it these tests are skipped.
const transportsVariable = "STARLING_TRANSPORTS"

func transportsFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(transportsVariable)
	if text == "" {
		t.Skipf("%s is not set", transportsVariable)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", transportsVariable, err)
	}
	need(t, "nft")
	return d
}

// firewall has all members drop what others send them that a rule matches; no rule opens
// all again. What clients send comes from elsewhere.
func (n *networked) firewall(rule string) {
	n.t.Helper()
	for _, m := range n.members {
		table := "table inet field\ndelete table inet field\n"
		if rule != "" {
			table += "table inet field { chain in { type filter hook input priority 0; ip saddr " + hostsNetwork + "11-" + hostsNetwork + "99 " + rule + " drop\n}\n}\n"
		}
		c := exec.Command("ip", "netns", "exec", m.host, "nft", "-f", "-")
		c.Stdin = strings.NewReader(table)
		if out, err := c.CombinedOutput(); err != nil {
			n.t.Fatalf("the firewall of %s: %v: %s", m.name, err, out)
		}
	}
}

const withoutUDP = "meta l4proto udp"

// says waits until each of some members has all the texts in its log since it was forgotten.
func (n *networked) say(members []*member, texts ...string) {
	n.t.Helper()
	n.eventually(func() error {
		for _, m := range members {
			for _, text := range texts {
				if !strings.Contains(m.log.String(), text) {
					return fmt.Errorf("%s does not say %q", m.name, text)
				}
			}
		}
		return nil
	})
}

// goesOn has writes made for a while, and all members follow each of them within a limit.
func (n *networked) goesOn(lasts, limit time.Duration) {
	n.t.Helper()
	client, err := n.client(n.members[0])
	if err != nil {
		n.t.Fatal(err)
	}
	counter := starling.NewCounter(client, "transports")
	writes, worst := 0, time.Duration(0)
	for end := time.Now().Add(lasts); time.Now().Before(end); writes++ {
		if _, err := counter.Add(n.t.Context(), 1); err != nil {
			n.t.Fatal(err)
		}
		s, err := n.status(n.members[0])
		if err != nil {
			n.t.Fatal(err)
		}
		began := time.Now()
		if err := within(limit, func() error { return n.follow(s.Commit) }); err != nil {
			n.t.Fatalf("%v after a write: %v", limit, err)
		}
		worst = max(worst, time.Since(began))
	}
	n.t.Logf("%d writes in %v, at all members after %v at the latest", writes, lasts, worst.Round(time.Millisecond))
}

// UDP is blocked between all members and TCP is not: no cluster formed, and the passives of
// a running one stood still for ever, without a word.
func TestWithoutUDPAllGoesOn(t *testing.T) {
	lasts := transportsFor(t)
	n := layNetwork(t, []string{"a1", "a2", "a3", "p1", "p2"})
	n.firewall(withoutUDP)
	began := time.Now()
	n.begin()
	t.Logf("formed after %v", time.Since(began).Round(time.Millisecond))
	n.goesOn(lasts, 3*time.Second)
	n.lostIsSaid()
	n.firewall("")
	n.say(n.members, "level=INFO msg=datagrams-back", "UDP gets through again between this member and ")
	n.hear(len(n.members)-1, n.members)
	n.goesOn(time.Second, 3*time.Second)
	for _, m := range n.members {
		m.log.forget()
	}
	n.firewall(withoutUDP)
	n.goesOn(lasts, 5*time.Second)
	n.lostIsSaid()
	n.hear(len(n.members)-1, n.members)
	n.firewall("")
	n.say(n.members, "msg=datagrams-back")
	n.settled()
	n.eventually(func() error {
		for _, m := range n.members {
			if s, err := n.status(m); err != nil || !s.Serving || s.Reason != "" {
				return fmt.Errorf("%s: %v, serving %t, %q", m.name, err, s.Serving, s.Reason)
			}
		}
		return nil
	})
}

// lostIsSaid checks that logs and status name UDP, and that lines of the status about
// others are as old as they say.
func (n *networked) lostIsSaid() {
	n.t.Helper()
	n.say(n.members, "level=WARN msg=datagrams-lost", "UDP does not get through between this member and ", ":"+memberPort)
	n.eventually(func() error {
		for _, m := range n.members {
			s, err := n.status(m)
			if err != nil {
				return err
			}
			if !s.Serving || !strings.Contains(s.Reason, "UDP does not get through") {
				return fmt.Errorf("%s: serving %t, %q", m.name, s.Serving, s.Reason)
			}
			for _, line := range s.Members {
				if line.Name == m.name {
					continue
				}
				if line.SaidMS == nil || *line.SaidMS > 5000 || line.AgeMS == nil || *line.AgeMS > 5000 {
					return fmt.Errorf("%s of %s: said %v, age %v", m.name, line.Name, line.SaidMS, line.AgeMS)
				}
			}
		}
		return nil
	})
	for _, m := range n.members {
		if lines := strings.Count(m.log.String(), "msg=datagrams-lost"); lines > 3 {
			n.t.Error(errors.New(m.name + " says it again and again:\n" + tail(m.log.String(), 10)))
		}
	}
}

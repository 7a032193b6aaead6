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

// firewall has some members, or all if none are named, drop what a rule matches of what
// they send to other members and get of them; no rule opens all again. Clients are
// elsewhere.
func (n *networked) firewall(rule string, of ...*member) {
	n.t.Helper()
	if of == nil {
		of = n.members
	}
	others := " { " + n.hosts + "11-" + n.hosts + "99 } "
	for _, m := range of {
		table := "table inet field\ndelete table inet field\n"
		if rule != "" {
			table += "table inet field {\n" +
				"chain in {\ntype filter hook input priority 0\nip saddr" + others + rule + " drop\n}\n" +
				"chain out {\ntype filter hook output priority 0\nip daddr" + others + rule + " drop\n}\n}\n"
		}
		c := exec.Command("ip", "netns", "exec", m.host, "nft", "-f", "-")
		c.Stdin = strings.NewReader(table)
		if out, err := c.CombinedOutput(); err != nil {
			n.t.Fatalf("the firewall of %s: %v: %s", m.name, err, out)
		}
	}
}

const (
	withoutUDP = "meta l4proto udp"
	withoutTCP = "meta l4proto tcp"

	withoutBoth = "meta l4proto { tcp, udp }"
)

// What members say of the two transports.
const (
	streamsLost   = "level=WARN msg=\"streams (TCP) to a member do not get through"
	streamsBack   = "level=INFO msg=\"streams (TCP) to a member get through again"
	datagramsLost = "level=WARN msg=datagrams-lost"
	datagramsBack = "level=INFO msg=datagrams-back"
)

// say waits until each of some members has all the texts in its log since it was forgotten.
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

// goesOn has writes made for a while, and members, all if none are named, follow each of
// them within a limit.
func (n *networked) goesOn(lasts, limit time.Duration, members ...*member) {
	n.t.Helper()
	if members == nil {
		members = n.members
	}
	client, err := n.client(members[0])
	if err != nil {
		n.t.Fatal(err)
	}
	counter := starling.NewCounter(client, "transports")
	writes, worst := 0, time.Duration(0)
	for end := time.Now().Add(lasts); time.Now().Before(end); writes++ {
		if _, err := counter.Add(n.t.Context(), 1); err != nil {
			n.t.Fatal(err)
		}
		s, err := n.status(members[0])
		if err != nil {
			n.t.Fatal(err)
		}
		began := time.Now()
		if err := within(limit, func() error { return n.follow(s.Commit, members...) }); err != nil {
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
	n.say(n.members, datagramsBack, "UDP gets through again between this member and ")
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
	n.say(n.members, datagramsBack)
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

// TCP is blocked between two followers, whose streams rest: nothing is sent on them that its
// sender would miss. Both say it all the same, once, and when it is over; the others see nothing of it.
func TestWithoutTCPAnIdleStreamIsMissed(t *testing.T) {
	lasts := transportsFor(t)
	n := newNetworked(t)
	both := n.others(n.leader(n.members...))
	host := func(m *member) string { return strings.TrimSuffix(m.addr, ":"+memberPort) }
	for _, m := range both {
		m.log.forget()
	}
	pair := " { " + host(both[0]) + ", " + host(both[1]) + " } "
	n.firewall(withoutTCP+" ip saddr"+pair+"ip daddr"+pair, both...)
	began := time.Now()
	for i, m := range both {
		n.say([]*member{m}, streamsLost, " to="+both[1-i].name+" ", ":"+memberPort)
	}
	t.Logf("both have said so after %v", time.Since(began).Round(time.Millisecond))
	n.goesOn(lasts, 5*time.Second)
	n.firewall("", both...)
	began = time.Now()
	n.say(both, streamsBack)
	t.Logf("both have streams again after %v", time.Since(began).Round(time.Millisecond))
	n.settled()
	for _, m := range both {
		if lines := strings.Count(m.log.String(), streamsLost); lines != 1 {
			t.Errorf("%s says it %d times:\n%s", m.name, lines, tail(m.log.String(), 10))
		}
	}
}

// Links that carry 1,280 bytes, the least that IPv6 allows, are enough: nobody falls back
// to streams.
func TestNarrowLinksCarryDatagrams(t *testing.T) {
	lasts := transportsFor(t)
	n := layNetwork(t, []string{"a1", "a2", "a3", "p1", "p2"})
	for _, m := range n.members {
		for _, args := range [][]string{{"link", "set", "to-" + m.host, "mtu", "1280"}, {"-n", m.host, "link", "set", "eth0", "mtu", "1280"}} {
			if err := tool("ip", args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.begin()
	client, err := n.client(n.members[0])
	if err != nil {
		t.Fatal(err)
	}
	values := starling.NewMap[string, string](client, "narrow")
	for size := 200; size < 3000; size += 100 { // round the bounds of a datagram and of a link
		if err := values.Put(t.Context(), "key", strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	n.goesOn(lasts/4, 3*time.Second)
	n.settled()
	for _, m := range n.members {
		if strings.Contains(m.log.String(), "datagrams-lost") {
			t.Errorf("%s falls back to streams:\n%s", m.name, tail(m.log.String(), 5))
		}
	}
}

// lostIsSaid checks that logs and status name UDP, and that lines of the status about
// others are as old as they say.
func (n *networked) lostIsSaid() {
	n.t.Helper()
	n.say(n.members, datagramsLost, "UDP does not get through between this member and ", ":"+memberPort)
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

//go:build linux

package fieldtest

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

const (
	// lossVariable says how many rounds of packet loss a cluster goes through.
	lossVariable = "STARLING_LOSS"
	// lossPercent of the packets between members are lost, in each direction, for
	// lossLasts in each round.
	lossPercent = 20
	lossLasts   = 12 * time.Second
	// slot is as long as nobody minds that nothing is acknowledged.
	slot = 100 * time.Millisecond
	// patientElection is an election timeout within which no link is silent: with it
	// the writes suffer from the loss, and nobody elects.
	patientElection = "30s"
	// lossShare is which share of the slots that have a write with patience have one
	// with the times of the command, at least, and lossElections how many elections there
	// are in a minute, at most.
	lossShare     = 0.9
	lossElections = 1.0
)

// lossy is what was seen of a cluster under loss.
type lossy struct {
	slots, written int
	elections      uint64
	lasted         time.Duration
	longest        time.Duration // without a write
}

func (l *lossy) share() float64 { return float64(l.written) / float64(l.slots) }

func (l *lossy) perMinute() float64 { return float64(l.elections) / l.lasted.Minutes() }

// A fifth of all packets between five members is lost, again and again. Clients, whose
// links are sound, have writes acknowledged about as often as with members that would
// wait half a minute before they elect, and hardly anybody is elected.
func TestPacketLossIsNoReasonToElect(t *testing.T) {
	rounds := number(t, lossVariable)
	if rounds == 0 {
		t.Skipf("takes minutes, and a machine that has nothing else to do; set %s to a number of rounds", lossVariable)
	}
	need(t, "ip", "nft")
	seen := map[string]*lossy{}
	for _, election := range []string{patientElection, ""} {
		name := "election=default"
		if election != "" {
			name = "election=" + election
		}
		t.Run(name, func(t *testing.T) {
			n := layNetwork(t, []string{"a1", "a2", "a3", "a4", "a5"})
			if election != "" {
				for _, m := range n.members {
					m.extra = []string{"--election", election, "--heartbeat", "100ms"}
				}
			}
			n.begin()
			l := &lossy{}
			for k := range rounds {
				before := *l
				n.loses(l)
				t.Logf("round %d: a write in %d of %d slots, %d elections, at most %v without a write",
					k, l.written-before.written, l.slots-before.slots, l.elections-before.elections, l.longest.Round(time.Millisecond))
			}
			t.Logf("a write in %.1f %% of the slots, %.2f elections in a minute, at most %v without a write", 100*l.share(), l.perMinute(), l.longest.Round(time.Millisecond))
			seen[election] = l
		})
	}
	patient, usual := seen[patientElection], seen[""]
	if t.Failed() || patient == nil || usual == nil {
		return
	}
	t.Logf("%.1f %% of the slots that have a write with %s", 100*usual.share()/patient.share(), patientElection)
	if usual.share() < lossShare*patient.share() {
		t.Errorf("a write in %.1f %% of the slots, want %.0f %% of %.1f %%", 100*usual.share(), 100*lossShare, 100*patient.share())
	}
	if usual.perMinute() > lossElections {
		t.Errorf("%.2f elections in a minute, want %.0f at most", usual.perMinute(), lossElections)
	}
}

// loses has the links lose packets for a while, with clients that write.
func (n *networked) loses(into *lossy) {
	n.t.Helper()
	n.settled()
	before, err := n.status(n.leader(n.members...))
	if err != nil {
		n.t.Fatal(err)
	}
	runners := n.runners(n.members...)
	var mu sync.Mutex
	var acks []time.Time
	ctx, cancel := context.WithTimeout(n.t.Context(), lossLasts)
	defer cancel()
	n.drop(lossPercent)
	began := time.Now()
	var all sync.WaitGroup
	for _, r := range runners {
		all.Go(func() {
			c := starling.NewCounter(r.client, "loss")
			for wait(ctx, writePause) {
				if _, err := c.Add(ctx, 1); err == nil {
					mu.Lock()
					acks = append(acks, time.Now())
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	n.drop(0)
	into.lasted += lossLasts
	n.settled()
	after, err := n.status(n.leader(n.members...))
	if err != nil {
		n.t.Fatal(err)
	}
	into.elections += after.Term - before.Term
	slots := make([]bool, lossLasts/slot)
	slices.SortFunc(acks, time.Time.Compare)
	last := began
	for _, at := range append(acks, began.Add(lossLasts)) {
		into.longest, last = max(into.longest, at.Sub(last)), at
		if i := int(at.Sub(began) / slot); i < len(slots) {
			slots[i] = true
		}
	}
	for _, written := range slots {
		if into.slots++; written {
			into.written++
		}
	}
}

// drop has each member lose a share of the packets that come from other members. What is
// lost has been sent: its sender's kernel knows nothing of it.
func (n *networked) drop(percent int) {
	n.t.Helper()
	var members []string
	for _, m := range n.members {
		members = append(members, strings.TrimSuffix(m.addr, ":"+memberPort))
	}
	rules := "add table netdev loss\ndelete table netdev loss\n" // there may be none
	if percent > 0 {
		rules += fmt.Sprintf("table netdev loss {\n chain in {\n  type filter hook ingress device eth0 priority 0;\n  ip saddr { %s } numgen random mod 100 < %d drop\n }\n}\n",
			strings.Join(members, ", "), percent)
	}
	for _, m := range n.members {
		c := exec.Command("ip", "netns", "exec", m.host, "nft", "-f", "-")
		c.Stdin = strings.NewReader(rules)
		if out, err := c.CombinedOutput(); err != nil {
			n.t.Fatalf("%v: %s", err, out)
		}
	}
}

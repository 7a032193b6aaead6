//go:build linux

package fieldtest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

const (
	// patientElection is an election timeout within which no link is silent: with it
	// the writes suffer from the loss, and nobody elects.
	patientElection = "30s"
	// lossShare is which share of the slots that have a write with patience have one
	// with the times of the command, at least, and lossElections how many elections there
	// are in a minute, at most.
	lossShare     = 0.9
	lossElections = 1.0
)

// A fifth of all packets between nine members is lost, again and again. Clients, whose
// links are sound, have writes acknowledged about as often as with members that would
// wait half a minute before they elect, and hardly anybody is elected.
func TestPacketLossIsNoReasonToElect(t *testing.T) {
	rounds := number(t, greyVariable)
	if rounds == 0 {
		t.Skipf("takes minutes, and a machine that has nothing else to do; set %s to a number of rounds", greyVariable)
	}
	need(t, "ip", "nft")
	seen := map[string]*spelt{}
	for _, election := range []string{patientElection, ""} {
		name := "election=default"
		if election != "" {
			name = "election=" + election
		}
		t.Run(name, func(t *testing.T) {
			n := layNine(t, true)
			if election != "" {
				for _, m := range n.members {
					m.extra = []string{"--election", election, "--heartbeat", "100ms"}
				}
			}
			n.begin()
			runners, all := n.runners(0, n.members...), &spelt{}
			for k := range rounds {
				all.add(n.spell(packetLoss, k, runners))
			}
			t.Logf("%s; %.2f elections in a minute", all, all.perMinute())
			seen[election] = all
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

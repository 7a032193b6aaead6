package replica

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// village is a crew whose members have addresses: of member 2 "h:2" and so on.
type village struct {
	*crew
	at map[byte]string // where the live ones are announced
}

func newVillage(t *testing.T, own string, voters []byte, learners ...byte) *village {
	t.Helper()
	c := conf(len(voters), voters, learners...)
	for i := range c.Members {
		m := &c.Members[i]
		n := m.ID[15]
		m.Name, m.Address = "m"+string('0'+n), "h:"+string('0'+n)
	}
	v := &village{newCrew(t, map[protocol.Index]protocol.Configuration{1: c}), map[byte]string{}}
	v.r.cfg.Policy, v.r.cfg.Address = true, own
	for _, n := range slices.Concat(voters, learners) {
		if n != 1 {
			v.at[n] = "h:" + string('0'+n)
		}
	}
	v.tell()
	return v
}

// tell has the membership say where everybody is.
func (v *village) tell() {
	var peers []protocol.Peer
	for n, address := range v.at {
		peers = append(peers, protocol.Peer{ID: id(n), Address: address, Role: protocol.RoleActive, Eligible: true})
	}
	v.r.SetPeers(v.now, peers)
}

// live lets time pass.
func (v *village) live(d time.Duration) {
	for end := v.now.Add(d); v.now < end; {
		v.pass(50 * time.Millisecond)
	}
}

// addresses are those of the configuration.
func (v *village) addresses() string {
	latest, _ := v.r.Configurations().Latest()
	var list []string
	for _, m := range latest.Configuration.Members {
		list = append(list, m.Address)
	}
	return strings.Join(list, " ")
}

// moves are the events that tell of one.
func (v *village) moves() (list []string) {
	for _, e := range v.events {
		if e.Kind == protocol.EventPolicy && strings.Contains(e.Text, "has moved") {
			text, _, _ := strings.Cut(e.Text, ", where")
			list = append(list, text)
		}
	}
	return list
}

// The configuration follows a voter, a learner and the leader itself, each in a
// change of its own that leaves everything else as it was, and says why; although
// seats change by hand only.
func TestConfigurationFollowsThoseWhoMoved(t *testing.T) {
	v := newVillage(t, "h:91", []byte{1, 2, 3}, 4)
	expect(t, "off", v.change(1, Change{Autopilot: &protocol.Autopilot{Off: true}}), protocol.OK)
	before, _ := v.r.Configurations().Latest()
	v.at[2], v.at[4] = "h:92", "h:94"
	v.tell()
	v.live(4 * time.Second)
	expect(t, "too early to tell", v.addresses(), "h:1 h:2 h:3 h:4")
	v.live(3 * time.Second)
	expect(t, "after a while", v.addresses(), "h:91 h:92 h:3 h:94")
	want := []string{"m1 has moved from h:1 to h:91", "m2 has moved from h:2 to h:92", "m4 has moved from h:4 to h:94"}
	got := v.moves()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got events %q, want %q", got, want)
	}
	last := before.Configuration
	for _, at := range v.r.Configurations().All() {
		if at.Index <= before.Index {
			continue
		}
		changed := 0
		for i, m := range at.Configuration.Members {
			if m.Address != last.Members[i].Address {
				changed++
			}
			m.Address = last.Members[i].Address
			last = last.With(m)
		}
		if changed != 1 || at.Configuration.Joint() || !slices.EqualFunc(last.Members, at.Configuration.Members, func(a, b protocol.ActiveMember) bool {
			return a.ID == b.ID && a.Suffrage == b.Suffrage && a.Name == b.Name
		}) || at.Configuration.Autopilot != before.Configuration.Autopilot {
			t.Errorf("%d addresses changed, and perhaps more: %+v", changed, at.Configuration)
		}
		last = at.Configuration
	}
	v.events = nil
	v.live(time.Minute)
	expect(t, "changes while nobody moves", len(v.moves()), 0)
}

// What the membership claims and nobody answers at is not entered, for as long as
// it may claim it.
func TestClaimedAddressThatDoesNotAnswerIsNotEntered(t *testing.T) {
	v := newVillage(t, "h:1", []byte{1, 2, 3})
	v.at[2] = "h:92"
	v.tell()
	v.silent[id(2)] = true // it is not there, and what goes there is lost
	v.live(10 * time.Minute)
	expect(t, "addresses", v.addresses(), "h:1 h:2 h:3")
	v.at[2] = "h:2" // it has refuted that
	v.tell()
	v.silent[id(2)] = false
	v.live(time.Minute)
	expect(t, "addresses", v.addresses(), "h:1 h:2 h:3")
	expect(t, "changes", len(v.moves()), 0)
}

// Two that claim one id do not make the configuration go to and fro: while the
// address alternates nothing is entered, and what is entered stays for a minute.
func TestTwoClaimsOfOneIDDoNotAlternate(t *testing.T) {
	v := newVillage(t, "h:1", []byte{1, 2, 3})
	for i := range 120 { // each for a second, also between two looks of the leader
		v.at[2] = []string{"h:2", "h:92", "h:82"}[i%3]
		v.tell()
		v.live(time.Second)
	}
	expect(t, "addresses", v.addresses(), "h:1 h:2 h:3")
	for range 40 {
		for _, v.at[2] = range []string{"h:92", "h:2", "h:92"} { // back and forth in no time
			v.tell()
		}
		v.live(time.Second)
	}
	expect(t, "addresses", v.addresses(), "h:1 h:2 h:3")
	for i := range 30 { // each for long enough
		v.at[2] = []string{"h:92", "h:82"}[i%2]
		v.tell()
		v.live(10 * time.Second)
	}
	if n := len(v.moves()); n < 2 || n > 5 {
		t.Errorf("%d changes in 5 minutes, want one a minute: %q", n, v.moves())
	}
}

// While another change is on its way nothing is entered, and afterwards it is.
func TestMoveWaitsForTheChangeInFlight(t *testing.T) {
	v := newVillage(t, "h:1", []byte{1, 2, 3}, 4)
	v.at[2] = "h:92"
	v.tell()
	v.live(4900 * time.Millisecond)
	v.silent[id(3)], v.silent[id(4)] = true, true
	v.r.Change(v.now, 9, Change{Version: 1, Promote: ids(4), Remove: ids(2)}) // takes a majority of {1,3,4}
	v.settle()
	v.live(700 * time.Millisecond)
	latest, _ := v.r.Configurations().Latest()
	if line, _ := latest.Configuration.Find(id(2)); !latest.Configuration.Joint() || line.Address != "h:2" {
		t.Fatalf("got %+v, want the joint configuration as it was asked for", latest)
	}
	v.silent[id(3)], v.silent[id(4)] = false, false
	v.at[3] = "h:93"
	v.tell()
	v.live(7 * time.Second)
	expect(t, "seats", v.configuration(), "m1 m3 m4")
	expect(t, "addresses", v.addresses(), "h:1 h:93 h:4")
}

package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// says has member 9 say what it holds, and lets time pass, several times.
func (c *crew) says(h protocol.Have, d time.Duration) {
	c.t.Helper()
	for end := c.now.Add(d); c.now < end; {
		x := h
		c.r.Receive(c.now, id(9), &x)
		c.pass(100 * time.Millisecond)
	}
}

// told returns the events that say who is ahead.
func (c *crew) told() (out []protocol.Event) {
	for _, e := range c.events {
		if e.Kind == protocol.EventAhead {
			out = append(out, e)
		}
	}
	return out
}

// All actives were put back to an old copy, a passive was not: the leader says so,
// once, and goes on.
func TestLeaderSaysWhoHoldsMoreThanItsLog(t *testing.T) {
	c := newCrew(t, threeVoters)
	long := (aheadElections + 1) * c.r.cfg.Active.Election
	last := c.r.log.logTerms().LastIndex()
	c.says(protocol.Have{First: 1, LastIndex: last, Applied: last}, long)
	expect(t, "told of a member that has what the leader has", len(c.told()), 0)
	c.says(protocol.Have{First: 1, LastIndex: last + 3, Applied: last + 3}, long/3)
	expect(t, "told at once", len(c.told()), 0)
	c.says(protocol.Have{First: 1, LastIndex: last + 3, Applied: last + 3}, 3*long)
	if got := c.told(); len(got) != 1 || got[0].Member != id(9) || got[0].Index != last+3 || !strings.Contains(got[0].Text, "starling recover") {
		t.Fatalf("told %v, want once, of 9 and %d", got, last+3)
	}
	if got, want := c.r.Status(c.now).Ahead, (Ahead{Member: id(9), Holds: last + 3, Ends: last}); len(got) != 1 || got[0] != want {
		t.Errorf("status says %+v, want %+v", got, want)
	}
	if !c.r.log.leads() {
		t.Error("it leads no more")
	}
	// A member of another history claims to hold nothing, and says why.
	c.says(protocol.Have{Applied: last + 3, Diverged: last + 1}, 2*long)
	if got := c.r.Status(c.now).Ahead; len(got) != 1 || got[0].Diverged != last+1 {
		t.Errorf("status says %+v, want that it differs at %d", got, last+1)
	}
	// It was started with an empty directory.
	c.says(protocol.Have{}, long)
	expect(t, "ahead when it has begun anew", len(c.r.Status(c.now).Ahead), 0)
}

// A member may say something else each time: it gets a line a minute for it.
func TestWhoClaimsToBeAheadFloodsNobody(t *testing.T) {
	c := newCrew(t, threeVoters)
	long := (aheadElections + 1) * c.r.cfg.Active.Election
	for n := range protocol.Index(8) {
		c.says(protocol.Have{First: 1, LastIndex: 1000 + n}, long)
		c.says(protocol.Have{First: 1, LastIndex: 1}, long)
	}
	if got := len(c.told()); got != 1 {
		t.Errorf("told %d times in %v, want once", got, 16*long)
	}
	c.says(protocol.Have{First: 1, LastIndex: 2000}, aheadPause+long)
	if got := c.told(); len(got) != 2 || got[1].Index != 2000 {
		t.Errorf("told %v, want it again after a while", got)
	}
}

// A leader that was deposed and has not heard of it sees members that are ahead of
// it, until its voters answer no more: that is no news.
func TestWhoIsAheadForAMomentIsNotReported(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.silent[id(2)], c.silent[id(3)] = true, true
	c.says(protocol.Have{First: 1, LastIndex: 1000}, 10*c.r.cfg.Active.Election)
	if c.r.log.leads() || len(c.told()) > 0 || len(c.r.Status(c.now).Ahead) > 0 {
		t.Errorf("leads %v, told %v", c.r.log.leads(), c.told())
	}
}

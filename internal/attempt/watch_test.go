package attempt

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// [S] A member's word on its state says nothing of a watch that has not come to the index of that word.
func TestAWatchIsNoYoungerThanWhatItHasTold(t *testing.T) {
	w := NewWatch(&protocol.Watch{}, 0, NewPause(1, 1))
	now := time.Now()
	word := func(i protocol.Index, age time.Duration) {
		w.Hear(protocol.Result{Index: i, AgeKnown: true, Age: int64(age)}, now)
	}
	told := func(i protocol.Index) protocol.Changes {
		c, _, _ := w.Told(protocol.Changes{Index: i}, now)
		return c
	}
	word(10, time.Second)
	if c := told(9); c.AgeKnown || w.Waits() {
		t.Errorf("at 9 it says that it is %v old, by a word about 10", time.Duration(c.Age))
	}
	now = now.Add(time.Minute)
	if c := told(10); !c.AgeKnown || time.Duration(c.Age) != time.Minute+time.Second {
		t.Errorf("at 10 it says %v (known: %t), want 1m1s", time.Duration(c.Age), c.AgeKnown)
	}
	word(10, time.Hour) // of an older member: the first word is as true as before
	if c := told(10); time.Duration(c.Age) != time.Minute+time.Second {
		t.Errorf("then it says %v, want 1m1s", time.Duration(c.Age))
	}
	word(20, 0)
	if !w.Ended(protocol.ErrUnavailable) || !w.Waits() {
		t.Error("a word of a member that the watch has left waits")
	}
}

// [S] A client that has seen an index is not told what came before it, by a member that is behind and takes that for
// "now"; and where it goes on is behind what it was told, whoever tells it.
func TestNowIsNotBeforeWhatAClientHasSeen(t *testing.T) {
	w, now := NewWatch(&protocol.Watch{}, 10, NewPause(1, 1)), time.Now()
	one := make([]protocol.Change, 1)
	if c, seen, news := w.Told(protocol.Changes{Index: 7}, now); !news || seen != 10 || c.Index != 10 {
		t.Errorf("it begins at %d (%t), and has seen %d, want 10", c.Index, news, seen)
	}
	if c, _, news := w.Told(protocol.Changes{Index: 10, Changes: one}, now); news {
		t.Errorf("a change of %d is told, which the client has seen", c.Index)
	}
	if _, seen, news := w.Told(protocol.Changes{Index: 11, Changes: one}, now); !news || seen != 11 || w.From() != 11 {
		t.Errorf("a change of 11 is told: %t; it has seen %d, and goes on behind %d", news, seen, w.From())
	}
	future := NewWatch(&protocol.Watch{From: 20}, 10, NewPause(1, 1))
	if _, seen, _ := future.Told(protocol.Changes{Index: 20}, now); seen != 0 {
		t.Errorf("by asking for 20 it has seen %d", seen)
	}
}

// The member that was found to be younger is asked first, until it takes no watch.
func TestAYoungMemberThatIsLostIsForgotten(t *testing.T) {
	e := NewEndpoints([]string{"a:1", "b:1", "c:1"}, protocol.ClusterID{}, 3)
	now := time.Now()
	s := NewSources(e, time.Second, 5*time.Second)
	young := protocol.Result{AgeKnown: true, Age: int64(2 * time.Second)}
	if s.Leave("a:1", 3*time.Second, "c:1", young, now) != nil || s.Leave("a:1", time.Hour, "c:1", protocol.Result{}, now) != nil {
		t.Error("a member is left for one that is as old, or does not know")
	}
	if s.Leave("a:1", 6*time.Second, "c:1", young, now) == nil {
		t.Fatal("a member that is old is not left for a younger one")
	}
	o := s.Open(now)
	if first, _ := o.Next(); first != "c:1" {
		t.Errorf("%q is asked first, want the younger one", first)
	}
	if over, err := o.Took(now, "c:1", protocol.ErrNotServing, nil); over {
		t.Errorf("nobody else is asked: %v", err)
	}
	if o = s.Open(now.Add(2 * time.Second)); o.order[0] == "c:1" || o.order[2] != "a:1" {
		t.Errorf("then the order is %v, want the one that took no watch in its turn, and the old one last", o.order)
	}
}

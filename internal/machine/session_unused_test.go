package machine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

func (l *local) at(d time.Duration) {
	l.time = protocol.ClusterTime(d)
	l.noopTick()
}

// Who opens sessions of an hour and dies holds their places for a short time, and
// who has used its session keeps it.
func TestUnusedSessionsEndSoon(t *testing.T) {
	l := newLocal(t, journal)
	used := l.open(t, time.Hour)
	l.note(used, 1, 1, "x")
	for range 1000 {
		l.open(t, time.Hour)
	}
	short := l.open(t, 2*time.Second)
	kept := l.open(t, time.Hour)
	l.at(2 * time.Second)
	if l.m.HasSession(short) || !l.m.HasSession(kept) || !l.m.HasSession(used) {
		t.Error("a session that was not used lasts for its timeout if that is shorter")
	}
	l.at(protocol.SessionUnusedMax - 1)
	if got, want := l.m.Stats().Sessions, 1002; got != want {
		t.Errorf("got %d sessions, want %d", got, want)
	}
	if r := l.send(sessionop.KeepAlive(kept, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	l.at(protocol.SessionUnusedMax)
	if got, want := l.m.Stats().Sessions, 2; got != want {
		t.Errorf("got %d sessions, want %d: the used one, and the one kept alive", got, want)
	}
	l.time = protocol.ClusterTime(protocol.SessionUnusedMax + time.Second)
	if r := l.note(kept, 1, 1, "x"); r.Err() != nil {
		t.Error(r.Err())
	}
	l.at(time.Hour - 1)
	for _, id := range []protocol.SessionID{used, kept} {
		if !l.m.HasSession(id) {
			t.Errorf("session %d was used and has ended before its timeout", id)
		}
	}
	l.at(time.Hour)
	if l.m.HasSession(used) || !l.m.HasSession(kept) {
		t.Error("a used session lasts for its timeout from its last extension")
	}
}

// In a cluster that is full, the oldest session without a command ends for a new
// one, and none that was used.
func TestUnusedSessionsGiveWay(t *testing.T) {
	l := newLocal(t, journal)
	first := l.open(t, time.Hour)
	l.note(first, 1, 1, "x")
	idle := l.open(t, time.Hour)
	for range protocol.SessionsMax - 2 {
		r := l.send(sessionop.Open(time.Hour))
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	next := l.open(t, time.Hour)
	if !l.m.HasSession(first) || l.m.HasSession(idle) || !l.m.HasSession(next) || !l.m.HasSession(idle+1) {
		t.Errorf("got used %t, oldest unused %t, new %t, second %t", l.m.HasSession(first), l.m.HasSession(idle), l.m.HasSession(next), l.m.HasSession(idle+1))
	}
	if got := l.m.Stats().Sessions; got != protocol.SessionsMax {
		t.Errorf("got %d sessions, want %d", got, protocol.SessionsMax)
	}
}

// A member that begins with a checkpoint ends sessions when the others do.
func TestUnusedSessionsEndAfterARestartAlike(t *testing.T) {
	l := newLocal(t, journal)
	unused := l.open(t, time.Hour)
	used := l.open(t, time.Hour)
	l.note(used, 1, 1, "x")
	raised := l.open(t, time.Hour)
	l.note(raised, 1, 1, "x")
	if r := l.send(sessionop.KeepAlive(raised, 2)); r.Err() != nil {
		t.Error(r.Err())
	}
	again := loadOf(t, l)
	if got, want := again.m.NextDeadline(), l.m.NextDeadline(); got != want {
		t.Errorf("got the next deadline %v, want %v", got, want)
	}
	for _, one := range []*local{l, again} {
		one.at(protocol.SessionUnusedMax)
		got := fmt.Sprint(one.m.HasSession(unused), one.m.HasSession(used), one.m.HasSession(raised))
		if want := "false true true"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	i, a := l.m.Digest()
	if j, b := again.m.Digest(); i != j || a != b {
		t.Errorf("the states differ at %d and %d: %v, %v", i, j, a, b)
	}
	full, next := l.open(t, time.Hour), again.open(t, time.Hour)
	if full != next {
		t.Errorf("got session %d, want %d", next, full)
	}
}

// loadOf is a member that begins with a checkpoint of another one.
func loadOf(t *testing.T, from *local) *local {
	t.Helper()
	s := from.m.Snapshot()
	defer s.Close()
	l := newLocal(t, journal)
	l.m.Install(loaderOf(t, l.m, s))
	l.time = from.time
	return l
}

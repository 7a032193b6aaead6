package machine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

func kept(id protocol.SessionID, floor uint64) sessionop.Kept {
	return sessionop.Kept{Session: id, Floor: floor}
}

// TestKeepAlivesGathered: one entry does what single keep-alives one after the
// other would, and tells which sessions are gone.
func TestKeepAlivesGathered(t *testing.T) {
	var machines [2]*local
	var gone [2][]int
	for i := range machines {
		l := newLocal(t, journal)
		machines[i] = l
		var ids []protocol.SessionID
		for range 5 {
			ids = append(ids, l.open(t, 10*time.Second))
		}
		for q := uint64(1); q <= 4; q++ {
			l.note(ids[0], q, 1, "x")
		}
		l.send(sessionop.Close(ids[3]))
		for l.m.Applied() < 20 {
			l.noop()
		}
		l.time = protocol.ClusterTime(3 * time.Second)
		list := []sessionop.Kept{
			kept(77, 1), kept(ids[0], 3), kept(ids[1], 1), kept(ids[3], 1), kept(ids[0], 2), kept(0, 0), kept(ids[4], protocol.SequenceMax),
		}
		if i == 0 {
			r := l.send(sessionop.KeepAliveMany(list))
			var err error
			if gone[0], err = sessionop.Expired(&r); err != nil {
				t.Fatal(err)
			}
		} else {
			for k, one := range list {
				if r := l.send(sessionop.KeepAlive(one.Session, one.Floor)); errors.Is(r.Err(), protocol.ErrSessionExpired) {
					gone[1] = append(gone[1], k)
				} else if r.Err() != nil {
					t.Fatal(r.Err())
				}
			}
		}
		wantCode(t, "below the floor that was told", l.note(ids[0], 2, 2, "x"), protocol.ErrStaleSequence)
		l.time = protocol.ClusterTime(10 * time.Second)
		l.noopTick()
		if got, want := l.m.Stats().Sessions, 3; got != want {
			t.Errorf("got %d sessions, want the %d that were kept alive", got, want)
		}
		if got, want := l.m.NextDeadline(), protocol.ClusterTime(13*time.Second); got != want {
			t.Errorf("got deadline %v, want %v", got, want)
		}
	}
	if want := []int{0, 3, 5}; !slices.Equal(gone[0], want) || !slices.Equal(gone[1], want) {
		t.Errorf("gone: got %v and %v, want %v", gone[0], gone[1], want)
	}
	a, b := machines[0].m.Stats(), machines[1].m.Stats()
	if a.Keys != b.Keys || a.Bytes != b.Bytes {
		t.Errorf("together: %d keys, %d bytes; one by one: %d and %d", a.Keys, a.Bytes, b.Keys, b.Bytes)
	}
}

func (l *local) noopTick() { l.m.Apply([]protocol.Entry{l.entry(protocol.EntryTick, nil)}, nil) }

// TestKeepAlivesGatheredAreAllOrNone: a list that is over a limit keeps nobody
// alive, on any member, and stops none.
func TestKeepAlivesGatheredAreAllOrNone(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 10*time.Second)
	l.time = protocol.ClusterTime(time.Second)
	many := func(n int) protocol.Command {
		return sessionop.KeepAliveMany(slices.Repeat([]sessionop.Kept{kept(id, 1)}, n))
	}
	malformed := many(1)
	malformed.Argument = append(malformed.Argument, 0x80)
	half := many(1)
	half.Argument = half.Argument[:1]
	for what, c := range map[string]protocol.Command{
		"none": many(0), "too many": many(protocol.SessionKeepAlivesMax + 1), "malformed": malformed, "half": half,
		"floor": sessionop.KeepAliveMany([]sessionop.Kept{kept(id, 1), kept(id, protocol.SequenceMax+1)}),
	} {
		r := l.send(c)
		if places, err := sessionop.Expired(&r); err == nil || l.m.Stopped() != nil {
			t.Errorf("%s: got %v, stopped: %v, want an error answer", what, places, l.m.Stopped())
		}
		if got, want := l.m.NextDeadline(), protocol.ClusterTime(10*time.Second); got != want {
			t.Errorf("%s: got deadline %v, want %v", what, got, want)
		}
	}
	full := many(protocol.SessionKeepAlivesMax)
	if err := l.m.Check(&full); err != nil {
		t.Errorf("the most there can be: %v", err)
	}
	if r := l.send(full); r.Err() != nil || l.m.NextDeadline() != protocol.ClusterTime(11*time.Second) {
		t.Errorf("the most there can be: %v, deadline %v", r.Err(), l.m.NextDeadline())
	}
	if data := protocol.EncodeCommand(&full); len(data) > protocol.EntryBytesMax/2 {
		t.Errorf("got %d bytes, too many for an entry", len(data))
	}
}

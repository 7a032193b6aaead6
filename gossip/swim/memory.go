package swim

import (
	"net"
	"net/netip"
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/protocol"
)

// Known is a member that was heard once, or is named by the configuration.
type Known struct {
	ID   protocol.MemberID
	Name string
	Role protocol.Role
	// Address is host:port as the member announces it, or as the configuration
	// has it. The host may be a name; it is resolved at each try.
	Address string
	// Number is the address at which it was heard last; empty: it is not known.
	Number string
	// Heard is when it was last heard, now for one that is; zero: never.
	Heard time.Time
	// Named says that the configuration names it: it is not forgotten.
	Named bool
}

// now is the time as the core counts it: nanoseconds, which go on evenly from the wall
// clock's at the start, so that what an earlier run remembers compares with them.
func (s *Swim) now() protocol.Instant { return s.instant(time.Now()) }

func (s *Swim) instant(t time.Time) protocol.Instant {
	return protocol.Instant(s.started.UnixNano()).Add(t.Sub(s.started))
}

// toCore returns members as the core knows them, and fromCore the other way round. A wall
// clock that is set meanwhile moves what fromCore returns, so that what is written down is
// right by the clock of then; and nobody was heard in the future.
func (s *Swim) toCore(list []Known) (out []reunion.Known) {
	for _, k := range list {
		c := reunion.Known{ID: k.ID, Name: k.Name, Role: k.Role, Address: k.Address, Number: k.Number, Named: k.Named}
		if !k.Heard.IsZero() {
			c.Heard = min(s.instant(k.Heard), s.now())
		}
		out = append(out, c)
	}
	return out
}

func (s *Swim) fromCore(list []reunion.Known) []Known {
	out, now := make([]Known, 0, len(list)), time.Now()
	for _, c := range list {
		k := Known{ID: c.ID, Name: c.Name, Role: c.Role, Address: c.Address, Number: c.Number, Named: c.Named}
		if c.Heard != 0 {
			k.Heard = now.Add(c.Heard.Sub(s.instant(now)))
		}
		out = append(out, k)
	}
	return out
}

// release ends a change of the flock: Swim.mu is held.
func (s *Swim) release() {
	s.missing.Store(int64(s.flock.Missing()))
	s.mu.Unlock()
}

// Unheard returns the members that should be heard and are not, those heard last
// first: who died, was cut off, or is named by the configuration and was not
// found so far. Who has left is not among them, nor who was removed.
func (s *Swim) Unheard() []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fromCore(s.flock.Unheard())
}

// Remembered returns whom to know at the next start, at most 1,024: those that
// are not heard first, but so that half of it at least is left for the others.
func (s *Swim) Remembered() []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fromCore(s.flock.Remembered(s.now()))
}

// Name says whom the configuration names: they are looked for until they are
// heard, whether this member ever knew them or not.
func (s *Swim) Name(c *protocol.Configuration) {
	s.mu.Lock()
	defer s.release()
	s.flock.Name(reunion.Seats(c))
}

// Forget says that a member is not expected back: it was removed. If it is heard
// again it is known again.
func (s *Swim) Forget(id protocol.MemberID) {
	s.mu.Lock()
	defer s.release()
	s.flock.Forget(id)
}

// isNumber reports whether a host is an IP address, which may have a zone.
func isNumber(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// named returns an address whose host is a name, or else nothing.
func named(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || isNumber(host) {
		return ""
	}
	return address
}

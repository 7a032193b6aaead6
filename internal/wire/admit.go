package wire

import (
	"container/list"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

const (
	// sameMemberMax is how many streams one member id has at once: the one in use,
	// and one that its own side has given up and this side has not missed yet.
	sameMemberMax = 2
	// shakeMin is the time that a handshake gets in any case. The first bytes of an
	// honest one are there as soon as the connection is.
	shakeMin = 50 * time.Millisecond
	// goodbyeMax bounds how long a client whose stream ends is waited for to take the
	// word that says why.
	goodbyeMax = time.Second
)

// Drops counts what a server has given up in favour of somebody else.
type Drops struct {
	// Handshakes, Frames: those that were unfinished for longest. Members, Clients:
	// streams on which nothing had come for longest.
	Handshakes, Frames, Members, Clients uint64
}

// drops are Drops for many goroutines.
type drops struct{ handshakes, members, clients atomic.Uint64 }

// Drops returns what was given up so far.
func (s *Server) Drops() Drops {
	return Drops{
		Handshakes: s.drops.handshakes.Load(), Frames: s.budget.dropped.Load(),
		Members: s.drops.members.Load(), Clients: s.drops.clients.Load(),
	}
}

// place is what an accepted connection takes up of a server's slots. Who finds
// all slots taken never waits for their holders: the one that has needed its slot
// for longest without use gives way. Whoever comes to sit in slots is older than
// who comes to use them.
//
// It is guarded by the server's lock.
type place struct {
	conn     net.Conn // as it was accepted
	began    time.Time
	shaking  *list.Element   // in one of the server's lists, until the handshake is over
	over     context.Context // ends with the handshake, its time, or the server
	end      context.CancelFunc
	favoured bool // for its address while it shakes hands, for its id then
	gone     bool // it has given way
	member   protocol.MemberID
	stream   *Conn         // of a member, once there is one
	client   *clientStream // of a client, once there is one
}

// enter gives a connection a place among the handshakes, nil if the server ends.
// While all slots are taken by handshakes that have just begun it waits, and so do
// those that come after in the kernel's queue, in their order: who floods gains no
// more turns by being fast, and each gets the time that a handshake takes.
func (s *Server) enter(conn net.Conn) *place {
	p := &place{conn: conn, began: time.Now(), favoured: s.favoursAddress(security.Who(conn))}
	for {
		wait, ended := s.tryEnter(p)
		if ended {
			return nil
		}
		if wait <= 0 {
			return p
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.freed:
		case <-s.ending:
		}
		timer.Stop()
	}
}

// tryEnter takes a slot, or says after how long it should be tried again.
func (s *Server) tryEnter(p *place) (wait time.Duration, ended bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, true
	}
	victim := s.oldestFor(p)
	if victim != nil {
		if wait := shakeMin - time.Since(victim.began); wait > 0 {
			s.mu.Unlock()
			return wait, false
		}
		victim.gone = true
		s.shaken(victim)
		s.drops.handshakes.Add(1)
	}
	p.began = time.Now()
	p.over, p.end = context.WithTimeout(context.Background(), s.cfg.HandshakeTimeout)
	p.shaking = s.shakingOf(p).PushBack(p)
	s.places[p] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	if victim != nil {
		s.cfg.Logger.Debug("the oldest unfinished handshake gives way to a newer one", "from", victim.conn.RemoteAddr())
		_ = victim.conn.Close()
	}
	return 0, false
}

// oldestFor returns whose slot a newcomer needs, nil if there is a free one.
// Addresses that are favoured have a half of the slots, others never less than the
// other half. The lock is held.
func (s *Server) oldestFor(p *place) *place {
	others, favoured := &s.shaking[0], &s.shaking[1]
	n, half := favoured.Len(), s.cfg.HandshakesMax/2
	if n+others.Len() < s.cfg.HandshakesMax {
		return nil
	}
	from := others
	if others.Len() == 0 || n > half || n == half && n > 0 && p.favoured {
		from = favoured
	}
	return from.Front().Value.(*place)
}

func (s *Server) favoursAddress(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	return ok && s.cfg.FavoursAddress != nil && s.cfg.FavoursAddress(tcp.AddrPort().Addr().Unmap())
}

// shaken frees the slot of a handshake, if the place holds one. The lock is held.
func (s *Server) shaken(p *place) {
	if p.shaking == nil {
		return
	}
	s.shakingOf(p).Remove(p.shaking)
	p.shaking = nil
	p.end()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// shakingOf returns the list in which a handshake is counted.
func (s *Server) shakingOf(p *place) *list.List {
	if p.favoured {
		return &s.shaking[1]
	}
	return &s.shaking[0]
}

// leave frees everything that a connection has taken up.
func (s *Server) leave(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shaken(p)
	delete(s.places, p)
	delete(s.members, p)
	delete(s.clients, p)
}

// admit decides whether the stream may stay, and gives it a place among those of
// its kind if so.
func (s *Server) admit(p *place, stream *memberStream) (version uint8, err error) {
	peer, in := stream.peer, s.inbound
	host := handshake.Host{Own: s.cfg.Hello(), Welcome: func(peer protocol.Hello) error {
		return s.cfg.Handler.Welcome(peer, security.Who(p.conn))
	}}
	if in.Holders != nil {
		w := in.wait(peer, p.over.Done())
		defer w.ticker.Stop()
		defer in.waitsNoMore(stream)
		host.Enter = func(protocol.Hello) (handshake.Rival, error) { return in.tryEnter(w, stream) }
		host.Leave = func(protocol.Hello) { in.leave(stream) }
	}
	version, err = host.Answer(peer)
	if err != nil {
		return 0, err
	}
	if !peer.Member.IsZero() && in.Holders != nil && in.Entered != nil {
		in.Entered(peer.Member, peer.Run)
	}
	return version, s.seat(p, peer.Member)
}

// seat gives a stream a place among those of its kind.
func (s *Server) seat(p *place, member protocol.MemberID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.gone {
		return protocol.ErrOverloaded.With("too many connections are being opened; try again")
	}
	s.shaken(p)
	if member.IsZero() {
		return s.admitClient(p)
	}
	return s.admitMember(p, member)
}

// admitMember gives a member's stream a place. One of the configuration finds one
// as long as the configuration fits into the share that is kept for it; of each
// id there are few. The lock is held.
func (s *Server) admitMember(p *place, id protocol.MemberID) error {
	p.member, p.favoured = id, s.favours(id)
	var same, strangers int
	for q := range s.members {
		if q.member == id {
			same++
		}
		if !q.favoured {
			strangers++
		}
	}
	var victim *place
	switch full := len(s.members) >= s.cfg.MembersMax; {
	case same >= sameMemberMax:
		victim = s.quietest(func(q *place) bool { return q.member == id })
	case full || !p.favoured && strangers >= s.cfg.MembersMax-s.cfg.memberShare():
		victim = s.quietest(func(q *place) bool { return !q.favoured })
	default:
		s.members[p] = struct{}{}
		return nil
	}
	if victim == nil {
		return protocol.ErrOverloaded.With(fmt.Sprintf("this member has %d streams of members, its limit; try again", len(s.members)))
	}
	victim.gone = true
	delete(s.members, victim)
	s.members[p] = struct{}{}
	s.drops.members.Add(1)
	s.cfg.Logger.Debug("a member's stream gives way to a newer one", "member", victim.member.Short(), "from", victim.conn.RemoteAddr())
	victim.stream.fail(protocol.ErrClosed.With("this stream was silent for longest, and gives way to a newer one"))
	return nil
}

// memberShare is how many streams of members are kept for the configuration: it
// names few, and no configuration needs more than an eighth of the default.
func (cfg *ServerConfig) memberShare() int {
	return min(cfg.MembersMax/2, sameMemberMax*protocol.ActivesMax)
}

func (s *Server) favours(id protocol.MemberID) bool {
	return !id.IsZero() && s.cfg.Favours != nil && s.cfg.Favours(id)
}

// quietest returns the member's stream, of those asked for, on which nothing has
// come for longest. The lock is held.
func (s *Server) quietest(of func(*place) bool) *place {
	var found *place
	for q := range s.members { // order does not matter: the least
		if q.stream != nil && of(q) && (found == nil || q.stream.heard.Load() < found.stream.heard.Load()) {
			found = q
		}
	}
	return found
}

// admitClient gives a client's stream a place. The lock is held.
func (s *Server) admitClient(p *place) error {
	if len(s.clients) >= s.cfg.ClientsMax {
		victim := s.idlest()
		if victim == nil {
			return protocol.ErrOverloaded.With(fmt.Sprintf(
				"this member has %d clients, its limit, and none of them is idle just now; try another member", len(s.clients)))
		}
		victim.gone = true
		delete(s.clients, victim)
		s.drops.clients.Add(1)
		s.cfg.Logger.Debug("an idle client gives way to a newer one", "from", victim.conn.RemoteAddr())
		s.wg.Go(victim.client.sayGoodbye)
	}
	s.clients[p] = struct{}{}
	return nil
}

// idlest retires the client's stream that has been idle for longest, one that
// holds no session before all that do, and returns its place. A watch, and a
// request in flight, keep a stream. The lock is held.
func (s *Server) idlest() *place {
	for {
		var found *place
		var least idleness
		for q := range s.clients { // order does not matter: the least
			if q.client == nil {
				continue
			}
			if is, idle := q.client.idleness(); idle && (found == nil || is.before(least)) {
				found, least = q, is
			}
		}
		if found == nil || found.client.retire() {
			return found
		}
	}
}

// idleness is how little a client's stream would be missed.
type idleness struct {
	session bool
	since   time.Time
}

func (i idleness) before(other idleness) bool {
	if i.session != other.session {
		return other.session
	}
	return i.since.Before(other.since)
}

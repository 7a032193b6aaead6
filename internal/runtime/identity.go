package runtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// hello is how this member introduces itself.
func (m *Member) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: m.identity.Cluster, Member: m.identity.Member, Name: m.identity.Name,
		Starts: m.identity.Starts, Run: m.run, Sequence: m.log.DurableSequence(),
	}
}

// standing is what this member says of its directory on streams that last.
func (m *Member) standing() *protocol.Standing {
	return &protocol.Standing{Starts: m.identity.Starts, Run: m.run, Sequence: m.log.DurableSequence()}
}

// answerPatience is the least time that another run of a member is given to answer
// for. A machine that is busy must not make a member past whose copy is started: it
// would be refused for good. Only a restart whose host has vanished waits for it.
const answerPatience = 2 * time.Second

// answersWithin is how long a run may take to answer, when another run of the same
// member comes.
func (m *Member) answersWithin() time.Duration {
	return max(m.cfg.activeConfig().Election, answerPatience)
}

// handshakePatience bounds a handshake beside the time for which another run is
// waited for.
const handshakePatience = 5 * time.Second

// wireOptions are those of streams between members, at both ends.
func (m *Member) wireOptions() wire.Options {
	return wire.Options{HandshakeTimeout: handshakePatience + m.answersWithin()}
}

// identityRule lets one run of each member in. Links to another run than that are
// made anew.
func (m *Member) identityRule(t *transport) wire.Identity {
	return wire.Identity{
		Holders: &replica.Holders{}, Patience: m.answersWithin(),
		Twin: func(peer protocol.Hello, from net.Addr) error {
			return replica.Twin(peer, m.whereIs(peer.Member, from))
		},
		Overtaken: replica.Overtaken,
		Entered: func(id protocol.MemberID, run protocol.RunID) {
			t.box.complete(func(now protocol.Instant) {
				t.renew(id, run)
				if m.replica != nil { // while the log is mended there is none
					m.replica.LetIn(now, id, run)
				}
			})
		},
	}
}

// whereIs says where a member is, for people: where the log or the membership has
// it, and where its stream comes from.
func (m *Member) whereIs(id protocol.MemberID, from net.Addr) string {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	line, _ := m.configuration().Find(id)
	// The membership knows where the one that answers is: the configuration may have
	// the newcomer's own address.
	if at := cmp.Or(m.addressOf(id), line.Address); at != "" {
		return at + " (a stream of it comes from " + host + ")"
	}
	return host
}

// configuration is the latest one in this member's log. Any goroutine may ask.
func (m *Member) configuration() protocol.Configuration {
	if c := m.configured.Load(); c != nil {
		return *c
	}
	return protocol.Configuration{}
}

// isConfigured reports whether an address is that which the latest configuration in
// this member's log has for a member.
func (m *Member) isConfigured(id protocol.MemberID, address string) bool {
	line, named := m.configuration().Find(id)
	return named && line.Address != "" && line.Address == address
}

// sightings is replica.Sightings for many goroutines, and for more than one run:
// what it remembers it can write down.
type sightings struct {
	mu   sync.Mutex
	seen replica.Sightings
	// last is what was heard of each, and heard counts that. What of it is not
	// in the file is fresh, a start that was not known, or merely changed, a log
	// that has grown.
	last           map[protocol.MemberID]sighting
	heard          uint64
	fresh, changed bool
	written        protocol.Instant // when the file was
}

// sighting is what a member has said of its directory, and when.
type sighting struct {
	starts   uint64
	run      protocol.RunID
	sequence protocol.Sequence
	heard    uint64
}

func newSightings() *sightings { return &sightings{last: map[protocol.MemberID]sighting{}} }

// note remembers what s.seen has just taken. The lock is held.
func (s *sightings) note(id protocol.MemberID, starts uint64, run protocol.RunID, sequence protocol.Sequence) {
	last := s.last[id]
	same := last.starts == starts && last.run == run
	if same {
		sequence = max(sequence, last.sequence)
	}
	s.heard++
	s.fresh, s.changed = s.fresh || !same, s.changed || sequence > last.sequence
	s.last[id] = sighting{starts, run, sequence, s.heard}
	if len(s.last) >= 2*sightingsMax {
		s.forget()
	}
}

// forget drops those not heard for longest, as the file does: members come and
// go for years, each new one with an id of its own.
func (s *sightings) forget() {
	heard := make([]uint64, 0, len(s.last))
	for _, last := range s.last { // order does not matter: sorted below
		heard = append(heard, last.heard)
	}
	slices.Sort(heard)
	oldest := heard[len(heard)-sightingsMax]
	for id, last := range s.last { // order does not matter: each by itself
		if last.heard < oldest {
			delete(s.last, id)
			s.seen.Forget(id)
		}
	}
}

// hears remembers what a member says of its directory while it runs, and reports
// whether it had met that run. The caller has dialled it at its configured address.
func (s *sightings) hears(from protocol.MemberID, m *protocol.Standing) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Hears(from, m)
	last, known := s.last[from]
	known = known && last.starts == m.Starts && last.run == m.Run
	if known {
		s.note(from, m.Starts, m.Run, m.Sequence)
	}
	return known
}

// condemn has a run refused that has proven to its leader that its directory was put
// back.
func (s *sightings) condemn(id protocol.MemberID, run protocol.RunID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Condemn(id, run)
}

// check refuses a member whose directory has gone back.
func (s *sightings) check(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Check(peer)
}

// meet is check of a member that was dialled at its configured address: what it says
// is remembered.
func (s *sightings) meet(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.seen.Check(peer); err != nil {
		return err
	}
	s.seen.Raise(peer)
	s.note(peer.Member, peer.Starts, peer.Run, peer.Sequence)
	return nil
}

// ourRefusal is our own refusal of another member, as opposed to its refusal of
// us.
type ourRefusal struct{ error }

// Unwrap returns the refusal.
func (e ourRefusal) Unwrap() error { return e.error }

// checkPeer judges the member that answers a link of ours.
func (m *Member) checkPeer(address string, peer protocol.Hello) error {
	err := m.server.Vet(peer)
	switch {
	case err != nil:
	case m.isConfigured(peer.Member, address):
		err = m.seen.meet(peer)
	default:
		err = m.seen.check(peer)
	}
	if replica.Refused(err) {
		return ourRefusal{err}
	}
	return err
}

// linkSays takes what a member says on a link of ours of its directory. The link may
// be older than the configuration that names the member: then it is met now.
func (m *Member) linkSays(from protocol.MemberID, address string, standing *protocol.Standing) {
	if !m.isConfigured(from, address) || m.seen.hears(from, standing) {
		return
	}
	peer := protocol.Hello{Member: from, Starts: standing.Starts, Run: standing.Run, Sequence: standing.Sequence}
	if line, named := m.configuration().Find(from); named {
		peer.Name = line.Name
	}
	if err := m.seen.meet(peer); err != nil {
		m.logger.Debug("what a member says of its directory", "member", from.Short(), "err", err)
	}
}

// condemn refuses a run whose answers to this leader prove that its directory was
// put back: its streams end, and it is told why when it dials again.
func (m *Member) condemn(back protocol.RunOf) {
	m.seen.condemn(back.Member, back.Run)
	m.server.Expel(back.Member, back.Run, protocol.ErrClosed.With("the member's directory was put back"))
	m.transport.renew(back.Member, 0)
}

// linkState hears that a link to another member has ended, or how an attempt to
// make one went.
func (m *Member) linkState(to protocol.MemberID, address string, err error) {
	if err == nil {
		return
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.LinkLost(now, to) })
	if errors.Is(err, protocol.ErrWrongCluster) && m.refusalsSaid.news(to, err.Error()) {
		m.logger.Warn("a member of this cluster belongs to another one now: if a new cluster was begun, move this directory away and join that one with an empty directory",
			"member", to.Short(), "address", address, "err", err)
	}
	m.refusal(m.mailbox, to, address, err, m.fail)
}

// refused says whom the server has refused, once for each reason.
func (m *Member) refused(peer protocol.Hello, from net.Addr, err error) {
	level, text := slog.LevelInfo, "refused"
	if replica.Refused(err) {
		level, text = slog.LevelError, "another member is refused"
	}
	if peer.Member.IsZero() || !m.refusalsSaid.news(peer.Member, err.Error()) {
		level = slog.LevelDebug
	}
	m.logger.Log(context.Background(), level, text, "from", from, "peer", peer.Member.Short(), "name", peer.Name, "err", err)
}

// touchEvery is how often keepInTouch is called.
const touchEvery = time.Second

// keepInTouch keeps the streams that the rule of one run
// for each id needs, and says on those that came how far this member's directory is.
// Only the loop calls it, or
// that of mending.
//
// [S] Members that the latest configuration names keep a stream to each other.
// Followers have nothing to say to each other most of the time, and would welcome a
// copy of a third. Others shake hands with those once after their start, so that
// they can be refused: what the actives do must not grow with the flock.
func (m *Member) keepInTouch() {
	conf := m.configuration()
	if conf.Names(m.identity.Member) {
		m.transport.keep(conf)
	}
	m.server.Tell(m.standing(), conf.Names)
}

// greetOnce has a member that the configuration does not name shake hands with those
// that it names, once. Only the loop calls it.
func (m *Member) greetOnce() {
	conf := m.configuration()
	if m.greeted || len(conf.Members) == 0 {
		return
	}
	m.greeted = true
	if !conf.Names(m.identity.Member) {
		m.workers.Add(1)
		go m.greet(conf)
	}
}

// greet shakes hands once with each member that a configuration names.
func (m *Member) greet(conf protocol.Configuration) {
	defer m.workers.Done()
	for _, a := range conf.Members {
		if a.Address == "" || m.life.Err() != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(m.life, handshakePatience+m.answersWithin())
		err := wire.Greet(ctx, wire.PeerConfig{ID: a.ID, Address: a.Address, Hello: m.hello, Check: m.checkPeer, Options: m.wireOptions()}, nil)
		cancel()
		if err != nil {
			m.logger.Debug("shaking hands after the start", "with", a.Name, "err", err)
			m.refusal(m.mailbox, a.ID, a.Address, err, m.fail)
		}
	}
}

// once says each thing of a member once, until another thing is said of it.
type once struct {
	mu   sync.Mutex
	said map[protocol.MemberID]string
}

// onceMax bounds of how many members is remembered what was said.
const onceMax = 4096

// news reports whether a text about a member was not the last one.
func (o *once) news(id protocol.MemberID, text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.said[id] == text {
		return false
	}
	if o.said == nil || len(o.said) >= onceMax {
		o.said = map[protocol.MemberID]string{}
	}
	o.said[id] = text
	return true
}

// refusal takes an error of a link. If it is a refusal of this member's directory,
// the loop of box weighs it, and calls stop if the member must end.
func (m *Member) refusal(box *mailbox, by protocol.MemberID, address string, err error, stop func(error)) {
	if !replica.Refused(err) {
		return
	}
	if ours := (ourRefusal{}); errors.As(err, &ours) {
		if m.refusalsSaid.news(by, err.Error()) {
			m.logger.Error("another member is refused", "err", err)
		}
		return
	}
	box.complete(func(protocol.Instant) {
		if why := m.hearRefusal(by, address, err); why != nil {
			stop(why)
		}
	})
}

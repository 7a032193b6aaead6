package runtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// hello is how this member introduces itself.
func (m *Member) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: m.identity.Cluster, Member: m.identity.Member, Name: m.identity.Name,
		Starts: m.identity.Starts, Run: m.run, Sequence: m.log.Opened().Sequence,
	}
}

// directories is a member's part in one id having one run and one history: what it
// has seen of the others' directories, what they say of its own, and whether two hold
// one id. Any goroutine may use it, but for what is the loop's, or that of the repair.
type directories struct {
	m    *Member
	seen member.Watermarks
	// refusals and greeted are the loop's.
	refusals     replica.Refusals
	greeted      bool
	barred       atomic.Pointer[bar]
	refusalsSaid once // what the log says of refusals
	twins        twins
	// elsewhere is where a member was met that belongs to another cluster.
	elsewhere atomic.Pointer[string]
}

func newDirectories(m *Member) *directories { return &directories{m: m} }

// watermark is what this member says of its directory on streams that last.
func (d *directories) watermark() *protocol.Watermark {
	return &protocol.Watermark{Starts: d.m.identity.Starts, Run: d.m.run, Sequence: d.m.log.DurableSequence()}
}

// answerPatience is the least time that another run of a member is given to answer
// for. A machine that is busy must not make a member past whose copy is started: it
// would be refused for good. Only a restart whose host has vanished waits for it.
const answerPatience = 2 * time.Second

// answersWithin is how long a run may take to answer, when another run of the same
// member comes.
func (d *directories) answersWithin() time.Duration {
	return max(d.m.cfg.activeConfig().Election, answerPatience)
}

// handshakePatience bounds a handshake beside the time for which another run is
// waited for.
const handshakePatience = 5 * time.Second

// signPatience is the least time that a member is given to answer a ping on a stream: longer
// than one that is well stands still.
const signPatience = time.Second

// wireOptions are those of streams between members, at both ends.
func (d *directories) wireOptions() wire.Options {
	return wire.Options{
		HandshakeTimeout: handshakePatience + d.answersWithin(),
		SignTimeout:      max(2*d.m.cfg.activeConfig().Election, signPatience),
	}
}

// identityRule lets one run of each member in. Links to another run than that are
// made anew.
func (d *directories) identityRule(t *transport) wire.Identity {
	return wire.Identity{
		Holders: &handshake.Holders{}, Patience: d.answersWithin(), WhereIs: d.whereIs,
		Entered: func(id protocol.MemberID, run protocol.RunID) {
			t.box.complete(func(now protocol.Instant) {
				t.renew(id, run)
				if d.m.replica != nil { // while the log is repaired there is none
					d.m.replica.LetIn(now, id, run)
				}
			})
		},
	}
}

// whereIs says where a member is, for people: where the log or the membership has
// it, and where its stream comes from.
func (d *directories) whereIs(id protocol.MemberID, from net.Addr) string {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	line, _ := d.m.configuration().Find(id)
	// The membership knows where the one that answers is: the configuration may have
	// the newcomer's own address.
	if at := cmp.Or(d.m.addressOf(id), line.Address); at != "" {
		return at + " (a stream of it comes from " + host + ")"
	}
	return host
}

// isConfigured reports whether an address is that which the latest configuration in
// this member's log has for a member.
func (d *directories) isConfigured(id protocol.MemberID, address string) bool {
	line, named := d.m.configuration().Find(id)
	return named && line.Address != "" && line.Address == address
}

// ourRefusal is our own refusal of another member, as opposed to its refusal of
// us.
type ourRefusal struct{ error }

// Unwrap returns the refusal.
func (e ourRefusal) Unwrap() error { return e.error }

// checkPeer judges the member that answers a link of ours.
func (d *directories) checkPeer(address string, peer protocol.Hello) error {
	err := d.m.server.Vet(peer)
	if err == nil {
		err = d.seen.Answers(peer, d.isConfigured(peer.Member, address))
	}
	if replica.Refused(err) {
		return ourRefusal{err}
	}
	return err
}

// linkSays takes what a member says on a link of ours of its directory.
func (d *directories) linkSays(from protocol.MemberID, address string, standing *protocol.Watermark) {
	if !d.isConfigured(from, address) {
		return
	}
	peer := protocol.Hello{Member: from, Starts: standing.Starts, Run: standing.Run, Sequence: standing.Sequence}
	if line, named := d.m.configuration().Find(from); named {
		peer.Name = line.Name
	}
	if err := d.seen.Says(peer); err != nil {
		d.m.logger.Debug("what a member says of its directory", "member", d.m.nameOf(from), "err", err)
	}
}

// condemn refuses a run whose answers to this leader prove that its directory was
// put back: its streams end, and it is told why when it dials again.
func (d *directories) condemn(back protocol.RunOf) {
	d.seen.Condemn(back.Member, back.Run)
	d.m.server.Expel(back.Member, back.Run, protocol.ErrClosed.With("the member's directory was put back"))
	d.m.transport.renew(back.Member, 0)
}

// linkState hears that a link to another member has ended, or how an attempt to
// make one went.
func (m *Member) linkState(to protocol.MemberID, address string, err error) {
	if err == nil {
		return
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.LinkLost(now, to) })
	if errors.Is(err, protocol.ErrWrongCluster) {
		m.dirs.elsewhere.Store(&address)
	}
	if errors.Is(err, protocol.ErrWrongCluster) && m.dirs.refusalsSaid.news(to, err.Error()) {
		m.logger.Warn("a member of this cluster belongs to another one now: if a new cluster was begun, move this directory away and join that one with an empty directory",
			"member", m.nameOf(to), "address", address, "err", err)
	}
	m.dirs.refusal(m.mailbox, to, address, err, m.fail)
}

// refused says whom the server has refused, once for each reason.
func (d *directories) refused(peer protocol.Hello, from net.Addr, err error) {
	level, text := slog.LevelInfo, "refused"
	switch {
	case replica.Refused(err):
		level, text = slog.LevelError, "another member is refused"
	case errors.Is(err, protocol.ErrWrongCluster) && !peer.Member.IsZero():
		level, text = slog.LevelWarn, "a member of another cluster knows this address: if this one was begun because its directory was lost, stop it, and join that cluster with an empty directory (--join, and --replace for its seat)"
	}
	if peer.Member.IsZero() || !d.refusalsSaid.news(peer.Member, err.Error()) {
		level = slog.LevelDebug
	}
	d.m.logger.Log(context.Background(), level, text, "from", from, "peer", peer.Member.Short(), "name", peer.Name, "err", err)
}

// touchEvery is how often keepInTouch is called.
const touchEvery = time.Second

// keepInTouch keeps the streams that the rule of one run
// for each id needs, and says on those that came how far this member's directory is.
// Only the loop calls it, or
// that of the repair.
//
// [S] Members that the latest configuration names keep a stream to each other.
// Followers have nothing to say to each other most of the time, and would welcome a
// copy of a third. Others shake hands with those once after their start, so that
// they can be refused: what the actives do must not grow with the flock.
func (d *directories) keepInTouch() {
	conf := d.m.configuration()
	if conf.Names(d.m.identity.Member) {
		d.m.transport.keep(conf)
	}
	d.m.server.Tell(d.watermark(), conf.Names)
}

// greetOnce has a member that the configuration does not name shake hands with those
// that it names, once. Only the loop calls it.
func (d *directories) greetOnce() {
	conf := d.m.configuration()
	if d.greeted || len(conf.Members) == 0 {
		return
	}
	d.greeted = true
	if !conf.Names(d.m.identity.Member) {
		d.m.workers.Add(1)
		go d.greet(conf)
	}
}

// greet shakes hands once with each member that a configuration names.
func (d *directories) greet(conf protocol.Configuration) {
	defer d.m.workers.Done()
	for _, a := range conf.Members {
		if a.Address == "" || d.m.life.Err() != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(d.m.life, handshakePatience+d.answersWithin())
		err := wire.Greet(ctx, wire.PeerConfig{ID: a.ID, Address: a.Address, Hello: d.m.hello, Check: d.checkPeer, Options: d.wireOptions()}, d.m.cfg.Security.Dial)
		cancel()
		if err != nil {
			d.m.logger.Debug("shaking hands after the start", "with", a.Name, "err", err)
			d.refusal(d.m.mailbox, a.ID, a.Address, err, d.m.fail)
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
func (d *directories) refusal(box *mailbox, by protocol.MemberID, address string, err error, stop func(error)) {
	if !replica.Refused(err) {
		return
	}
	if ours := (ourRefusal{}); errors.As(err, &ours) {
		if d.refusalsSaid.news(by, err.Error()) {
			d.m.logger.Error("another member is refused", "err", err)
		}
		return
	}
	box.complete(func(protocol.Instant) {
		if why := d.hearRefusal(by, address, err); why != nil {
			stop(why)
		}
	})
}

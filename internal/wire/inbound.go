package wire

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// Identity says how a server tells the runs of one member from each other. Without
// Holders it lets all in.
type Identity struct {
	// Holders is the rule of which run of a member has its id here. The server calls it
	// with one lock held.
	Holders *handshake.Holders
	// Patience is how long the streams of a run may take to answer a ping, when
	// another run of the same member comes: an election timeout at least. The handshake
	// timeouts of both sides have to be longer. It also bounds how long a link may judge
	// the greeting of this server before it answers pings.
	Patience time.Duration
	// WhereIs says where a run that answers is, for people; from is where its stream
	// comes from.
	WhereIs func(id protocol.MemberID, from net.Addr) string
	// Entered, if not nil, hears of each stream that was let in. It must not block.
	Entered func(id protocol.MemberID, run protocol.RunID)
}

// inbound is the register of the members' streams that a server has accepted. [S]
// All streams of a member are of one run, and only what comes on those is heard.
type inbound struct {
	Identity

	mu      sync.Mutex
	streams map[protocol.MemberID]map[*memberStream]struct{}
	// newcomers are the streams that wait for another run of their member to answer.
	newcomers map[protocol.MemberID]*memberStream
	// changed is closed, and another one made, when a stream has ended or has
	// answered.
	changed chan struct{}
}

func newInbound(i Identity) *inbound {
	return &inbound{
		Identity: i, changed: make(chan struct{}),
		streams: map[protocol.MemberID]map[*memberStream]struct{}{}, newcomers: map[protocol.MemberID]*memberStream{},
	}
}

// memberStream is a member's stream, from its handshake on.
type memberStream struct {
	nc   net.Conn
	peer protocol.Hello

	// Guarded by inbound.mu.
	entered bool
	conn    *Conn     // nil until the handshake is done
	since   time.Time // when it was
	owed    bool      // a ping is sent as soon as there is a connection
	pings   uint64    // sent
	answers uint64    // taken, one for each ping at most

	superseded atomic.Bool
	// handing is true while a message is being handed over: what came after it is
	// not read yet.
	handing atomic.Bool
}

// waiting is a run that waits for the answers of its rivals, for one Patience in all.
// Beats are counted, not time: if this process stood still itself, the answer has been
// waiting for it, and is read before the next beat.
type waiting struct {
	in     *inbound
	peer   protocol.Hello
	gone   <-chan struct{} // closed when nobody wants to know any more
	ticker *time.Ticker
	beats  int
}

func (in *inbound) wait(peer protocol.Hello, gone <-chan struct{}) *waiting {
	return &waiting{in: in, peer: peer, gone: gone, ticker: time.NewTicker(max(in.Patience/questionBeats, 1))}
}

func (in *inbound) undecided(peer protocol.Hello) error {
	return protocol.ErrUnavailable.With(fmt.Sprintf(
		"another run of member %s has streams here, and whether it still answers was not to be found out within %v; try again", peer.Name, in.Patience))
}

// rival is a run that has streams, and what each of them had shown when it was
// asked. It is a handshake.Rival.
type rival struct {
	w      *waiting
	run    protocol.RunID
	from   net.Addr // where the stream comes from that has answered
	before map[*memberStream]sign
	// early is set if a stream was asked whose other end need not read yet: it judges
	// us for one Patience after our greeting. That its answer is missing says nothing.
	early bool
}

// sign is what a stream has shown of its other end so far.
type sign struct{ answers, frames, bytes uint64 }

func (s *memberStream) sign() sign {
	if s.conn == nil {
		return sign{answers: s.answers}
	}
	return sign{s.answers, s.conn.moved.frames.Load(), s.conn.moved.in.Load()}
}

// tryEnter counts a stream unless another run has streams. Those are asked, if no
// other newcomer waits for them: of each member one waits at a time.
func (in *inbound) tryEnter(w *waiting, s *memberStream) (handshake.Rival, error) {
	id := s.peer.Member
	in.mu.Lock()
	defer in.mu.Unlock()
	other, ok, err := in.Holders.Arrive(s.peer)
	switch first := in.newcomers[id]; {
	case err != nil:
		return nil, err
	case !ok && first != nil && first != s:
		return nil, in.undecided(s.peer)
	case !ok:
		in.newcomers[id] = s
		return w.ask(other), nil
	}
	if in.streams[id] == nil {
		in.streams[id] = map[*memberStream]struct{}{}
	}
	s.entered = true
	in.streams[id][s] = struct{}{}
	return nil, nil
}

// waitsNoMore lets another newcomer wait.
func (in *inbound) waitsNoMore(s *memberStream) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.newcomers[s.peer.Member] == s {
		delete(in.newcomers, s.peer.Member)
	}
}

// ask sends a ping on all streams of a member, and notes what they have shown
// before. Each question asks again, whatever became of the ping before. The lock is
// held.
func (w *waiting) ask(run protocol.RunID) *rival {
	streams := w.in.streams[w.peer.Member]
	r := &rival{w: w, run: run, before: make(map[*memberStream]sign, len(streams))}
	for s := range streams {
		r.before[s] = s.sign()
		if !s.ping() || time.Since(s.since) < w.in.Patience {
			r.early = true
		}
	}
	return r
}

// ping asks on a stream, and reports whether it could; one whose handshake is under
// way is asked after it.
func (s *memberStream) ping() bool {
	if s.conn == nil {
		s.owed = true
		return false
	}
	if s.conn.sendSign(FramePing) != nil {
		return false // it ends
	}
	s.pings++
	return true
}

// questionBeats are in one Patience.
const questionBeats = 4

// Ask waits for the streams of a rival.
func (r *rival) Ask() (handshake.Answer, error) {
	w, in := r.w, r.w.in
	if w.beats >= questionBeats {
		return handshake.Gone, in.undecided(w.peer)
	}
	// Whoever is asked later has less than a Patience left to answer.
	early := r.early || w.beats > 0
	for {
		late := w.beats >= questionBeats
		in.mu.Lock()
		changed := in.changed
		known, undecided := 0, early
		for s := range in.streams[w.peer.Member] {
			before, asked := r.before[s]
			now := s.sign()
			if asked && now.answers > before.answers {
				in.mu.Unlock()
				r.from = security.Who(s.nc)
				return handshake.Answers, nil
			}
			if asked {
				known++
			}
			// What has come and is not read yet may be the answer, or the end.
			undecided = undecided || !asked || now != before || s.handing.Load()
		}
		in.mu.Unlock()
		switch {
		case known == 0:
			return handshake.Gone, nil
		case late && undecided:
			return handshake.Gone, in.undecided(w.peer)
		case late:
			return handshake.Silent, nil
		}
		select {
		case <-changed:
		case <-w.ticker.C:
			w.beats++
		case <-w.gone:
			return handshake.Gone, in.undecided(w.peer)
		}
	}
}

// At says where the rival is.
func (r *rival) At() string { return r.w.in.WhereIs(r.w.peer.Member, r.from) }

// Supersede closes the streams of a rival, if they are those that were asked, none
// has answered at last, and the newcomer is still there.
func (r *rival) Supersede() {
	w, in, id := r.w, r.w.in, r.w.peer.Member
	in.mu.Lock()
	defer in.mu.Unlock()
	select {
	case <-w.gone:
		return
	default:
	}
	for s := range in.streams[id] {
		if before, asked := r.before[s]; !asked || s.sign() != before {
			return
		}
	}
	for s := range in.streams[id] {
		s.superseded.Store(true)
		s.entered = false
		s.end(protocol.ErrClosed.With("another run of the member was let in: this one has not answered"))
	}
	delete(in.streams, id)
	in.Holders.Supersede(id, r.run)
	in.tell()
}

// end closes a stream.
func (s *memberStream) end(cause error) {
	if s.conn != nil {
		s.conn.fail(cause)
	}
	_ = s.nc.Close()
}

// attach notes the connection of a stream whose handshake is done. It reports
// false if the stream was superseded meanwhile.
func (in *inbound) attach(s *memberStream, conn *Conn) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	s.conn, s.since = conn, time.Now()
	if s.owed {
		s.ping()
	}
	return !s.superseded.Load()
}

// answered takes the answer to a ping.
func (in *inbound) answered(s *memberStream) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s.answers < s.pings {
		s.answers++
		in.tell()
	}
}

// leave takes a stream away that has ended, if it was let in.
func (in *inbound) leave(s *memberStream) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !s.entered {
		return
	}
	id := s.peer.Member
	s.entered = false
	delete(in.streams[id], s)
	if len(in.streams[id]) == 0 {
		delete(in.streams, id)
	}
	in.Holders.Leave(id, s.peer.Run)
	in.tell()
}

// tell wakes all who wait; the lock is held.
func (in *inbound) tell() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// Vet judges the run that answers a link of ours, as a newcomer is judged: if
// another run of the member has streams here that answer, it returns the refusal.
// It takes Identity.Patience at most, and ends when the server accepts no more.
func (s *Server) Vet(peer protocol.Hello) error {
	in := s.inbound
	if in.Holders == nil {
		return nil
	}
	w := in.wait(peer, s.ending)
	defer w.ticker.Stop()
	return handshake.Settle(peer, w.tryVet, func() error { return nil })
}

// tryVet asks the streams of another run, if there are any.
func (w *waiting) tryVet() (handshake.Rival, error) {
	in := w.in
	in.mu.Lock()
	defer in.mu.Unlock()
	other, ok, err := in.Holders.Arrive(w.peer)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return w.ask(other), nil
	}
	in.Holders.Leave(w.peer.Member, w.peer.Run) // it has no stream here by that
	return nil, nil
}

// Expel closes the streams of a member's run, if it has any. The caller has seen to
// it that Handler.Welcome refuses that run when it dials again.
func (s *Server) Expel(id protocol.MemberID, run protocol.RunID, cause error) {
	in := s.inbound
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.Holders == nil || !in.Holders.Holds(id, run) {
		return
	}
	in.Holders.Expel(id)
	for one := range in.streams[id] {
		one.superseded.Store(true)
		one.entered = false
		one.end(cause)
	}
	delete(in.streams, id)
	in.tell()
}

// Tell queues a message on the streams that came from some of the members, for
// whoever reads there (see PeerConfig.OnMessage). Where the queue is full it is
// lost.
func (s *Server) Tell(m protocol.Message, to func(protocol.MemberID) bool) {
	s.inbound.mu.Lock()
	defer s.inbound.mu.Unlock()
	for id, streams := range s.inbound.streams {
		if !to(id) {
			continue
		}
		for one := range streams {
			if one.conn != nil {
				_ = one.conn.SendMessage(m)
			}
		}
	}
}

package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// silence is how long a run may take to answer, in these tests.
const silence = 500 * time.Millisecond

// door is a server of member A, to which runs of member B come, in virtual time.
type door struct {
	t *testing.T
	s *Server
	h *handler
}

func newDoor(t *testing.T, h *handler, change ...func(*ServerConfig)) *door {
	if h.messages == nil {
		h.messages = make(chan protocol.Message, 1<<10)
	}
	cfg := ServerConfig{Hello: helloOf(cluster, memberA), Handler: h, Identity: Identity{
		Holders: &handshake.Holders{}, Patience: silence,
		WhereIs: func(_ protocol.MemberID, from net.Addr) string { return from.String() },
	}}
	for _, f := range change {
		f(&cfg)
	}
	s := NewServer(cfg)
	t.Cleanup(func() { _ = s.Close() })
	return &door{t, s, h}
}

// helloB is how a run of member B introduces itself.
func helloB(run protocol.RunID) protocol.Hello {
	return protocol.Hello{Cluster: cluster, Member: memberB, Name: "b", Run: run}
}

// link is a link of a run of member B, and what became of its attempts.
type link struct {
	*Peer
	states chan error
}

func (d *door) link(run protocol.RunID, change ...func(*PeerConfig)) link {
	states := make(chan error, 1<<10)
	cfg := PeerConfig{
		ID: memberA, Address: "pipe:1", Hello: func() protocol.Hello { return helloB(run) },
		OnState: func(_ string, err error) { states <- err },
	}
	for _, f := range change {
		f(&cfg)
	}
	p := NewPeer(cfg, func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		d.s.ServeConn(far)
		return near, nil
	})
	d.t.Cleanup(func() { _ = p.Close() })
	return link{p, states}
}

// next connects, and returns how that went.
func (l link) next(t *testing.T) error {
	l.Connect()
	return receive(t, l.states)
}

// frozen is a stream of a run whose process stands still: its kernel takes what
// comes, and nothing answers. It is there for as long as its reader may have waited.
func (d *door) frozen(run protocol.RunID) net.Conn {
	d.t.Helper()
	nc := d.raw(run)
	d.s.inbound.mu.Lock()
	defer d.s.inbound.mu.Unlock()
	for one := range d.s.inbound.streams[memberB] {
		one.since = one.since.Add(-silence)
	}
	return nc
}

// raw is a stream of a run that does nothing after its handshake.
func (d *door) raw(run protocol.RunID) net.Conn {
	d.t.Helper()
	near := d.newcomer(run)
	if peer, err := readGreeting(bufio.NewReader(near)); err != nil || peer.Refused != protocol.OK {
		d.t.Fatalf("got %+v, %v", peer, err)
	}
	synctest.Wait()
	return near
}

// A copy of a running member's directory has a newer start: its streams must not
// be believed beside those of the original.
func TestAnotherRunIsRefusedWhileTheFirstAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		original, twin := d.link(1), d.link(2)
		if err := original.next(t); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 2 {
			if err := twin.next(t); !errors.Is(err, protocol.ErrTwin) {
				t.Fatalf("got %v, want %v", err, protocol.ErrTwin)
			}
		}
		if took := time.Since(began); took >= silence {
			t.Errorf("the refusal took %v, though the original answers at once", took)
		}
		original.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
		receive(t, d.h.messages)
		if another := d.link(1); another.next(t) != nil || !original.Connected() {
			t.Error("a run cannot have two streams")
		}
		if err := d.s.Vet(helloB(2)); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("the other run, where it is dialled: got %v, want %v", err, protocol.ErrTwin)
		}
		if err := d.s.Vet(helloB(1)); err != nil {
			t.Errorf("the run that holds the id, where it is dialled: %v", err)
		}
	})
}

// Who restarts must not wait, if nothing is left of the run before.
func TestARestartAfterADeathIsWelcomeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		first, second := d.link(1), d.link(2)
		began := time.Now()
		if err := first.next(t); err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		if err := second.next(t); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A host that vanished leaves streams that nobody ends.
func TestASilentRunIsSupersededAndNotHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		old := []net.Conn{d.frozen(1), d.frozen(1)}
		began := time.Now()
		next := d.link(2)
		if err := next.next(t); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != silence {
			t.Errorf("it was let in after %v, want %v", took, silence)
		}
		for _, nc := range old {
			frame := protocol.AppendMessage(beginFrame(nil, protocol.Version, FrameMessage), &protocol.Heartbeat{Term: 9})
			if err := endFrame(frame, 0); err != nil {
				t.Fatal(err)
			}
			_, _ = nc.Write(frame)
		}
		synctest.Wait()
		if n := len(d.h.messages); n > 0 {
			t.Errorf("%d messages of a superseded run were heard", n)
		}
		next.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
		receive(t, d.h.messages)
		// Nor when the other one has gone: that may have promised what this one lacks.
		_ = next.Close()
		synctest.Wait()
		if err := d.link(1).next(t); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("it comes back: got %v, want %v", err, protocol.ErrTwin)
		}
		if err := d.s.Vet(helloB(1)); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("it answers a link: got %v, want %v", err, protocol.ErrTwin)
		}
		if err := d.link(3).next(t); err != nil {
			t.Errorf("the next start: %v", err)
		}
	})
}

// A newcomer that is refused for another reason must not end the streams of a run
// that is only slow.
func TestARefusedNewcomerSupersedesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{welcome: func(peer protocol.Hello) error {
			if peer.Run == 2 {
				return protocol.ErrRolledBack
			}
			return nil
		}}
		d := newDoor(t, h)
		slow := d.frozen(1)
		if err := d.link(2).next(t); !errors.Is(err, protocol.ErrRolledBack) {
			t.Fatalf("got %v, want %v", err, protocol.ErrRolledBack)
		}
		pong := beginFrame(nil, protocol.Version, FramePong)
		if err := endFrame(pong, 0); err != nil {
			t.Fatal(err)
		}
		reader := newReader(slow)
		for range headerBytes {
			if _, err := reader.ReadByte(); err != nil { // the ping
				t.Fatal(err)
			}
		}
		if _, err := slow.Write(pong); err != nil {
			t.Errorf("the stream of the slow run was ended: %v", err)
		}
		synctest.Wait()                           // a pong that is taken later answers the next ping
		if err := d.link(3).next(t); err != nil { // it does not answer the next ping
			t.Errorf("got %v", err)
		}
	})
}

// What has come from a run and is not read yet may be its answer: a member whose
// loop is behind must not take the other for dead.
func TestARunWhoseMessagesWaitIsNotSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{messages: make(chan protocol.Message)}
		d := newDoor(t, h)
		original, other := d.link(1), d.link(2)
		if err := original.next(t); err != nil {
			t.Fatal(err)
		}
		time.Sleep(silence) // it has to read by now
		original.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
		synctest.Wait() // the server's reader hands it over, and nobody takes it
		err := other.next(t)
		if !errors.Is(err, protocol.ErrUnavailable) || errors.Is(err, protocol.ErrTwin) {
			t.Errorf("got %v, want %v", err, protocol.ErrUnavailable)
		}
		receive(t, h.messages)
		if err := other.next(t); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("when it can be read: got %v, want %v", err, protocol.ErrTwin)
		}
	})
}

// However many come at once: the streams that are open are all of one run.
func TestNewcomersAtOnceLeaveOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		d.frozen(1)
		results := make(chan error, 8)
		for run := range cap(results) {
			l := d.link(protocol.RunID(2 + run))
			go func() {
				err := l.next(t)
				for errors.Is(err, protocol.ErrUnavailable) { // another one waits
					err = l.next(t)
				}
				results <- err
			}()
		}
		in := 0
		for range cap(results) {
			switch err := <-results; {
			case err == nil:
				in++
			case !errors.Is(err, protocol.ErrTwin):
				t.Errorf("got %v, want %v", err, protocol.ErrTwin)
			}
		}
		if in != 1 {
			t.Errorf("%d runs were let in, want 1", in)
		}
	})
}

// Runs come, freeze, and go, over each other: at any time the register holds
// streams of one run, and of none in the end. Run it with -race.
func TestStreamsOfOneRunOnlyWhateverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{messages: make(chan protocol.Message, 1<<14)})
		var all sync.WaitGroup
		for run := range 6 {
			l := d.link(protocol.RunID(1 + run))
			all.Go(func() {
				for n := range 20 {
					l.Connect()
					l.Send([]protocol.Message{&protocol.Heartbeat{Round: uint64(n)}})
					time.Sleep(time.Duration(1+(run*7+n*3)%11) * silence / 10)
					if err := oneRun(d.s.inbound); err != nil {
						t.Error(err)
					}
				}
				_ = l.Close()
			})
		}
		all.Wait()
		synctest.Wait()
		if n := len(d.s.inbound.streams); n > 0 {
			t.Errorf("%d members have streams, and all have gone", n)
		}
		if holds := d.s.inbound.Holders; holds.Holds(memberB, 1) {
			t.Error("a run that has gone holds the id")
		}
	})
}

func oneRun(in *inbound) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	runs := map[protocol.RunID]bool{}
	for s := range in.streams[memberB] {
		runs[s.peer.Run] = true
	}
	if len(runs) > 1 {
		return fmt.Errorf("streams of %d runs at once", len(runs))
	}
	return nil
}

// What comes back on a stream is Standing, and nothing else.
func TestStandingComesBackOnTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		heard := make(chan *protocol.Watermark, 1)
		l := d.link(1, func(cfg *PeerConfig) {
			cfg.OnMessage = func(address string, m protocol.Message) {
				if address != "pipe:1" {
					t.Errorf("from %s", address)
				}
				heard <- m.(*protocol.Watermark)
			}
		})
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := &protocol.Watermark{Starts: 2, Run: 3, Sequence: 4}
		d.s.Tell(want, func(id protocol.MemberID) bool { return id == memberB })
		if got := receive(t, heard); *got != *want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		d.s.Tell(want, func(protocol.MemberID) bool { return false })
		d.s.Tell(&protocol.Heartbeat{Term: 1}, func(protocol.MemberID) bool { return true })
		if err := receive(t, l.states); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a heartbeat from the side that accepted: got %v, want %v", err, protocol.ErrMalformed)
		}
		if len(heard) > 0 {
			t.Error("who is not meant hears it")
		}
	})
}

// A stream on which Standing goes is in use, however long nothing comes.
func TestAStreamWithStandingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		l := d.link(1)
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		idle := d.s.cfg.IdleTimeout
		for range 4 {
			time.Sleep(idle / 2)
			d.s.Tell(&protocol.Watermark{}, func(protocol.MemberID) bool { return true })
		}
		if synctest.Wait(); !l.Connected() {
			t.Error("it was closed")
		}
		time.Sleep(3 * idle)
		if synctest.Wait(); l.Connected() {
			t.Error("without Standing it stays for ever")
		}
	})
}

// Who refuses in another's name is not heard: it could end members that it has
// nothing to do with.
func TestARefusalCountsFromWhoWasDialled(t *testing.T) {
	for _, test := range []struct {
		who  protocol.MemberID
		want error
	}{{memberA, protocol.ErrRolledBack}, {memberB, protocol.ErrUnavailable}} {
		s, address := serve(t, &handler{welcome: func(protocol.Hello) error { return protocol.ErrRolledBack }},
			func(cfg *ServerConfig) { cfg.Hello = helloOf(cluster, test.who) })
		states := make(chan error, 8)
		p := NewPeer(PeerConfig{
			ID: memberA, Address: address, Hello: helloOf(cluster, protocol.MemberID{0xc}),
			OnState: func(at string, err error) {
				if at != address {
					t.Errorf("the address dialled: got %s, want %s", at, address)
				}
				states <- err
			},
		}, security.Plaintext().Dial)
		p.Connect()
		if err := receive(t, states); !errors.Is(err, test.want) {
			t.Errorf("got %v, want %v", err, test.want)
		}
		_ = p.Close()
		_ = s.Close()
	}
}

// A link to a run that was superseded is of no use.
func TestALinkToAnotherRunIsRenewed(t *testing.T) {
	run := protocol.RunID(1)
	var lock sync.Mutex
	_, address := serve(t, &handler{}, func(cfg *ServerConfig) {
		cfg.Hello = func() protocol.Hello {
			lock.Lock()
			defer lock.Unlock()
			return protocol.Hello{Cluster: cluster, Member: memberA, Run: run}
		}
	})
	states := make(chan error, 8)
	p := NewPeer(PeerConfig{ID: memberA, Address: address, Hello: helloOf(cluster, memberB), OnState: func(_ string, err error) { states <- err }}, security.Plaintext().Dial)
	defer p.Close()
	p.Connect()
	if err := receive(t, states); err != nil {
		t.Fatal(err)
	}
	lock.Lock()
	run = 2
	lock.Unlock()
	p.Renew(1)
	if !p.Connected() {
		t.Error("a link to the run that holds the id was ended")
	}
	p.Renew(2)
	if err := receive(t, states); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("got %v, want %v", err, protocol.ErrClosed)
	}
	if err := receive(t, states); err != nil || !p.Connected() {
		t.Errorf("it did not connect again: %v", err)
	}
}

// A name that means nothing, or somebody else, does not cut a member off whose number
// is known; and the name comes first again.
func TestALinkTriesBothAddressesInTurns(t *testing.T) {
	_, wrong := serve(t, &handler{}, func(cfg *ServerConfig) { cfg.Hello = helloOf(cluster, memberB) })
	s, address := serve(t, &handler{}, nil)
	type state struct {
		address string
		err     error
	}
	states := make(chan state, 64)
	p := NewPeer(PeerConfig{
		ID: memberA, Address: wrong, Other: address, Hello: helloOf(cluster, memberB), BackoffMin: time.Millisecond,
		OnState: func(at string, err error) { states <- state{at, err} },
	}, security.Plaintext().Dial)
	defer p.Close()
	next := func(want string, connected bool) {
		t.Helper()
		p.Connect()
		if got := receive(t, states); got.address != want || (got.err == nil) != connected {
			t.Fatalf("got %+v, want %s and connected: %v", got, want, connected)
		}
	}
	next(wrong, false)
	next(address, true)
	p.SetAddress(wrong, address)
	p.SetAddress(address, "")
	if !p.Connected() {
		t.Error("it hung up although the member is still there")
	}
	p.SetAddress(wrong, address)
	_ = s.Close()
	if got := receive(t, states); got.err == nil {
		t.Fatal("the loss was not told")
	}
	next(wrong, false)
	next(address, false)
	p.SetAddress(wrong, "")
	next(wrong, false)
	next(wrong, false)
}

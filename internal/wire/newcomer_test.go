package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/protocol"
)

// newcomer is a connection that says which run it is, and waits.
func (d *door) newcomer(run protocol.RunID) net.Conn {
	d.t.Helper()
	near, far := net.Pipe()
	d.s.ServeConn(far)
	hello := helloB(run)
	if err := writeHello(near, &hello); err != nil {
		d.t.Fatal(err)
	}
	synctest.Wait()
	d.t.Cleanup(func() { _ = near.Close() })
	return near
}

// places returns how many connections the server has.
func (d *door) places() int {
	synctest.Wait()
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return len(d.s.places)
}

// undecided reports whether a newcomer has to come again.
func undecided(err error) bool {
	return errors.Is(err, protocol.ErrUnavailable) && !errors.Is(err, protocol.ErrTwin)
}

// writeFrame says something on a raw stream: a pong, or a message if there is one.
func writeFrame(t *testing.T, nc net.Conn, kind FrameKind, m protocol.Message) {
	t.Helper()
	frame := beginFrame(nil, protocol.Version, kind)
	if m != nil {
		frame = protocol.AppendMessage(frame, m)
	}
	if err := endFrame(frame, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// A newcomer whose slot was given to somebody else took memory until its verdict,
// beyond all limits, and ended streams although it was not there any more.
func TestANewcomerThatGaveWayIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{}, func(cfg *ServerConfig) { cfg.HandshakesMax = 1 })
		old := d.frozen(1)
		d.newcomer(2)
		time.Sleep(shakeMin)
		_, far := net.Pipe()
		d.s.ServeConn(far) // needs the slot
		if got := d.places(); got != 2 {
			t.Errorf("%d connections have places, want 2: the stream and who has the slot", got)
		}
		time.Sleep(2 * silence)
		go func() { _, _ = old.Read(make([]byte, headerBytes)) }() // the ping
		writeFrame(t, old, FramePong, nil)                         // or the stream was ended
	})
}

// Of each member one newcomer waits: the others need not be kept to be told that
// nothing is known yet.
func TestOneNewcomerOfAMemberWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		d.frozen(1)
		first := d.link(2)
		first.Connect()
		synctest.Wait()
		began := time.Now()
		for run := range 20 {
			if err := d.link(protocol.RunID(3 + run)).next(t); !undecided(err) {
				t.Fatalf("got %v, want %v", err, protocol.ErrUnavailable)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("20 newcomers were answered after %v, want at once", took)
		}
		if got := d.places(); got != 2 {
			t.Errorf("%d connections have places, want 2", got)
		}
		if err := receive(t, first.states); err != nil {
			t.Errorf("the one that waits: %v", err)
		}
		if n := len(d.s.inbound.newcomers); n > 0 {
			t.Errorf("%d newcomers are remembered, and none waits", n)
		}
	})
}

// Close waits for no verdict, also when the streams that are asked do not end yet.
func TestCloseEndsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{messages: make(chan protocol.Message)}
		d := newDoor(t, h)
		original := d.link(1)
		if err := original.next(t); err != nil {
			t.Fatal(err)
		}
		original.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
		synctest.Wait() // it is handed over, and nobody takes it
		d.newcomer(2)
		vetted := make(chan error, 1)
		go func() { vetted <- d.s.Vet(helloB(3)) }()
		synctest.Wait()
		began := time.Now()
		var closing sync.WaitGroup
		closing.Go(func() { _ = d.s.Close() })
		if err := receive(t, vetted); !undecided(err) {
			t.Errorf("got %v, want %v", err, protocol.ErrUnavailable)
		}
		if got := d.places(); got != 1 {
			t.Errorf("%d connections have places, want 1: the one that hands over", got)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		receive(t, h.messages)
		closing.Wait()
	})
}

// Who is asked when a part of the time is over is not silent at the end of it; and
// who is silent goes on, if the newcomer has gone at that moment.
func TestALateQuestionCondemnsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		d.frozen(1)
		in := d.s.inbound
		ask := func(beats int) *rival {
			in.mu.Lock()
			defer in.mu.Unlock()
			w := in.wait(helloB(2), nil)
			w.beats = beats
			return w.ask(1)
		}
		r := ask(1)
		if answer, err := r.Ask(); answer != handshake.Gone || !undecided(err) {
			t.Errorf("asked late: %v, %v; want %v", answer, err, protocol.ErrUnavailable)
		}
		r = ask(0)
		if answer, err := r.Ask(); answer != handshake.Silent || err != nil {
			t.Fatalf("asked in time: %v, %v", answer, err)
		}
		gone := make(chan struct{})
		close(gone)
		r.w.gone = gone
		r.Supersede()
		if got := len(in.streams[memberB]); got != 1 {
			t.Errorf("%d streams, want 1: the newcomer has gone", got)
		}
		r.w.gone = nil
		if r.Supersede(); len(in.streams[memberB]) > 0 {
			t.Error("the newcomer is there, and the silent stream, too")
		}
	})
}

// However streams come and go, a verdict takes one Patience: the handshake that
// waits for it has its own limit.
func TestAVerdictTakesOnePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		now := d.frozen(1)
		stop := make(chan struct{})
		var churn sync.WaitGroup
		churn.Go(func() {
			for {
				select {
				case <-time.After(silence * 9 / 10):
				case <-stop:
					return
				}
				next := d.raw(1)
				_ = now.Close()
				now = next
			}
		})
		began := time.Now()
		if err := d.s.Vet(helloB(2)); !undecided(err) {
			t.Errorf("got %v, want %v", err, protocol.ErrUnavailable)
		}
		if took := time.Since(began); took > silence {
			t.Errorf("it took %v, want %v at most", took, silence)
		}
		close(stop)
		churn.Wait()
	})
}

// Each question asks: a ping, or an answer, that was lost must not make a member
// that is well silent for good.
func TestEachQuestionAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		slow := d.frozen(1)
		pings := make(chan struct{}, 8)
		go func() {
			for {
				if _, err := slow.Read(make([]byte, headerBytes)); err != nil {
					return
				}
				pings <- struct{}{}
			}
		}()
		other := d.link(2)
		other.Connect()
		receive(t, pings)
		writeFrame(t, slow, FrameMessage, &protocol.Heartbeat{Term: 1}) // and no pong
		if err := receive(t, other.states); !undecided(err) {
			t.Fatalf("got %v, want %v", err, protocol.ErrUnavailable)
		}
		other.Connect()
		receive(t, pings)
		writeFrame(t, slow, FramePong, nil)
		if err := receive(t, other.states); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("got %v, want %v", err, protocol.ErrTwin)
		}
	})
}

// heldConn takes nothing while it is held.
type heldConn struct {
	net.Conn
	gate chan struct{} // whose one place is taken
}

// Write waits for the gate.
func (c heldConn) Write(b []byte) (int, error) {
	c.gate <- struct{}{}
	defer func() { <-c.gate }()
	return c.Conn.Write(b)
}

// A pong finds room however full the queue is.
func TestAFullQueueDropsNoSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outbox
		o.init(protocol.Version, 1<<10, 1)
		none := func(dst []byte) []byte { return dst }
		add := func(to laneKind, kind FrameKind) error {
			_, err := o.add(to, kind, 0, none)
			return err
		}
		if err := add(laneUrgent, FrameMessage); err != nil {
			t.Fatal(err)
		}
		if err := add(laneUrgent, FrameMessage); !errors.Is(err, ErrQueueFull) {
			t.Fatalf("got %v, want %v", err, ErrQueueFull)
		}
		for range 100 {
			if err := errors.Join(add(laneSign, FramePing), add(laneSign, FramePong)); err != nil {
				t.Fatal(err)
			}
		}
		if urgent, _, _ := o.next(); len(urgent) != 3*headerBytes {
			t.Errorf("%d bytes wait, want a frame, a ping and a pong, %d", len(urgent), 3*headerBytes)
		}
		if err := add(laneSign, FramePong); err != nil {
			t.Fatal(err)
		}
		if urgent, _, _ := o.next(); len(urgent) != headerBytes {
			t.Errorf("%d bytes wait, want the next sign, %d", len(urgent), headerBytes)
		}
	})
}

// A member whose queue is full when it is asked answers when it is not.
func TestAMemberWithAFullQueueAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		gate := make(chan struct{}, 1)
		states := make(chan error, 8)
		original := NewPeer(PeerConfig{
			ID: memberA, Address: "pipe:1", Hello: func() protocol.Hello { return helloB(1) },
			OnState: func(_ string, err error) { states <- err }, Options: Options{QueueFrames: 1},
		}, func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			d.s.ServeConn(far)
			return heldConn{near, gate}, nil
		})
		defer original.Close()
		original.Connect()
		if err := receive(t, states); err != nil {
			t.Fatal(err)
		}
		time.Sleep(silence)
		gate <- struct{}{}
		for range 2 { // one is being written, one waits
			original.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
			time.Sleep(time.Millisecond)
		}
		other := d.link(2)
		other.Connect()
		time.Sleep(silence / 2)
		<-gate
		if err := receive(t, other.states); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("got %v, want %v", err, protocol.ErrTwin)
		}
	})
}

// While a link judges who has answered it, it reads nothing: that is no silence.
func TestALinkThatJudgesIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{})
		original := d.link(1, func(cfg *PeerConfig) {
			cfg.Check = func(string, protocol.Hello) error {
				time.Sleep(silence)
				return nil
			}
		})
		original.Connect()
		synctest.Wait()
		other := d.link(2)
		if err := other.next(t); !undecided(err) {
			t.Errorf("while it judges: got %v, want %v", err, protocol.ErrUnavailable)
		}
		if err := receive(t, original.states); err != nil {
			t.Errorf("the original: %v", err)
		}
		if err := other.next(t); !errors.Is(err, protocol.ErrTwin) {
			t.Errorf("when it has judged: got %v, want %v", err, protocol.ErrTwin)
		}
		time.Sleep(silence)
		if !original.Connected() {
			t.Error("its stream was ended")
		}
	})
}

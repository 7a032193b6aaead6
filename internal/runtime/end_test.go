package runtime

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// A disk that does not answer holds the end of a member for ten seconds, not for as
// long as its syncs take.
func TestEndIsNotHeldByADiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		began := time.Now()
		if within(endTimeout, func() { <-answer }) {
			t.Error("it has ended")
		}
		if took := time.Since(began); took != endTimeout {
			t.Errorf("it took %v, want %v", took, endTimeout)
		}
		close(answer)
		began = time.Now()
		if !within(endTimeout, func() { time.Sleep(time.Second) }) || time.Since(began) != time.Second {
			t.Errorf("what ends in a second took %v", time.Since(began))
		}
	})
}

// Connections that wait for room in a full mailbox do not hold the end of a member whose
// loop takes nothing more: it closes the mailbox before it waits for them.
func TestEndIsNotHeldByAFullMailbox(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var holds atomic.Bool
	goOn := make(chan struct{})
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) {
		cfg.endTimeout = time.Hour
		cfg.looks = func(*Member) {
			if holds.Load() {
				<-goOn
			}
		}
	})
	stranger := protocol.MemberID{0: 0xba, 15: 1}
	link := wire.NewPeer(wire.PeerConfig{ID: m.ID(), Address: m.Addr(), Hello: func() protocol.Hello {
		return protocol.Hello{Cluster: m.identity.Cluster, Member: stranger, Name: "stranger", Starts: 1, Run: 1}
	}}, security.Plaintext().Dial)
	defer link.Close()
	answered := protocol.Message(&protocol.Heartbeat{Term: 1})
	link.Send([]protocol.Message{answered})
	c.eventually("the stranger's link", func() error {
		if !link.Connected() {
			return errors.New("not connected")
		}
		return nil
	})
	holds.Store(true)
	for full := false; !full; { // the loop may still take what there is, once
		link.Send([]protocol.Message{answered})
		if err := link.Drain(c.ctx); err != nil {
			t.Fatal(err)
		}
		for m.mailbox.message(stranger, answered, true) {
		}
		m.mailbox.mu.Lock()
		full = m.mailbox.waits > 0
		m.mailbox.mu.Unlock()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Kill()
	}()
	c.eventually("the end begins", func() error {
		if !m.stopping.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	close(goOn)
	select {
	case <-ended:
	case <-c.ctx.Done():
		t.Error("the member does not end")
	}
}

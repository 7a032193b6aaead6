package runtime

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// desk is a gate and what it lets in, in order.
type desk struct {
	gate    *gate
	in      []*pass
	started []string
	refused []string
}

func (d *desk) enter(stream uint64, n, bytes int) (list []*pass) {
	for k := range n {
		name := fmt.Sprint(stream, ".", k+1)
		p := &pass{stream: stream, bytes: bytes}
		p.start = func() error {
			d.started, d.in = append(d.started, name), append(d.in, p)
			return nil
		}
		p.refuse = func(err error) { d.refused = append(d.refused, name) }
		d.gate.enter(p)
		list = append(list, p)
	}
	return list
}

// answer answers the n that have been in for longest.
func (d *desk) answer(n int) (started []string) {
	d.started = nil
	for range n {
		p := d.in[0]
		d.in = d.in[1:]
		d.gate.done(p)
	}
	return d.started
}

func newDesk(commands, bytes, waiting int) *desk {
	d := &desk{gate: newGate()}
	d.gate.commandsMax, d.gate.bytesMax, d.gate.waitingBytesMax = commands, bytes, waiting
	return d
}

// However many commands one client has waiting, another one's turn comes next.
func TestGateTakesTurns(t *testing.T) {
	for _, limits := range [][2]int{{4, 1 << 20}, {1 << 20, 40}} {
		d := newDesk(limits[0], limits[1], 1<<20)
		d.enter(1, 1000, 10)
		if got, want := d.started, []string{"1.1", "1.2", "1.3", "1.4"}; !slices.Equal(got, want) {
			t.Errorf("got %v let in, want %v", got, want)
		}
		d.enter(2, 1, 10)
		if got, want := d.answer(2), []string{"1.5", "2.1"}; !slices.Equal(got, want) {
			t.Errorf("got %v let in after one was answered, want %v", got, want)
		}
		d.enter(3, 2, 10)
		d.enter(4, 1, 10)
		if got, want := d.answer(5), []string{"1.6", "3.1", "4.1", "1.7", "3.2"}; !slices.Equal(got, want) {
			t.Errorf("got %v let in by turns, want %v", got, want)
		}
		if len(d.refused) > 0 {
			t.Errorf("%v were refused", d.refused)
		}
	}
}

// A command larger than all the room there is comes in alone, and is not passed
// over for ever.
func TestGateLetsLargeCommandsIn(t *testing.T) {
	d := newDesk(100, 100, 1<<20)
	d.enter(1, 2, 40)
	d.enter(2, 1, 500)
	d.enter(1, 2, 40)
	if got, want := d.answer(1), []string(nil); !slices.Equal(got, want) {
		t.Errorf("got %v let in beside, want %v", got, want)
	}
	if got, want := d.answer(1), []string{"2.1"}; !slices.Equal(got, want) {
		t.Errorf("got %v let in, want %v", got, want)
	}
}

// Who gives up waiting leaves the queue; who gives up what is in hand gains no
// turn by it.
func TestGateIsLeft(t *testing.T) {
	d := newDesk(1, 100, 1<<20)
	first, second := d.enter(1, 3, 10), d.enter(2, 1, 10)
	d.started = nil
	d.gate.leave(first[0])
	d.gate.leave(first[1])
	if len(d.started) > 0 {
		t.Errorf("%v were let in for a command that is in hand", d.started)
	}
	if got, want := d.answer(1), []string{"1.3"}; !slices.Equal(got, want) {
		t.Errorf("got %v let in, want %v", got, want)
	}
	d.gate.leave(second[0])
	if got := d.answer(1); len(got) > 0 || len(d.gate.queues) > 0 || d.gate.turns.Len() > 0 || d.gate.bytes != 0 || d.gate.commands != 0 {
		t.Errorf("got %v let in, and %d queues left", got, len(d.gate.queues))
	}
}

// What may wait shrinks with the number of those who wait.
func TestGateBoundsWhatWaits(t *testing.T) {
	d := newDesk(1, 100, 100)
	d.enter(1, 12, 10)
	d.enter(2, 7, 10)
	d.enter(1, 1, 10)
	if got, want := d.refused, []string{"1.12", "2.6", "2.7", "1.1"}; !slices.Equal(got, want) {
		t.Errorf("got %v refused, want %v", got, want)
	}
}

// caller is a connection with a session that does not try again.
type caller struct {
	c       *cluster
	conn    *wire.ClientConn
	session protocol.SessionID
}

func (c *cluster) caller(m *Member) *caller {
	c.t.Helper()
	conn, err := wire.DialClient(c.ctx, m.Addr(), wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	one := &caller{c: c, conn: conn}
	c.eventually("a session", func() error {
		open := sessionop.Open(0)
		p, err := conn.Do(c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &open})
		if err == nil {
			one.session, err = sessionop.Opened(&p.Result)
		}
		return err
	})
	return one
}

// swallow takes an argument of any size and keeps nothing.
var swallow = resources.NewType("sink", 1, resources.NewCommand("swallow", func(_ *resources.Tx, b []byte) (int, error) { return len(b), nil }))

func (one *caller) swallow(sequence uint64, bytes int) error {
	argument, err := resources.AppendValue(nil, make([]byte, bytes))
	if err != nil {
		return err
	}
	p, err := one.conn.Do(one.c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &protocol.Command{
		Session: one.session, Sequence: sequence, Floor: 1, Resource: "s", Type: "sink", Version: 1, Operation: "swallow", Argument: argument,
	}})
	if err != nil {
		return err
	}
	return p.Result.Err()
}

// One client that asks for more than a link, or a leader, takes at once is slowed
// down, and no other is refused anything because of it.
func TestFloodOfOneClientIsNobodyElsesRefusal(t *testing.T) {
	c := newCluster(t)
	knows := func(cfg *Config) {
		registry, err := resources.NewRegistry(swallow)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Registry = registry
		cfg.Election = 2 * time.Second // the flood is slow where the processors are, and answered by one leader
	}
	c.start("one", protocol.RoleActive, knows)
	follower := c.start("two", protocol.RolePassive, knows)
	flood, other := c.caller(follower), c.caller(follower)
	var flooding sync.WaitGroup
	for n := range 64 {
		flooding.Go(func() {
			if err := flood.swallow(uint64(n+1), 256<<10); err != nil {
				t.Errorf("the flood: %v", err)
			}
		})
	}
	for n := range 20 {
		if err := other.swallow(uint64(n+1), 10); errors.Is(err, protocol.ErrOverloaded) {
			t.Errorf("another client was refused: %v", err)
		} else if err != nil {
			t.Error(err)
		}
	}
	flooding.Wait()
}

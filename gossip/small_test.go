package gossip

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// wall has streams stand still between some members and all others.
func (n *network) wall(some ...int) {
	for _, i := range some {
		for k := range n.nodes {
			n.net.Link(i, k).NoStream, n.net.Link(k, i).NoStream = true, true
		}
	}
}

func (n *network) unwall(some ...int) {
	for _, i := range some {
		for k := range n.nodes {
			n.net.HealStream(n.now, i, k)
			n.net.HealStream(n.now, k, i)
		}
	}
}

// mute has datagrams lost between a member and all others, or not.
func (n *network) mute(i int, lost bool) {
	for k := range n.nodes {
		n.block(i, k, lost)
		n.block(k, i, lost)
	}
}

// A passive to which datagrams get through and streams do not stood still from its first gap on,
// and said of those that answered that they withhold entries.
func TestMembersWithoutStreamsFollowUnderLoad(t *testing.T) {
	cases := []struct {
		name     string
		opt      options
		passives int
		count    int
		bytes    int
		every    time.Duration
		behind   int // entries, when writing ends
	}{
		{"load", options{}, 4, 20, 200, 5 * ms, 2000},
		{"load and loss", options{loss: 0.05}, 4, 20, 200, 5 * ms, 2000},
		{"a flock", options{loss: 0.01}, 20, 10, 200, 5 * ms, 1000},
		{"entries of 5 KB", options{}, 4, 1, 5_000, 20 * ms, 25},
		{"entries of 5 KB and loss", options{loss: 0.05}, 4, 1, 5_000, 20 * ms, 25},
		{"entries of 300 KB", options{loss: 0.02}, 4, 1, 300_000, 500 * ms, 4},
		{"signed", options{config: signing(Config{})}, 4, 2, 200, 5 * ms, 400},
		{"signed entries of 5 KB", options{config: signing(Config{})}, 4, 1, 5_000, 20 * ms, 25},
		{"signed entries of 300 KB", options{loss: 0.02, config: signing(Config{})}, 4, 1, 300_000, 500 * ms, 4},
		{"from the disk", options{memory: 3}, 4, 10, 200, 5 * ms, 1000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(2) {
				opt := c.opt
				opt.seed, opt.actives, opt.passives, opt.delay = seed, 3, c.passives, 500*time.Microsecond
				n := newNetwork(t, opt)
				some := []int{4, 5}
				n.wall(some...)
				worst := 0
				for n.now < 3*time.Second {
					n.write(c.count, c.bytes)
					n.run(n.now + c.every)
					if n.now > time.Second {
						worst = max(worst, len(n.history)-len(n.nodes[4].log), len(n.history)-len(n.nodes[5].log))
					}
				}
				t.Logf("seed %d: %d entries written, %d behind at most", seed, len(n.history), worst)
				if worst > c.behind {
					t.Errorf("seed %d: %d entries behind, want at most %d", seed, worst, c.behind)
				}
				n.run(n.now + time.Second)
				if err := n.equal(); err != nil {
					t.Fatal(err)
				}
				for i, d := range n.nodes {
					if texts := d.said(protocol.EventWithheld); len(texts) > 0 {
						t.Errorf("seed %d: member %d says %d times that others withhold entries", seed, i, len(texts))
					}
				}
			}
		})
	}
}

// When streams get through again, the next answers come by them.
func TestStreamsThatAreBackCarryAnswers(t *testing.T) {
	n := newNetwork(t, options{seed: 1, actives: 3, passives: 4, delay: 500 * time.Microsecond})
	d := n.nodes[4]
	writes := func(lasts time.Duration) {
		for end := n.now + lasts; n.now < end; {
			n.write(1, 200)
			n.run(n.now + 6*ms) // pushed in datagrams: they say nothing of streams
		}
	}
	n.wall(4)
	writes(time.Second)
	bytes := map[bool]int{} // that it pulled, by stream and by datagram
	d.hears = func(m protocol.Message) {
		if f, ok := m.(*protocol.Frame); ok && f.Flags&protocol.FramePulled != 0 {
			bytes[streamed(f)] += len(f.Body)
		}
	}
	cut := func() {
		n.wall(4)
		n.mute(4, true)
		writes(300 * ms)
		n.mute(4, false)
	}
	cut()
	writes(time.Second)
	if bytes[true] > 0 || bytes[false] == 0 {
		t.Errorf("without streams it pulled %v bytes, want some, none by stream", bytes)
	}
	n.unwall(4)
	for range 8 { // each time there is something to pull
		clear(bytes)
		cut()
		n.unwall(4)
		writes(700 * ms)
	}
	if bytes[true] <= bytes[false] {
		t.Errorf("with streams it pulled %v bytes, want most by stream", bytes)
	}
	n.run(n.now + time.Second)
	if err := n.equal(); err != nil {
		t.Error(err)
	}
}

// One that is asked for datagrams and sends a part of another large frame with each had a
// megabyte made ready for each of them.
func TestPartsOfManyFramesMakeRoomForOne(t *testing.T) {
	h := chain(120, 2000, "h")
	b := newBench(t, protocol.RolePassive, h, 100, 3, 3, Config{})
	who := passiveID(3)
	b.step(who, &protocol.Have{First: 1, LastIndex: 120})
	b.wait(3 * ms)
	b.wait(100 * ms)
	b.step(who, &protocol.Have{First: 1, LastIndex: 120})
	b.wait(50 * ms)
	p := &b.core.pulling
	if i := p.find(who); i < 0 || !p.out[i].small {
		t.Fatalf("pulls %+v, want one for datagrams", p.out)
	}
	parts := protocol.FrameParts(frame(h, who, 101, 101), 0, 1<<20)
	b.step(who, parts[0])
	begun := &p.parts[0].bytes[0]
	for i := range uint64(20) {
		b.step(who, &protocol.FramePart{Index: 101 + protocol.Index(i%2), Size: 1 << 20, Sum: i, Data: make([]byte, partBytesMin)})
	}
	if len(p.parts) != 1 || &p.parts[0].bytes[0] != begun {
		t.Fatalf("%d frames in parts, the first of %d bytes: want that which was begun", len(p.parts), len(p.parts[0].bytes))
	}
	var runs []Run
	for _, k := range parts[1:] {
		runs = append(runs, b.step(who, k).Runs...)
	}
	if len(runs) != 1 || len(p.parts) != 0 {
		t.Errorf("%d runs and %d frames in parts, want the one", len(runs), len(p.parts))
	}
}

package gossip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// swarmNode is what a node of the simulated network has to do with checkpoints:
// a store in a few lines.
type swarmNode struct {
	base    protocol.Index   // the log begins after it
	keeps   []protocol.Index // checkpoints, newest first
	lost    bool
	dead    bool
	corrupt bool // gives wrong bytes
	slow    time.Duration

	install  protocol.Index // what is being fetched
	got      map[int]bool
	wrong    int // chunks that did not fit
	offers   []protocol.Index
	given    int // chunks sent
	finished time.Duration
}

const testChunkBytes = 3000

// chunkOf returns the bytes of a chunk, equal on all members.
func chunkOf(index protocol.Index, number int) []byte {
	b := make([]byte, testChunkBytes)
	binary.BigEndian.PutUint64(b, uint64(index))
	binary.BigEndian.PutUint64(b[8:], uint64(number))
	return b
}

func chunkSum(data []byte) uint64 {
	h := fnv.New64a()
	h.Write(data)
	return h.Sum64()
}

// describe is the encoded manifest of a checkpoint with n chunks.
func describe(index protocol.Index, sum protocol.LogSum, n int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(index))
	for _, part := range sum {
		b = binary.BigEndian.AppendUint64(b, part)
	}
	for i := range n {
		b = binary.BigEndian.AppendUint64(b, chunkSum(chunkOf(index, i)))
	}
	return b
}

// checkpoint makes nodes take a checkpoint of what they hold at an index. Each
// keeps two, and drops its log below the older one.
func (n *network) checkpoint(at protocol.Index, nodes ...*node) {
	for _, d := range nodes {
		s := &d.swarm
		if len(d.log) < int(at) {
			n.t.Fatalf("seed %d: node %d holds %d entries, no checkpoint at %d", n.opt.seed, d.at, len(d.log), at)
		}
		s.keeps = append([]protocol.Index{at}, s.keeps...)
		pinned := d.core.Pinned(d.local(n.now))
		keep := s.keeps[:0:0]
		for i, k := range s.keeps {
			if i < 2 || slices.Contains(pinned, k) && !n.careless {
				keep = append(keep, k)
			}
		}
		if s.keeps = keep; len(keep) > 1 {
			s.base = max(s.base, keep[1])
			if needs := d.core.Needs(d.local(n.now)); len(needs) > 0 && !n.careless {
				s.base = min(s.base, needs[0]-1)
			}
		}
		d.hold()
		d.turn()
	}
}

func (d *node) hold() {
	var list []Holding
	for _, k := range d.swarm.keeps {
		list = append(list, Holding{Index: k, Sum: d.sum(k), Chunks: d.n.opt.chunks, Manifest: describe(k, d.sum(k), d.n.opt.chunks)})
	}
	d.core.Holds(d.local(d.n.now), list)
}

// serveSwarm does what a replica and its store do with a core's Ready.
func (d *node) serveSwarm(now protocol.Instant, rd Ready) {
	s := &d.swarm
	if rd.Offer != nil {
		index := protocol.Index(binary.BigEndian.Uint64(rd.Offer.Manifest))
		s.offers = append(s.offers, index)
		if index > s.install && (index > protocol.Index(len(d.log)) || s.lost) {
			s.install, s.got = index, make(map[int]bool)
			d.fetch(now)
		}
	}
	for _, r := range rd.ChunkReads {
		d.n.after(time.Millisecond, func() {
			if s.dead {
				return
			}
			var data []byte
			if slices.Contains(s.keeps, r.Index) && r.Number < d.n.opt.chunks {
				data = chunkOf(r.Index, r.Number)
				s.given++
			}
			if s.corrupt && data != nil {
				data[len(data)-1]++
			}
			d.core.ChunkIs(d.local(d.n.now), r, data)
			d.turn()
		})
	}
	for _, k := range rd.Chunks {
		d.n.after(time.Millisecond+s.slow, func() { d.store(k) })
	}
}

// fetch asks for what is missing.
func (d *node) fetch(now protocol.Instant) {
	s := &d.swarm
	want := Fetching{Index: s.install, Sum: d.n.history[s.install-1].Sum}
	for i := range d.n.opt.chunks {
		if !s.got[i] {
			want.Missing = append(want.Missing, i)
		}
	}
	d.core.Fetch(now, want)
}

// store takes a chunk and installs the checkpoint with the last one.
func (d *node) store(k ChunkArrived) {
	s := &d.swarm
	if k.Index != s.install || s.dead {
		return
	}
	ok := bytes.Equal(k.Data, chunkOf(k.Index, k.Number))
	if !ok {
		s.wrong++
	} else if s.got[k.Number] {
		d.n.t.Fatalf("seed %d: node %d was given chunk %d twice", d.n.opt.seed, d.at, k.Number)
	} else {
		s.got[k.Number] = true
	}
	d.core.ChunkAdded(d.local(d.n.now), k.Number, ok)
	if len(s.got) == d.n.opt.chunks {
		d.log, s.base, s.lost = d.n.history[:s.install:s.install], s.install, false
		s.keeps, s.install, s.finished = []protocol.Index{s.install}, 0, d.n.now
		d.core.StopFetch(d.local(d.n.now))
		d.hold()
	}
	d.turn()
}

// die stops a node for good; the others notice if they are told.
func (n *network) die(d *node, noticed bool) {
	d.swarm.dead = true
	if !noticed {
		return
	}
	for _, x := range n.nodes {
		var peers []protocol.Peer
		for _, m := range x.core.members.all {
			if m.id != d.id {
				peers = append(peers, m.peer)
			}
		}
		x.core.SetPeers(x.local(n.now), peers)
		x.turn()
	}
}

// behind returns a network in which the last node is far behind: everybody else
// has given up the entries that it needs, and has a checkpoint at index 150.
func behind(t testing.TB, opt options) (*network, *node) {
	opt.actives, opt.delay = 3, 500*time.Microsecond
	if opt.chunks == 0 {
		opt.chunks = 40
	}
	n := newNetwork(t, opt)
	late := n.nodes[len(n.nodes)-1]
	late.paused = time.Hour
	n.write(100, 100)
	n.run(n.now + 2*time.Second)
	others := n.nodes[:len(n.nodes)-1]
	n.checkpoint(100, others...)
	n.write(100, 100)
	n.run(n.now + 2*time.Second)
	n.checkpoint(150, others...)
	clear(n.net.Bytes)
	// What waited for it is lost: nobody remembers a member that was away for
	// so long.
	late.paused = n.now
	late.core.intake.buffer.clear()
	late.core.intake.seen.clear()
	return n, late
}

// settle runs until a node has caught up, and returns how long that took.
func (n *network) settle(d *node, most time.Duration) time.Duration {
	n.t.Helper()
	begin := n.now
	for len(d.log) < len(n.history) || d.swarm.lost {
		if n.now > begin+most {
			n.t.Fatalf("seed %d: node %d holds %d of %d entries after %v; fetching %+v, seek %+v", n.opt.seed, d.at, len(d.log), len(n.history), most, d.core.fetching, d.core.seek)
		}
		n.run(n.now + time.Millisecond)
	}
	if err := n.sound(d); err != nil {
		n.t.Fatal(err)
	}
	return n.now - begin
}

func (n *network) sound(d *node) error {
	if i := protocol.Index(len(d.log)); d.sum(i) != n.history[i-1].Sum {
		return fmt.Errorf("seed %d: node %d holds other entries", n.opt.seed, d.at)
	}
	if d.refused > 0 || d.wrong != nil {
		return fmt.Errorf("seed %d: node %d refused %d runs, diverged: %v", n.opt.seed, d.at, d.refused, d.wrong)
	}
	return nil
}

// given returns how many chunks the nodes sent.
func given(nodes []*node) (total, members int) {
	for _, d := range nodes {
		total += d.swarm.given
		if d.swarm.given > 0 {
			members++
		}
	}
	return total, members
}

// A member below everybody's log fetches a checkpoint from several passives at
// once, then the entries above it. Actives give no chunk as long as passives
// can.
func TestCatchUpFromSeveralPassives(t *testing.T) {
	for seed := range uint64(5) {
		n, late := behind(t, options{seed: seed, passives: 8, chunks: 300})
		late.swarm.slow = 20 * time.Millisecond
		took := n.settle(late, 2*time.Second)
		actives, _ := given(n.nodes[:3])
		passives, members := given(n.nodes[3:])
		if actives > 0 {
			t.Errorf("seed %d: got %d chunks from actives, want none while passives hold them", seed, actives)
		}
		if passives > n.opt.chunks*101/100 || members < 4 {
			t.Errorf("seed %d: got %d chunks from %d passives, want %d from several", seed, passives, members, n.opt.chunks)
		}
		if n.net.Bytes[0] > 200_000 {
			t.Errorf("seed %d: the leader sent %d bytes", seed, n.net.Bytes[0])
		}
		t.Logf("seed %d: %d chunks from %d passives in %v", seed, passives, members, took)
	}
}

// Holders in the same zone give all that they can.
func TestCatchUpStaysInTheZone(t *testing.T) {
	n, late := behind(t, options{seed: 3, passives: 12, zones: 3, chunks: 400})
	late.swarm.slow = 20 * time.Millisecond
	n.settle(late, 5*time.Second)
	near, far := 0, 0
	for _, d := range n.nodes {
		if d.core.cfg.Zone == late.core.cfg.Zone {
			near += d.swarm.given
		} else {
			far += d.swarm.given
		}
	}
	// Whoever is heard of first may be far away.
	if far > n.opt.chunks/4 {
		t.Errorf("got %d chunks from this zone and %d from others", near, far)
	}
}

// A holder that dies in the middle costs time, and nothing else: noticed by
// membership or not.
func TestHolderDiesMidway(t *testing.T) {
	for _, noticed := range []bool{true, false} {
		for seed := range uint64(5) {
			n, late := behind(t, options{seed: seed, passives: 6})
			for _, m := given(n.nodes); m == 0; _, m = given(n.nodes) {
				n.run(n.now + time.Millisecond)
			}
			i := slices.IndexFunc(n.nodes, func(d *node) bool { return d.swarm.given > 0 })
			n.die(n.nodes[i], noticed)
			took := n.settle(late, 20*time.Second)
			t.Logf("seed %d, noticed %v: %v", seed, noticed, took)
			if noticed && took > time.Second {
				t.Errorf("seed %d: took %v after a death that was noticed", seed, took)
			}
		}
	}
}

// When everybody has moved on to newer checkpoints, so does the fetch: a new
// manifest, a new offer.
func TestAllHoldersRotate(t *testing.T) {
	for seed := range uint64(5) {
		n, late := behind(t, options{seed: seed, passives: 6, chunks: 200})
		late.swarm.slow = 50 * time.Millisecond
		for len(late.swarm.got) == 0 {
			n.run(n.now + time.Millisecond)
		}
		others := n.nodes[:len(n.nodes)-1]
		n.careless = true
		n.write(100, 100)
		n.run(n.now + 20*time.Millisecond)
		n.checkpoint(220, others...)
		n.checkpoint(260, others...)
		n.settle(late, 30*time.Second)
		if o := late.swarm.offers; len(o) < 2 || o[0] != 150 || o[len(o)-1] != 260 {
			t.Errorf("seed %d: got offers of %v, want 150 and then 260", seed, o)
		}
	}
}

// A checkpoint that is being fetched is kept everywhere although newer ones are
// taken, by members that have given nothing of it too, and so is the log that
// follows it: one fetch, one installation, and what was written meanwhile.
func TestOneFetchIsEnoughWhileCheckpointsAreTaken(t *testing.T) {
	for seed := range uint64(2) {
		n, late := behind(t, options{seed: seed, passives: 6, chunks: 500})
		late.swarm.slow = 50 * time.Millisecond
		for len(late.swarm.got) < 20 {
			n.run(n.now + time.Millisecond)
		}
		others := n.nodes[:len(n.nodes)-1]
		for late.swarm.finished == 0 {
			if n.now > time.Minute {
				t.Fatalf("seed %d: has %d chunks, fetching %+v", seed, len(late.swarm.got), late.core.fetching)
			}
			n.write(50, 100)
			n.run(n.now + 300*time.Millisecond)
			n.checkpoint(protocol.Index(len(n.history)-30), others...)
		}
		if late.swarm.base != 150 {
			t.Errorf("seed %d: installed %d, want 150, which was fetched first", seed, late.swarm.base)
		}
		if len(n.history) < 350 {
			t.Fatalf("seed %d: %d entries: the test tests nothing", seed, len(n.history))
		}
		n.checkpoint(protocol.Index(len(n.history)-30), others...) // right after it
		n.checkpoint(protocol.Index(len(n.history)-20), others...)
		n.settle(late, 30*time.Second)
		if got, want := late.swarm.offers, []protocol.Index{150}; !slices.Equal(got, want) {
			t.Errorf("seed %d: got offers of %v, want %v alone", seed, got, want)
		}
		// It is let go when the fetch has ended.
		n.write(1, 100)
		n.run(n.now + 5*time.Second)
		for _, d := range others {
			n.checkpoint(protocol.Index(len(n.history)), d)
			if slices.Contains(d.swarm.keeps, 150) || d.swarm.base < 150 {
				t.Errorf("seed %d: node %d has checkpoints at %v and the log from %d on, want nothing of what was needed", seed, d.at, d.swarm.keeps, d.swarm.base+1)
			}
		}
	}
}

// A holder with wrong bytes is found out, left aside and reported.
func TestCorruptHolderIsLeftAside(t *testing.T) {
	for seed := range uint64(5) {
		n, late := behind(t, options{seed: seed, passives: 6, chunks: 100})
		bad := n.nodes[4]
		bad.swarm.corrupt = true
		n.settle(late, 5*time.Second)
		if late.swarm.wrong > 2*askChunks {
			t.Errorf("seed %d: got %d wrong chunks from one member, want at most what was under way", seed, late.swarm.wrong)
		}
		reported := slices.ContainsFunc(late.events, func(e protocol.Event) bool {
			return e.Kind == protocol.EventRefused && e.Member == bad.id
		})
		if late.swarm.wrong > 0 && !reported {
			t.Errorf("seed %d: nothing was reported", seed)
		}
		for _, e := range late.events {
			if e.Kind == protocol.EventRefused && e.Member != bad.id {
				t.Errorf("seed %d: an innocent member was reported: %v", seed, e)
			}
		}
	}
}

// With no passive that holds it, actives give the checkpoint, and the leader
// only when there is nobody else.
func TestLeaderGivesOnlyWhenNobodyElseCan(t *testing.T) {
	n, late := behind(t, options{seed: 1, passives: 1})
	n.settle(late, 5*time.Second)
	if got := n.nodes[n.leader].swarm.given; got > 0 {
		t.Errorf("the leader gave %d chunks, want none: two others have them", got)
	}
	n, late = behind(t, options{seed: 1, passives: 1})
	n.die(n.nodes[1], true)
	n.die(n.nodes[2], true)
	n.settle(late, 5*time.Second)
	if got := n.nodes[n.leader].swarm.given; got != n.opt.chunks {
		t.Errorf("the leader gave %d chunks, want all: nobody else has them", got)
	}
}

// A learner, or a follower that its leader told to install a checkpoint, fetches
// it with the same code, without having looked for it.
func TestLearnerFetches(t *testing.T) {
	n, late := behind(t, options{seed: 6, passives: 6})
	late.active = true
	late.turn()
	n.run(n.now + time.Second)
	if len(late.swarm.offers) > 0 {
		t.Errorf("got an offer: an active's checkpoints are its leader's business")
	}
	late.swarm.install, late.swarm.got = 150, make(map[int]bool)
	late.fetch(late.local(n.now))
	late.turn()
	for begin := n.now; late.swarm.base != 150; n.run(n.now + time.Millisecond) {
		if n.now > begin+2*time.Second {
			t.Fatalf("not installed: %+v", late.core.fetching)
		}
	}
}

// A follower that its leader told to fetch is offered a newer checkpoint too,
// when nobody holds that one any more.
func TestFollowerMovesOnWithTheHolders(t *testing.T) {
	n, late := behind(t, options{seed: 6, passives: 6, chunks: 200})
	late.active, late.swarm.slow = true, 50*time.Millisecond
	late.swarm.install, late.swarm.got = 150, make(map[int]bool)
	late.fetch(late.local(n.now))
	late.turn()
	n.run(n.now + 200*time.Millisecond)
	others := n.nodes[:len(n.nodes)-1]
	n.careless = true
	n.write(100, 100)
	n.run(n.now + 20*time.Millisecond)
	n.checkpoint(220, others...)
	n.checkpoint(260, others...)
	for begin := n.now; late.swarm.base != 260; n.run(n.now + time.Millisecond) {
		if n.now > begin+20*time.Second {
			t.Fatalf("not installed: %+v, seek %+v", late.core.fetching, late.core.seek)
		}
	}
}

// Whoever lost its state gets an offer although its log joins everybody's.
func TestLostStateIsFetched(t *testing.T) {
	for _, role := range []bool{true, false} {
		n, _ := behind(t, options{seed: 8, passives: 6})
		d := n.nodes[5]
		if role {
			d = n.nodes[1]
		}
		d.swarm.lost, d.log = true, d.log[:140]
		d.swarm.keeps = nil
		d.hold()
		d.turn()
		for begin := n.now; d.swarm.base != 150; n.run(n.now + time.Millisecond) {
			if n.now > begin+3*time.Second {
				t.Fatalf("active %v: not installed: %+v", role, d.core.seek)
			}
		}
	}
}

// Random flocks, losses, deaths and rotations: whoever is behind catches up.
func TestCatchUpWhateverHappens(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		n, late := behind(t, options{
			seed: seed, passives: 3 + rng.IntN(8), zones: 1 + rng.IntN(3), chunks: 1 + rng.IntN(120),
			loss: 0.3 * rng.Float64(), duplicate: 0.2 * rng.Float64(), jitter: time.Duration(rng.IntN(10)) * time.Millisecond,
			drift:  1e-3 * rng.Float64(),
			config: Config{FetchChunksMax: 1 + rng.IntN(20), ChunkServeBytes: 1 << (18 + rng.IntN(8))},
		})
		late.swarm.slow = time.Duration(rng.IntN(20)) * time.Millisecond
		others := n.nodes[:len(n.nodes)-1]
		if rng.IntN(3) == 0 {
			others[3].swarm.corrupt = true
		}
		for range rng.IntN(4) {
			n.run(n.now + time.Duration(rng.IntN(1000))*time.Millisecond)
			switch i := 3 + rng.IntN(len(others)-3); rng.IntN(3) {
			case 0:
				n.die(others[i], rng.IntN(2) == 0)
			case 1:
				others[i].paused = n.now + time.Duration(rng.IntN(3000))*time.Millisecond
			case 2:
				n.write(20, 100)
				n.run(n.now + 3*time.Second)
				for _, d := range others {
					if len(d.log) == len(n.history) {
						n.checkpoint(protocol.Index(len(n.history)-rng.IntN(10)), d)
					}
				}
			}
		}
		n.settle(late, 5*time.Minute)
	}
}

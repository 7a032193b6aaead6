package gossip

import (
	"math"
	"os"
	"testing"
	"time"
)

// spreadOf is what a measurement of the flock gives.
type spreadOf struct {
	copies   float64 // pushed copies received per member and frame
	leader   float64 // copies that the leader pushed per frame
	actives  float64 // that all actives pushed
	coverage float64 // share of members that push alone reached
	t99, all time.Duration
	shares   [4]int
}

// pushOnly measures what push alone reaches: after each frame, what is missing
// is put into the logs by magic.
func pushOnly(t testing.TB, opt options, warm, frames int) spreadOf {
	opt.actives = 3
	opt.delay = max(opt.delay, 500*time.Microsecond)
	opt.config.NoRepair = true
	n := newNetwork(t, opt)
	var out spreadOf
	missed := 0
	var times []time.Duration
	for i := range warm + frames {
		if i == warm {
			n.frames = 0
			clear(n.framesBy)
		}
		n.write(1, 100)
		begin := n.now
		reached := make([]bool, len(n.nodes))
		for n.now < begin+20*time.Millisecond {
			n.run(n.now + 500*time.Microsecond)
			if i < warm {
				continue
			}
			for k, d := range n.nodes[opt.actives:] {
				if !reached[k] && len(d.log) == len(n.history) {
					reached[k] = true
					times = append(times, n.now-begin)
				}
			}
		}
		for _, d := range n.nodes[opt.actives:] {
			if len(d.log) < len(n.history) {
				if i >= warm {
					missed++
				}
				d.log = n.history[:len(n.history):len(n.history)]
				d.turn()
			}
		}
	}
	total := float64(frames * opt.passives)
	if passed := float64(n.frames); passed == 0 {
		t.Fatal("no frame arrived")
	}
	out.copies = float64(n.frames) / total
	out.leader = float64(n.framesBy[n.leader]) / float64(frames)
	for _, k := range n.framesBy[:opt.actives] {
		out.actives += float64(k) / float64(frames)
	}
	out.coverage = 1 - float64(missed)/total
	out.t99 = percentile(times, 0.99)
	out.all = percentile(times, 1)
	for _, d := range n.nodes[opt.actives:] {
		out.shares[d.core.links.tree.wanted]++
	}
	return out
}

// Push alone, at several sizes and losses, against the targets. A thousand
// passives and ten thousand take a while: they are measured if STARLING_GOSSIP
// is set.
func TestHybridPushAlone(t *testing.T) {
	sizes := []int{7, 10, 100}
	if os.Getenv("STARLING_GOSSIP") != "" {
		sizes = append(sizes, 1000, 10_000)
	}
	for _, passives := range sizes {
		for _, c := range []struct{ loss, coverage, copies float64 }{{0, 1, 1.3}, {0.01, 0.985, 1.6}, {0.05, 0.92, 1.6}} {
			sample, warm, frames := 0, 200, max(100, 3000/passives)
			if passives > 1000 {
				sample, warm, frames = 100, 150, 20
			}
			s := pushOnly(t, options{seed: 21, passives: passives, sample: sample, loss: c.loss, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}}, warm, frames)
			t.Logf("seed 21, N %d, loss %.0f %%: push reaches %.2f %%, %.2f copies, leader %.2f, actives %.2f, 99 %% after %v, all after %v, parents wanted %v",
				passives, 100*c.loss, 100*s.coverage, s.copies, s.leader, s.actives, s.t99, s.all, s.shares[1:])
			if s.coverage < c.coverage || s.copies > c.copies {
				t.Errorf("N %d, loss %.2f: got %.4f reached with %.2f copies, want %.3f with at most %.2f", passives, c.loss, s.coverage, s.copies, c.coverage, c.copies)
			}
			if s.leader > 3 || s.actives > 9.001 {
				t.Errorf("N %d: the leader sent %.2f copies of a frame, all actives %.2f, want at most 3 and 9", passives, s.leader, s.actives)
			}
			// ceil(log_{D-1}(N/9)) + 1 hops of half a millisecond are the bound.
			if c.loss == 0 && passives > 9 {
				hops := math.Ceil(math.Log(float64(passives)/9)/math.Log(float64(degree(passives)-1))) + 1
				bound := time.Duration(hops * float64(500*time.Microsecond))
				if s.all > bound*5/2+time.Millisecond { // what the network's jitter and the steps of measuring add
					t.Errorf("N %d: got all members after %v, want 2.5 times the bound of %v", passives, s.all, bound)
				}
			}
		}
	}
}

// steady is a flock under a steady load, with repair.
type steady struct {
	lags           []time.Duration
	copies, pulled float64 // pushed and pulled copies received, per member and frame of the leader
	leader         float64 // pushed by the leader, per entry
	n              *network
}

// run writes count entries of some bytes every so often, for a time after a
// warm-up, and takes the lags at the passives that watch says.
func measureSteady(t testing.TB, opt options, every time.Duration, count, bytes int, warm, long time.Duration, disturb func(*network), watch func(*node) bool) steady {
	opt.actives = 3
	opt.delay = max(opt.delay, 500*time.Microsecond)
	n := newNetwork(t, opt)
	s := steady{n: n}
	held := make([]int, len(n.nodes))
	next := time.Duration(0)
	entries := 0
	warmed := false
	for n.now < warm+long {
		if n.now >= warm && !warmed {
			warmed = true
			if disturb != nil {
				disturb(n)
			}
			n.frames, n.pulled, n.crossing, entries = 0, 0, 0, 0
			clear(n.framesBy)
			clear(n.bytesFrom)
			clear(n.sent)
			for i, d := range n.nodes {
				held[i] = len(d.log)
			}
		}
		if n.now >= next {
			n.write(count, bytes)
			entries += count
			next += every
		}
		n.run(n.now + 250*time.Microsecond)
		if !warmed {
			continue
		}
		for i, d := range n.nodes[opt.actives:] {
			if watch != nil && !watch(d) {
				continue
			}
			for ; held[opt.actives+i] < len(d.log); held[opt.actives+i]++ {
				s.lags = append(s.lags, n.now-n.acked[held[opt.actives+i]])
			}
		}
	}
	each := float64(opt.passives * entries)
	s.copies, s.pulled = float64(n.frames)/each, float64(n.pulled)/each
	s.leader = float64(n.framesBy[n.leader]) / float64(entries)
	return s
}

func TestHybridLag(t *testing.T) {
	for _, c := range []struct {
		loss   float64
		want   time.Duration
		copies float64
	}{{0, 8 * ms, 1.3}, {0.05, 25 * ms, 1.6}, {0.2, 150 * ms, 3}} {
		s := measureSteady(t, options{seed: 9, passives: 100, loss: c.loss, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
			10*time.Millisecond, 1, 200, time.Second, 2*time.Second, nil, nil)
		p99 := percentile(s.lags, 0.99)
		t.Logf("seed 9, loss %.0f %%: lag p50 %v, p99 %v, max %v; %.2f copies pushed, %.2f pulled; leader %.2f",
			100*c.loss, percentile(s.lags, 0.5), p99, percentile(s.lags, 1), s.copies, s.pulled, s.leader)
		if p99 > c.want || s.copies+s.pulled > c.copies {
			t.Errorf("loss %.2f: got lag p99 %v with %.2f copies, want %v with %.2f", c.loss, p99, s.copies+s.pulled, c.want, c.copies)
		}
	}
}

// Under load frames become large and go by stream, and hardly anything comes
// twice.
func TestHybridStreams(t *testing.T) {
	s := measureSteady(t, options{seed: 9, passives: 50, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
		time.Millisecond, 10, 256, 500*ms, 500*ms, nil, nil)
	total := 0
	for _, b := range s.n.bytesFrom {
		total += b
	}
	payload := float64(len(s.n.history[0].Raw) * 10 * 500)
	copies, leader := float64(total)/payload/50, float64(s.n.bytesFrom[0])/payload
	t.Logf("seed 9: lag p50 %v, p99 %v; %.3f copies of the payload per member, %.2f from the leader, digests and all", percentile(s.lags, 0.5), percentile(s.lags, 0.99), copies, leader)
	if copies > 1.05 || leader > 3.15 {
		t.Errorf("got %.3f copies per member and %.2f from the leader, want at most 1.05 and 3.15", copies, leader)
	}
}

// A tenth of the flock dead and not noticed, or slow, costs the others little.
func TestHybridWithDeadAndSlowMembers(t *testing.T) {
	base := options{seed: 4, passives: 100, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}}
	ill := func(at int) bool { return at >= 5 && at%10 == 5 }
	measure := func(disturb func(*node)) steady {
		return measureSteady(t, base, 10*time.Millisecond, 1, 200, time.Second, 2*time.Second, func(n *network) {
			for _, d := range n.nodes {
				if ill(d.at) {
					disturb(d)
				}
			}
		}, func(d *node) bool { return !ill(d.at) })
	}
	healthy := percentile(measure(func(*node) {}).lags, 0.99)
	for _, c := range []struct {
		name    string
		times   float64
		disturb func(*node)
	}{
		{"dead", 4, func(d *node) { d.n.die(d, false) }},
		{"slow", 1.5, func(d *node) { d.slow = 50 * time.Millisecond }},
	} {
		s := measure(c.disturb)
		p99 := percentile(s.lags, 0.99)
		t.Logf("seed 4, a tenth %s: lag p50 %v, p99 %v, max %v; %v if all are well", c.name, percentile(s.lags, 0.5), p99, percentile(s.lags, 1), healthy)
		if float64(p99) > c.times*float64(healthy) {
			t.Errorf("a tenth %s: got lag p99 %v, want at most %.1f times %v", c.name, p99, c.times, healthy)
		}
	}
}

// Three zones 40 ms apart: frames cross to each about once.
func TestHybridZones(t *testing.T) {
	s := measureSteady(t, options{seed: 6, passives: 100, zones: 3, zoneDelay: 40 * time.Millisecond, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
		10*time.Millisecond, 1, 200, time.Second, 2*time.Second, nil, nil)
	p99, crossing := percentile(s.lags, 0.99), float64(s.n.crossing)/200
	t.Logf("seed 6: lag p50 %v, p99 %v; %.2f copies, %.2f cross a zone per frame", percentile(s.lags, 0.5), p99, s.copies, crossing)
	if p99 > 60*ms || crossing > 6 {
		t.Errorf("got lag p99 %v and %.2f copies across zones, want at most 60 ms and 6", p99, crossing)
	}
}

// Half the flock is cut off for ten seconds, and catches up within one, from
// passives.
func TestHybridHealsAfterACut(t *testing.T) {
	n := newNetwork(t, options{seed: 8, actives: 3, passives: 60, delay: 500 * time.Microsecond, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}})
	load := func(long time.Duration) {
		for end := n.now + long; n.now < end; n.run(n.now + 10*time.Millisecond) {
			n.write(1, 200)
		}
	}
	load(time.Second)
	for i, d := range n.nodes[3:] {
		d.cut = i % 2
	}
	load(10 * time.Second)
	for _, d := range n.nodes {
		d.cut = 0
	}
	clear(n.bytesFrom)
	begin := n.now
	for ; n.equal() != nil && n.now < begin+time.Second; n.run(n.now + 5*time.Millisecond) {
	}
	if err := n.equal(); err != nil {
		t.Fatal(err)
	}
	actives, total := 0, 0
	for i, b := range n.bytesFrom {
		total += b
		if i < 3 {
			actives += b
		}
	}
	t.Logf("seed 8: all equal after %v; %d of %d bytes from actives", n.now-begin, actives, total)
	if actives*20 > total {
		t.Errorf("got %d of %d bytes from actives, want at most 5 %%", actives, total)
	}
}

package gossip

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// spreadOf is what a measurement of the flock gives.
type spreadOf struct {
	copies   float64 // pushed copies received per member and frame
	pulled   float64 // pulled frames per member and frame
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
	var times, last []time.Duration
	for i := range warm + frames {
		if i == warm {
			n.frames = 0
			clear(n.framesBy)
		}
		n.write(1, 100)
		begin := n.now
		reached := make([]bool, len(n.nodes))
		for n.now < begin+40*time.Millisecond {
			n.run(n.now + 500*time.Microsecond)
			if i < warm {
				continue
			}
			for k, d := range n.nodes[opt.actives:] {
				if !reached[k] && len(d.log) == len(n.history) {
					reached[k] = true
					times = append(times, n.now-begin)
					if len(times)%opt.passives == 0 {
						last = append(last, n.now-begin)
					}
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

// Push alone, at several sizes and losses.
func TestHybridPushAlone(t *testing.T) {
	for _, passives := range []int{7, 10, 100, 1000} {
		for _, loss := range []float64{0, 0.01, 0.05} {
			frames := 150
			if passives == 1000 {
				frames = 60
			}
			s := pushOnly(t, options{seed: 21, passives: passives, loss: loss, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}}, 300, frames)
			t.Logf("N %d, loss %.0f %%: coverage %.2f %%, %.2f copies, leader %.2f, actives %.2f, t99 %v, all %v, wanted %v",
				passives, 100*loss, 100*s.coverage, s.copies, s.leader, s.actives, s.t99, s.all, s.shares)
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
			n.frames, n.pulled, entries = 0, 0, 0
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
	for _, loss := range []float64{0, 0.05, 0.2} {
		s := measureSteady(t, options{seed: 9, passives: 100, loss: loss, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
			10*time.Millisecond, 1, 200, time.Second, 2*time.Second, nil, nil)
		t.Logf("loss %.0f %%: lag p50 %v, p99 %v, max %v; %.2f pushed, %.2f pulled; leader %.2f; sent %v",
			100*loss, percentile(s.lags, 0.5), percentile(s.lags, 0.99), percentile(s.lags, 1), s.copies, s.pulled, s.leader, s.n.sent)
	}
}

func TestHybridStreams(t *testing.T) {
	s := measureSteady(t, options{seed: 9, passives: 50, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
		time.Millisecond, 10, 256, time.Second, time.Second, nil, nil)
	bytes := 0
	for _, b := range s.n.bytesFrom {
		bytes += b
	}
	entry := len(s.n.history[0].Raw)
	t.Logf("streams: lag p50 %v, p99 %v; %.3f copies of the payload per member, leader %.2f; sent %v",
		percentile(s.lags, 0.5), percentile(s.lags, 0.99), float64(bytes)/float64(entry*10*1000*50), float64(s.n.bytesFrom[0])/float64(entry*10*1000), s.n.sent)
}

func TestHybridDeadAndSlow(t *testing.T) {
	base := options{seed: 4, passives: 100, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}}
	ill := func(at int) bool { return at >= 5 && at%10 == 5 }
	others := func(d *node) bool { return !ill(d.at) }
	healthy := measureSteady(t, base, 10*time.Millisecond, 1, 200, time.Second, 2*time.Second, nil, others)
	dead := measureSteady(t, base, 10*time.Millisecond, 1, 200, time.Second, 2*time.Second, func(n *network) {
		for _, d := range n.nodes {
			if ill(d.at) {
				n.die(d, false)
			}
		}
	}, others)
	slow := measureSteady(t, base, 10*time.Millisecond, 1, 200, time.Second, 2*time.Second, func(n *network) {
		for _, d := range n.nodes {
			if ill(d.at) {
				d.slow = 50 * time.Millisecond
			}
		}
	}, others)
	for _, s := range []steady{healthy, dead, slow} {
		t.Logf("p50 %v, p99 %v, max %v; %.2f copies, %.2f pulled", percentile(s.lags, 0.5), percentile(s.lags, 0.99), percentile(s.lags, 1), s.copies, s.pulled)
	}
}

func TestHybridZones(t *testing.T) {
	s := measureSteady(t, options{seed: 6, passives: 100, zones: 3, zoneDelay: 40 * time.Millisecond, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}},
		10*time.Millisecond, 1, 200, 2*time.Second, 2*time.Second, nil, nil)
	t.Logf("p50 %v, p99 %v, max %v; %.2f copies, %.2f pulled; %.2f cross a zone per frame", percentile(s.lags, 0.5), percentile(s.lags, 0.99), percentile(s.lags, 1), s.copies, s.pulled, float64(s.n.crossing)/200)
}

// Half the flock is cut off for ten seconds.
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
	for ; n.equal() != nil && n.now < begin+10*time.Second; n.run(n.now + 5*time.Millisecond) {
	}
	actives, total := 0, 0
	for i, b := range n.bytesFrom {
		total += b
		if i < 3 {
			actives += b
		}
	}
	t.Logf("all equal after %v: %v; %d of %d bytes from actives; sent %v", n.now-begin, n.equal(), actives, total, n.sent)
}

func TestHybridAge(t *testing.T) {
	for _, c := range []struct {
		name  string
		loss  float64
		every time.Duration
	}{{"busy", 0, 5 * time.Millisecond}, {"busy, loss", 0.05, 5 * time.Millisecond}, {"idle", 0, time.Hour}} {
		opt := options{seed: 3, actives: 3, passives: 100, loss: c.loss, delay: 500 * time.Microsecond, jitter: 200 * time.Microsecond, config: Config{Mode: Hybrid}}
		n := newNetwork(t, opt)
		next := time.Duration(0)
		for n.now < 2500*ms {
			if n.now >= next {
				n.write(1, 100)
				next = n.now + c.every
			}
			n.run(n.now + time.Millisecond)
			if n.now > time.Second {
				n.readAge(n.nodes[3+n.rng.IntN(100)])
			}
		}
		t.Logf("%s: age p50 %v, p99 %v", c.name, percentile(n.ages, 0.5), percentile(n.ages, 0.99))
	}
}

var _ = protocol.Index(0)

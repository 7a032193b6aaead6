package spread

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// How long the parts of a run take, in virtual time.
const (
	// The tree of Hybrid grows by the frames that come: the warm-up writes at
	// least treeRate, for treeWarm.
	treeWarm, treeRate = 2 * time.Second, 100.0
	otherWarm          = 500 * time.Millisecond
	// patience is how long members have after the last entry; a queue of
	// broadcasts takes longer.
	patience, patienceBroadcast = 10 * time.Second, 40 * time.Second
	// step is how often ages are read, agesEach of them.
	step, agesEach = time.Millisecond, 8
	// Push alone is measured with single entries, after pushWarm of them.
	pushWarm, pushWarmLarge, pushArrivals = 200, 150, 100_000
)

// Point is a share of the arrivals that had happened by a time.
type Point struct {
	Lag   time.Duration
	Share float64
}

// Figures are what a run gives. A duration of -1 is one that never came; a share
// of -1, and ages without AgeKnown, are ones that the mode does not have.
type Figures struct {
	Setting Setting
	Entries int // that counted
	// Copies are of an entry, as received per member: pushed and pulled.
	Copies, PulledCopies float64
	// LeaderCopies and ActiveCopies are how many copies of an entry the leader
	// and all actives sent, pulled ones (LeaderPulls) included.
	LeaderCopies, LeaderPulls, ActiveCopies float64
	// LeaderControl is what the leader sent besides, in bytes per second, and
	// LeaderControlShare that beside the bytes of its copies.
	LeaderControl, LeaderControlShare float64
	// Crossing is how many copies of an entry went from zone to zone.
	Crossing float64
	// CoveragePush is the share of the members that push alone reaches: repair is
	// off. Coverage is with repair.
	CoveragePush, Coverage float64
	// T99 and T100 are when 99 % and all of the members had an entry, since its
	// commit: of the median entry. T100Worst is of the worst.
	T99, T100, T100Worst time.Duration
	// Lag is of all members and entries. Copies that never came count as never.
	LagP50, LagP99, LagMax time.Duration
	// Age is what members report of themselves, at random times.
	AgeKnown       bool
	AgeP50, AgeP99 time.Duration
	AgesRead       int
	AgesTooLow     int // below the true age: never
	// RepairShare is the share of the arrivals that a pull brought.
	RepairShare float64
	Curve       []Point
}

// Progress hears which share of a run is done; an error ends the run.
type Progress func(done float64) error

// Run measures one setting, which is valid.
func Run(set Setting, progress Progress) (Figures, error) {
	push := 0.0 // the share that the measurement of push alone takes
	if set.Mode.core() {
		push = 0.5
	}
	f, err := steady(&set, func(done float64) error { return progress(done * (1 - push)) })
	if err != nil {
		return Figures{}, err
	}
	switch {
	case set.Mode == Broadcast:
		f.CoveragePush = f.Coverage
	case set.Mode == Pull:
		f.CoveragePush = -1
	default:
		f.CoveragePush, err = pushAlone(&set, func(done float64) error { return progress(1 - push + done*push) })
	}
	return f, err
}

// steady writes at the rate of the setting, after a warm-up, until everybody has
// everything.
func steady(set *Setting, progress Progress) (Figures, error) {
	n := newNet(set, false)
	warm, rate := otherWarm, set.Rate
	if set.Mode == Hybrid {
		warm, rate = treeWarm, max(rate, treeRate)
	}
	total := float64(warm + set.For)
	if err := n.load(warm, rate, func() error { return progress(0.9 * float64(n.now) / total) }); err != nil {
		return Figures{}, err
	}
	n.fall()
	n.tally.begin()
	err := n.load(set.For, set.Rate, func() error {
		for range agesEach {
			n.readAge()
		}
		return progress(0.9 * float64(n.now) / total)
	})
	if err != nil {
		return Figures{}, err
	}
	control := float64(n.tally.control) / n.now.Sub(n.tally.controlFrom).Seconds()
	share := -1.0
	if n.tally.payload > 0 {
		share = float64(n.tally.control) / float64(n.tally.payload)
	}
	end := n.now.Add(patience)
	if set.Mode == Broadcast {
		end = n.now.Add(patienceBroadcast)
	}
	for n.now < end && !n.tally.complete() {
		n.run(n.now.Add(10 * time.Millisecond))
		if err := progress(0.9); err != nil {
			return Figures{}, err
		}
	}
	f := n.tally.figures()
	f.LeaderControl, f.LeaderControlShare = control, share
	return f, nil
}

// load writes for a time, beginning now.
func (n *net) load(long time.Duration, rate float64, each func() error) error {
	begin := n.now
	for k, next := 0, begin; ; {
		at := begin.Add(time.Duration(float64(k) / rate * float64(time.Second)))
		if at.Sub(begin) >= long {
			at = begin.Add(long)
		}
		for ; next < at; next = next.Add(step) {
			n.run(next)
			if err := each(); err != nil {
				return err
			}
		}
		n.run(at)
		if at.Sub(begin) >= long {
			return nil
		}
		n.write()
		k++
	}
}

// readAge reads the age of a random member.
func (n *net) readAge() {
	i := Actives + n.rng.IntN(n.set.Members)
	d, ok := n.actors[i].(*member)
	if !ok || n.ill[i] {
		return
	}
	if age, known := d.core.Age(n.now, protocol.Index(d.lastIndex)); known {
		n.tally.readAge(age, d.lastIndex)
	}
}

// pushAlone measures which share of the members push reaches while repair is
// off: after each entry, what is missing is put into the logs by magic.
func pushAlone(set *Setting, progress Progress) (float64, error) {
	n := newNet(set, true)
	settle := 10*time.Millisecond + 16*set.Delay
	if set.Zones > 1 {
		settle += 4 * set.ZoneDelay
	}
	if set.Slow > 0 {
		settle += 4 * SlowBy
	}
	warm := pushWarm
	switch {
	case set.Mode == Flood:
		warm = 5 // it learns nothing
	case set.Members > knownAllTo:
		warm = pushWarmLarge
	}
	entries := min(max(pushArrivals/set.Members, 20), 200)
	missed := 0
	for k := range warm + entries {
		if k == warm {
			n.fall()
		}
		n.write()
		n.run(n.now.Add(settle))
		for i, a := range n.actors[Actives:] {
			d := a.(*member)
			if d.lastIndex == len(n.history) || n.dead[Actives+i] {
				continue
			}
			if k >= warm && !n.ill[Actives+i] {
				missed++
			}
			d.lastIndex = len(n.history)
			d.turn()
			n.wake(Actives + i)
		}
		if err := progress(float64(k+1) / float64(warm+entries)); err != nil {
			return 0, err
		}
	}
	return 1 - float64(missed)/float64(entries*n.tally.well), nil
}

// figures sums up.
func (t *tally) figures() Figures {
	entries := len(t.arrived)
	f := Figures{Setting: *t.n.set, Entries: entries, AgesRead: len(t.ages), AgesTooLow: t.tooLow, RepairShare: -1}
	arrivals := float64(entries * t.well)
	f.PulledCopies = float64(t.pulled) / arrivals
	f.Copies = float64(t.pushed)/arrivals + f.PulledCopies
	f.LeaderCopies = float64(t.sent[sentByLeader]) / float64(entries)
	f.LeaderPulls = float64(t.leaderPulls) / float64(entries)
	f.ActiveCopies = f.LeaderCopies + float64(t.sent[sentByActive])/float64(entries)
	f.Crossing = float64(t.crossed) / float64(entries)
	f.Coverage = float64(len(t.lags)) / arrivals
	if t.n.set.Mode != Pull && len(t.lags) > 0 {
		f.RepairShare = float64(t.repaired) / float64(len(t.lags))
	}
	f.T99, f.T100, f.T100Worst = middle(t.t99), middle(t.t100), worst(t.t100)

	slices.Sort(t.lags)
	f.LagP50, f.LagP99, f.LagMax = t.lag(0.5), t.lag(0.99), t.lag(1)
	if len(t.ages) > 0 {
		slices.Sort(t.ages)
		f.AgeKnown = true
		f.AgeP50, f.AgeP99 = t.ages[len(t.ages)/2], t.ages[len(t.ages)*99/100]
	}
	f.Curve = t.curve()
	return f
}

// lag returns the time by which a share of all that is due had arrived.
func (t *tally) lag(share float64) time.Duration {
	due := len(t.arrived) * t.well
	i := min(int(share*float64(due)), due-1)
	if i >= len(t.lags) {
		return -1
	}
	return time.Duration(t.lags[i]) * time.Microsecond
}

// curve thins the lags to one point for each half per cent of the arrivals, and
// the last per cent more finely.
func (t *tally) curve() []Point {
	due := float64(len(t.arrived) * t.well)
	var out []Point
	for k := 1; k <= 400; k++ {
		share := float64(k) / 200
		if share > 0.99 {
			share = 0.99 + float64(k-198)/20200
		}
		i := int(share*due) - 1
		if share > 1 || i >= len(t.lags) {
			break
		}
		if i >= 0 {
			out = append(out, Point{Lag: time.Duration(t.lags[i]) * time.Microsecond, Share: share})
		}
	}
	return out
}

// middle returns the median; -1 comes last.
func middle(list []time.Duration) time.Duration {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b time.Duration) int {
		switch {
		case a == b:
			return 0
		case a == -1:
			return 1
		case b == -1 || a < b:
			return -1
		}
		return 1
	})
	return s[len(s)/2]
}

// worst returns the longest, -1 if one never came.
func worst(list []time.Duration) time.Duration {
	if slices.Contains(list, -1) {
		return -1
	}
	return slices.Max(list)
}

//go:build linux

package fieldtest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// kinds are the file systems that are cut.
var kinds = []string{"ext4", "xfs"}

// diskMegabytes is the size of a member's file system, most of it a hole in its
// image. xfs is not made smaller than 300.
const diskMegabytes = 2048

// cuts returns how many cuts of each kind are made.
func cuts(t *testing.T) int {
	t.Helper()
	if n := number(t, "STARLING_CUTS"); n > 0 {
		return n
	}
	return 2
}

// powered is three actives, each on a file system whose power can fail.
type powered struct {
	*cluster
	book   *book
	random *rand.Rand
	cuts   int
}

func newPowered(t *testing.T, kind string, change func(*member)) *powered {
	t.Helper()
	several(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := &powered{book: newBook(), random: rand.New(rand.NewPCG(seed, 0))}
	var disks []*disk
	for range 3 { // before the cluster, so that its members are gone when they are unmounted
		disks = append(disks, newDisk(t, kind, diskMegabytes))
	}
	p.cluster = newCluster(t)
	for i, d := range disks {
		change(p.add(fmt.Sprintf("a%d", i+1), protocol.RoleActive, d))
	}
	p.begin()
	return p
}

// tell prints the figures.
func (p *powered) tell(kind, what string) {
	checkpoints := 0
	for _, m := range p.members {
		m.log.mu.Lock()
		checkpoints += m.log.checkpoints
		m.log.mu.Unlock()
	}
	p.t.Logf("%s: %d cuts of %s, %d acknowledged writes, 0 lost; %d checkpoints", kind, p.cuts, what, p.book.len(), checkpoints)
	if p.cuts >= 50 && !p.members[0].agent && checkpoints == 0 {
		p.t.Error("no checkpoint was taken in all that time")
	}
}

// burst lets clients write until so many writes are acknowledged, and runs what
// while they go on.
func (p *powered) burst(n int64, to []*member, what func()) {
	p.t.Helper()
	p.cuts++
	l := p.startLoad(p.book, fmt.Sprintf("cut%03d", p.cuts), 100+p.random.IntN(400), to...)
	l.acknowledged(p.cluster, n)
	what()
	l.stop()
}

// fail cuts the power of members, all at once, and ends their processes.
func (p *powered) fail(of ...*member) {
	p.t.Helper()
	errs := make([]error, len(of))
	var wait sync.WaitGroup
	for i, m := range of {
		wait.Go(func() { errs[i] = m.disk.cut() })
	}
	wait.Wait()
	for i, m := range of {
		m.kill()
		if errs[i] != nil {
			p.t.Fatal(errs[i])
		}
	}
}

// back brings the power of members back and starts them.
func (p *powered) back(of ...*member) {
	p.t.Helper()
	for _, m := range of {
		m.disk.again()
	}
	for _, m := range of {
		m.start()
	}
}

// The power of all members fails under load. Everything that was acknowledged
// is there when it comes back.
func TestPowerCutOfAllLosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			p := newPowered(t, kind, func(*member) {})
			for range cuts(t) {
				p.burst(20+p.random.Int64N(300), p.members, func() { p.fail(p.members...) })
				p.back(p.members...)
				p.settled()
				p.book.complete(p.cluster, p.members[p.random.IntN(3)])
			}
			p.tell(kind, "all")
		})
	}
}

// The power of one member fails under load while it is needed: a second one was
// stopped and has missed what was acknowledged meanwhile, and a third one is
// dead when the first comes back. So the only copy of it among the members left
// is the one that went through the cut.
func TestPowerCutOfOneKeepsWhatOnlyItHolds(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			p := newPowered(t, kind, func(*member) {})
			for range cuts(t) {
				p.cutOne()
			}
			p.tell(kind, "one")
		})
	}
}

func (p *powered) cutOne() {
	p.t.Helper()
	leader := p.leader(p.members...)
	order := p.random.Perm(3)
	late := p.members[order[0]]
	if late == leader {
		order[0], order[1] = order[1], order[0]
		late = p.members[order[0]]
	}
	cut, dead := p.members[order[1]], p.members[order[2]]
	late.signal(syscall.SIGSTOP)
	p.burst(20+p.random.Int64N(200), []*member{cut, dead}, func() {
		p.fail(cut)
		dead.kill()
	})
	late.signal(syscall.SIGCONT)
	p.back(cut)
	p.book.complete(p.cluster, cut)
	dead.start()
	p.settled()
	p.book.complete(p.cluster, late)
}

// The command itself, with its defaults, goes through the same.
func TestPowerCutOfTheCommandLosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	p := newPowered(t, "ext4", func(m *member) { m.agent = true })
	for range min(cuts(t), commandCutsMax) {
		p.burst(20+p.random.Int64N(300), p.members, func() { p.fail(p.members...) })
		p.back(p.members...)
		p.settled()
		p.book.complete(p.cluster, p.members[p.random.IntN(3)])
	}
	p.tell("the command, ext4", "all")
}

// commandCutsMax bounds how often the command is started anew, each time with a
// segment of 64 MiB more.
const commandCutsMax = 10

// The control: with every sync left out the same cuts lose acknowledged writes.
// If they did not, the tests above would prove nothing.
func TestPowerCutWithoutSyncLosesWrites(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			acknowledged, lost, dead := 0, 0, 0
			n := cuts(t)
			for range n {
				p := newPowered(t, kind, func(m *member) { m.noSync = true })
				for _, m := range p.members {
					m.disk.flush() // the members themselves are to come back
				}
				p.burst(100, p.members, func() { p.fail(p.members...) })
				p.back(p.members...)
				var gone []string
				err := within(10*time.Second, func() (err error) {
					gone, err = p.book.missing(p.cluster, p.members[0])
					return err
				})
				acknowledged += p.book.len()
				if err != nil { // they do not even come back
					dead++
					lost += p.book.len()
				}
				lost += len(gone)
				p.kill()
			}
			t.Logf("%s, without sync: %d cuts of all, %d acknowledged writes, %d lost; %d times no quorum came back", kind, n, acknowledged, lost, dead)
			if lost == 0 {
				t.Error("nothing was lost without sync: these cuts are none")
			}
		})
	}
}

//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// fullMegabytes is the size of the file systems that get full.
const fullMegabytes = 128

// cramped is three actives and a passive, each on a small file system.
type cramped struct {
	*cluster
	book    *book
	passive *member
	bursts  int
}

func newCramped(t *testing.T) *cramped {
	t.Helper()
	several(t)
	var disks []*disk
	for range 4 {
		disks = append(disks, newDisk(t, "ext4", fullMegabytes))
	}
	c := &cramped{cluster: newCluster(t), book: newBook()}
	for i, d := range disks[:3] {
		c.add(fmt.Sprintf("a%d", i+1), protocol.RoleActive, d)
	}
	c.passive = c.add("p1", protocol.RolePassive, disks[3])
	c.begin()
	return c
}

// write begins a load of values of a size over clients of all members.
func (c *cramped) write(size int) *load {
	c.t.Helper()
	c.bursts++
	return c.startLoad(c.book, fmt.Sprintf("burst%02d", c.bursts), size, c.members...)
}

// refused waits until writes at every member are refused for want of space.
func (c *cramped) refused() {
	c.t.Helper()
	for _, m := range c.members {
		c.eventually(func() error {
			client, err := c.client(m)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			key := "refused at " + m.name
			if err = starling.NewMap[string, string](client, mapName).Put(ctx, key, "x"); err == nil {
				c.book.note(key, "x")
			}
			if !errors.Is(err, starling.ErrNoSpace) {
				return fmt.Errorf("a write at %s: got %v, want %v", m.name, err, starling.ErrNoSpace)
			}
			return nil
		})
	}
}

// lives fails unless a member runs. One that ended where Badger wrote into a mapped file when
// somebody took the last byte of the disk is started again, as who supervises it would: there the
// system sends a signal that ends any program, and docs/disks.md says so.
func (c *cramped) lives(m *member) {
	c.t.Helper()
	if m.running() {
		return
	}
	text := m.log.String()
	if !strings.Contains(text, "SIGBUS") || !strings.Contains(text, "github.com/dgraph-io/") {
		c.t.Fatalf("%s has ended: %s", m.name, tail(text, 5))
	}
	c.t.Logf("%s has ended in a mapped file of Badger's", m.name)
	m.start()
}

// served checks that every member runs, and reads all that was acknowledged.
func (c *cramped) served() {
	c.t.Helper()
	for _, m := range c.members {
		c.lives(m)
		c.book.complete(c.cluster, m)
	}
}

// resumes checks that writes work again, and that all members come to the same.
func (c *cramped) resumes() {
	c.t.Helper()
	c.eventually(func() error { // the mark is looked at once a second
		for _, m := range c.members {
			c.lives(m)
		}
		client, err := c.client(c.passive)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		return starling.NewMap[string, string](client, mapName).Put(ctx, "resumed", "x")
	})
	l := c.write(1 << 10)
	l.acknowledged(c.cluster, 50)
	l.stop()
	c.settled()
	c.served()
}

// Every disk gets full by what is written. Writes are refused in time: reads, an
// election and even a restart go on, and when there is room so do writes, by
// themselves.
func TestFullDisksRefuseWritesBeforeAnythingBreaks(t *testing.T) {
	t.Parallel()
	c := newCramped(t)
	for _, m := range c.members {
		m.disk.fill(2 * diskLow)
	}
	l := c.write(20 << 10)
	c.eventually(func() error {
		if p := l.failed.Load(); p == nil || !errors.Is(*p, starling.ErrNoSpace) {
			return fmt.Errorf("%d writes and no refusal, %d bytes left", l.count.Load(), c.members[0].disk.free())
		}
		return nil
	})
	l.stop()
	c.refused()
	c.served()
	// Who has a little room left leads on, until it has none either.
	c.eventually(func() error {
		if _, code := c.command("map", "put", "--addr", c.members[0].addr, mapName, "k", "v"); code != 3 {
			return fmt.Errorf("the command's exit code for a full disk: got %d, want 3", code)
		}
		return nil
	})
	old := c.leader(c.members...)
	old.kill()
	var left []*member
	for _, m := range c.members {
		if m != old {
			left = append(left, m)
		}
	}
	c.eventually(func() error {
		if s, err := c.status(left[0]); err != nil || s.Leader == old.name || s.Leader == "" {
			return fmt.Errorf("%q leads, error %v", s.Leader, err)
		}
		return nil
	})
	old.start()
	c.settled()
	c.refused()
	c.served()
	for _, m := range c.members {
		m.disk.empty()
	}
	c.resumes()
	t.Logf("%d writes acknowledged", c.book.len())
}

// A disk loses its last free byte at once, under load. The space that is set
// aside lasts until the guard has looked: writes are refused, or go on without
// the member, and everything else goes on. Where the load is faster than the
// guard, members wait for room and do not end. Nothing acknowledged is lost, and
// all goes on by itself when there is room.
func TestDiskFullToTheLastByteLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		small = 100
		large = 20 << 10 // segments are small here: a burst of these fills two
	)
	follower := func(c *cramped, leader *member) []*member {
		for _, m := range c.members {
			if m != leader {
				return []*member{m}
			}
		}
		return nil
	}
	passive := func(c *cramped, _ *member) []*member { return []*member{c.passive} }
	leading := func(_ *cramped, leader *member) []*member { return []*member{leader} }
	all := func(c *cramped, _ *member) []*member { return c.members }
	for _, test := range []struct {
		name          string
		which         func(c *cramped, leader *member) []*member
		size          int
		writes, reads bool // go on meanwhile
	}{
		{"a follower's", follower, large, true, true},
		{"the passive's", passive, large, true, true},
		{"the leader's", leading, large, false, true},
		{"all", all, small, false, true},
		{"all, faster than the guard", all, large, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCramped(t)
			full := test.which(c, c.leader(c.members...))
			l := c.write(test.size)
			l.acknowledged(c.cluster, 20)
			for _, m := range full {
				m.disk.fill(0)
			}
			beyond := int64(beyond * large / test.size)
			if went := c.onward(l, beyond, test.writes); went < beyond && test.writes {
				t.Errorf("%d writes were acknowledged on, want %d", went, beyond)
			} else if went >= beyond && len(full) == len(c.members) {
				t.Errorf("%d writes were acknowledged on full disks", went)
			}
			l.stop()
			for _, m := range c.members {
				c.lives(m)
			}
			if test.reads {
				c.served()
			}
			for _, m := range full {
				m.disk.empty()
			}
			c.resumes()
			t.Logf("%d writes acknowledged, 0 lost", c.book.len())
		})
	}
}

// beyond is a number of large writes for which all of a member's disk is too
// small, what its log has set aside included.
const beyond = 200

// onward waits until writes are refused, or wait where they may, or so many more have
// been acknowledged that the full disk cannot have taken them, and returns how many.
func (c *cramped) onward(l *load, beyond int64, goOn bool) int64 {
	c.t.Helper()
	begin := l.count.Load()
	last, since := begin, time.Now()
	c.eventually(func() error {
		now := l.count.Load()
		if now != last {
			last, since = now, time.Now()
		}
		p := l.failed.Load()
		refused := p != nil && errors.Is(*p, starling.ErrNoSpace)
		if refused || now >= begin+beyond || !goOn && time.Since(since) > 5*election {
			return nil
		}
		return fmt.Errorf("%d writes are acknowledged, none refused", now)
	})
	return last - begin
}

// deletions begins deletions of long keys that nobody has, over clients of a member.
func (c *cramped) deletions(to *member) *load {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	c.t.Cleanup(l.stop)
	key := strings.Repeat("k", kvmap.KeyBytesMax)
	for range 16 {
		client, err := c.client(to)
		if err != nil {
			c.t.Fatal(err)
		}
		entries := starling.NewMap[string, string](client, mapName)
		for range writers {
			l.done.Go(func() {
				for ctx.Err() == nil {
					_, _ = entries.Delete(ctx, key) // not known when the leader is killed
				}
			})
		}
	}
	return l
}

// The leader is killed when all disks are full to the last byte. Of the voters left one has
// got much more than its disk takes, the other one has stood still. Whoever is elected leads
// on, though the other one stores more: it had told that one to campaign, without all of the
// log, again and again. What needs no log goes on, and with room all does.
func TestVotersOnFullDisksKeepTheirLeader(t *testing.T) {
	t.Parallel()
	c := newCramped(t)
	old := c.leader(c.members...)
	var left []*member
	for _, m := range c.members[:3] {
		if m != old {
			left = append(left, m)
		}
	}
	says := func(m *member, text string) {
		t.Helper()
		c.eventually(func() error {
			if !strings.Contains(m.log.String(), text) {
				return fmt.Errorf("%s does not say %q", m.name, text)
			}
			return nil
		})
	}
	ahead, behind := left[0], left[1]
	behind.signal(syscall.SIGSTOP)
	ahead.disk.fill(0)
	l := c.startLoad(c.book, "burst", 60<<10, slices.Repeat([]*member{old}, 16)...)
	deletions := c.deletions(old) // they pass when writes are refused, which may be soon
	says(ahead, "the log waits")
	says(old, "writes are refused: the disks of") // until then it has passed on what came
	deletions.stop()
	l.stop()
	old.disk.fill(0)
	behind.disk.fill(0)
	old.kill()
	behind.signal(syscall.SIGCONT)
	says(behind, "the log waits") // it has stored what it could
	led := c.leader(left...)
	for _, m := range left {
		if log := m.log.String(); strings.Contains(log, "its disk has not answered") {
			t.Errorf("%s has given up the lead, which %s has now:\n%s", m.name, led.name, tail(log, 20))
		}
		c.eventually(func() error {
			_, err := c.book.missing(c.cluster, m, starling.Locally)
			return err
		})
	}
	for _, m := range c.members[:3] {
		m.disk.empty()
	}
	old.start()
	c.resumes()
	t.Logf("%d writes acknowledged, 0 lost", c.book.len())
}

// A member that is started on a disk without a free byte says so and ends, or
// runs; either way its directory is sound and it goes on when there is room.
func TestStartOnAFullDiskHarmsNothing(t *testing.T) {
	t.Parallel()
	c := newCramped(t)
	l := c.write(20 << 10)
	l.acknowledged(c.cluster, 50)
	l.stop()
	m := c.members[1]
	m.disk.fill(0)
	for range 3 {
		m.kill()
		m.start()
		err := within(5*time.Second, func() error {
			if !m.running() {
				return nil
			}
			_, err := c.status(m)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if m.running() {
		t.Logf("%s runs on a full disk", m.name)
	} else if log := m.log.String(); !strings.Contains(log, " full: ") {
		t.Errorf("%s has ended and does not say that the disk is full:\n%s", m.name, tail(log, 5))
	}
	m.kill()
	m.disk.empty()
	m.start()
	c.resumes()
}

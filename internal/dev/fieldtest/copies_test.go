//go:build linux

package fieldtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// copiesVariable has all members of larger clusters copied, and the command run
// itself, with its defaults.
const copiesVariable = "STARLING_COPIES"

// trio begins three actives, and passives.
func trio(t *testing.T, passives int) *cluster {
	t.Helper()
	several(t)
	need(t, "cp")
	c := newCluster(t)
	for i := range 3 + passives {
		name, role := fmt.Sprintf("a%d", i+1), protocol.RoleActive
		if i >= 3 {
			name, role = fmt.Sprintf("p%d", i-2), protocol.RolePassive
		}
		c.add(name, role, nil).agent = os.Getenv(copiesVariable) != ""
	}
	c.begin()
	return c
}

// copyDirectory copies what a member has, which may go on, as an operator would:
// file by file, while files come and go.
func (c *cluster) copyDirectory(from, to string) {
	c.t.Helper()
	c.eventually(func() error {
		return errors.Join(os.RemoveAll(to), tool("cp", "-a", from, to))
	})
}

// twin returns a member with a copy of another one's directory and its name, at
// an address of its own. It is not started.
func (c *cluster) twin(m *member) *member {
	c.t.Helper()
	w := *m
	w.dir, w.log, w.process = c.t.TempDir(), new(syncBuffer), nil
	c.twins++
	w.addr = fmt.Sprintf("127.0.%d.%d:%s", c.network, 100+c.twins, memberPort)
	c.copyDirectory(filepath.Join(m.dir, "data"), filepath.Join(w.dir, "data"))
	c.t.Cleanup(w.kill)
	return &w
}

// refused waits until a copy has ended, and checks that it says what it is and
// where its original runs.
func (c *cluster) refused(twin, original *member) {
	c.t.Helper()
	c.eventually(func() error {
		if !original.running() {
			c.t.Fatalf("the original %s has ended: %s", original.name, tail(original.log.String(), 3))
		}
		if twin.running() {
			return fmt.Errorf("the copy of %s goes on: %s", original.name, tail(twin.log.String(), 3))
		}
		return nil
	})
	c.saysWhatItIs(twin, original)
}

func (c *cluster) saysWhatItIs(twin, original *member) {
	c.t.Helper()
	text := tail(twin.log.String(), 3)
	if !strings.Contains(text, "is a copy") || !strings.Contains(text, original.addr) {
		c.t.Errorf("the copy of %s ended with %q, want that it is a copy, and that the original runs at %s", original.name, text, original.addr)
	}
	if twin.process.ProcessState.ExitCode() == 0 {
		c.t.Errorf("the copy of %s ended as if nothing were wrong", original.name)
	}
}

// A copy of a member's directory that is started beside the original, at another
// address, ends and says why, each time that it is started. The original goes on,
// whoever it is, and no acknowledged write is lost.
func TestDirectoryThatIsStartedTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	for _, passives := range []int{1, 0} {
		t.Run(fmt.Sprintf("%d passives", passives), func(t *testing.T) {
			if passives == 0 && os.Getenv(copiesVariable) == "" {
				t.Skip("one form is enough each time; set " + copiesVariable + "=1 for both")
			}
			c, b := trio(t, passives), newBook()
			for _, m := range c.members {
				for _, loaded := range []bool{false, true} {
					c.startTwice(b, m, loaded)
				}
			}
		})
	}
}

func (c *cluster) startTwice(b *book, original *member, loaded bool) {
	c.t.Helper()
	what := "a follower"
	if leader := c.leader(c.members...); leader == original {
		what = "the leader"
	} else if original.role == protocol.RolePassive {
		what = "a passive"
	}
	var twin *member
	write := func(prefix string, meanwhile func()) {
		l := c.startLoad(b, fmt.Sprintf("%s-%s-%t", prefix, original.name, loaded), 100, c.members...)
		l.acknowledged(c, 50)
		meanwhile()
		l.acknowledged(c, l.count.Load()+50)
		l.stop()
	}
	start := func() {
		twin.start()
		c.refused(twin, original)
		twin.start()
		c.refused(twin, original)
	}
	if loaded {
		write("during", func() { twin = c.twin(original); start() })
	} else {
		twin = c.twin(original)
		start()
		write("after", func() {})
	}
	c.settled()
	for _, m := range c.members {
		b.complete(c, m)
	}
	c.t.Logf("a copy of %s, %s, under load: %t: it ended twice, the original goes on, 0 of %d writes are lost", original.name, what, loaded, b.len())
}

// A member's directory is copied and the copy started. Another member is down
// while the original and the third one acknowledge writes, and comes back when
// those two are dead, so that it would be two of three with the copy: which has
// no vote.
func TestCopyOfADirectoryHasNoVote(t *testing.T) {
	t.Parallel()
	orders := [][3]int{{2, 1, 0}}
	if os.Getenv(copiesVariable) != "" {
		orders = append(orders, [3]int{2, 0, 1}, [3]int{1, 0, 2}, [3]int{1, 2, 0}, [3]int{0, 1, 2}, [3]int{0, 2, 1})
	}
	for _, order := range orders {
		t.Run(fmt.Sprintf("a%d", order[0]+1), func(t *testing.T) {
			c := trio(t, 0)
			c.voteOfACopy(c.members[order[0]], c.members[order[1]], c.members[order[2]])
		})
	}
}

func (c *cluster) voteOfACopy(original, late, third *member) {
	c.t.Helper()
	b := newBook()
	twin := c.twin(original)
	twin.start()
	c.eventually(func() error { // it is refused, or it serves: then it is one too many
		if twin.running() {
			_, err := c.status(twin)
			return err
		}
		return nil
	})
	late.kill()
	client, err := c.client(third)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 10 {
		key := fmt.Sprintf("key%d", i)
		c.eventually(func() error {
			return starling.NewMap[string, string](client, mapName).Put(c.t.Context(), key, "acknowledged")
		})
		b.note(key, "acknowledged")
	}
	third.kill()
	original.kill()
	if !twin.running() {
		twin.start()
	}
	late.start()
	began := time.Now()
	c.eventually(func() error {
		if gone, err := b.missing(c, late); err == nil && len(gone) > 0 {
			c.t.Fatalf("%d of %d acknowledged writes are lost: %s and a copy of %s, which is down, were enough for a quorum", len(gone), b.len(), late.name, original.name)
		}
		if twin.running() {
			return fmt.Errorf("the copy of %s goes on: %s", original.name, tail(twin.log.String(), 3))
		}
		s, err := c.status(late)
		if err == nil && s.Leader != "" {
			err = fmt.Errorf("%s leads", s.Leader)
		}
		return err
	})
	c.saysWhatItIs(twin, original)
	c.t.Logf("%s follows nobody and the copy of %s has ended after %v", late.name, original.name, time.Since(began).Round(time.Millisecond))
	third.start()
	original.start()
	c.settled()
	for _, m := range c.members {
		b.complete(c, m)
	}
}

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage/vfs"
)

// forgetDirectories makes a member forget what it has seen of the others'
// directories, as one does that was started anew without any: here it is not to
// refuse them.
func forgetDirectories(m *Member) {
	_ = m.dirs.seen.Recall(vfs.NewMemory(1), "nowhere")
}

// reads is what one linearizable read of a key gives at a member, which asks nobody
// else in its place.
func (c *cluster) reads(m *Member, key string) (value []byte, code protocol.Code) {
	c.t.Helper()
	q := protocol.Query{Resource: "m", Type: "map", Operation: kvmap.Get.Describe().Name, Consistency: protocol.Linearizable}
	q.Argument, _ = resources.AppendValue(nil, kvmap.KeyRequest(key))
	r, err := m.Do(c.ctx, &protocol.Request{Kind: protocol.RequestQuery, Query: &q})
	if err != nil {
		c.t.Fatal(err)
	}
	return r.Result.Data, r.Result.Code
}

// Counterexample 54: all actives are put back to an old copy, a passive runs on. It
// has what was acknowledged since, and they do not know of it: what they say of reads
// and of freshness is true of their history, and taken for the passive's it serves
// last week's data as new. It serves nobody, keeps what it has, and they say who has
// it; they go on.
func TestActivesPutBackToAnOldCopyAndAPassiveThatIsNot(t *testing.T) {
	t.Parallel()
	for _, reading := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", reading), func(t *testing.T) { activesPutBack(t, reading) })
	}
}

func activesPutBack(t *testing.T, reading bool) {
	c := newCluster(t)
	actives := []string{"a1", "a2", "a3"}
	said := new(journal)
	logged := func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	for _, name := range actives {
		c.start(name, protocol.RoleActive, in(c.dir()), logged)
	}
	p := c.start("p1", protocol.RolePassive)
	c.voters(3)
	c.put(c.client(p), "day", "monday")
	c.equal()
	copies := map[string]string{}
	stop := func(then func(name string)) {
		for _, name := range actives {
			c.kill(name)
		}
		for _, name := range actives {
			then(name)
		}
	}
	replace := func(dir, by string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(by))); err != nil {
			t.Fatal(err)
		}
	}
	stop(func(name string) {
		copies[name] = c.dir()
		replace(copies[name], c.configs[name].Dir)
	})
	c.openAll(actives...)
	for _, key := range []string{"day", "k1", "k2", "k3", "k4", "k5"} {
		c.put(c.client(c.members["a1"]), key, "tuesday")
	}
	c.equal()
	if value, code := c.reads(p, "day"); !bytes.Contains(value, []byte("tuesday")) {
		t.Fatalf("got %q, %s, want tuesday", value, code)
	}
	held := p.Status().Applied

	stop(func(name string) { replace(c.configs[name].Dir, copies[name]) })
	stopped := time.Now()
	forgetDirectories(p)
	c.openAll(actives...)
	c.eventually("the passive knows", func() error {
		if reading {
			if value, code := c.reads(p, "day"); code == protocol.OK {
				t.Fatalf("the passive reads %q, at %d", value, p.Status().Applied)
			}
		}
		since := time.Since(stopped)
		if s := p.Status(); s.Serving || !strings.Contains(s.Reason, "another history") {
			if s.AgeKnown && time.Duration(s.AgeNanos) < since {
				t.Fatalf("it says that it is %v old, the actives were stopped %v ago", time.Duration(s.AgeNanos), since)
			}
			return fmt.Errorf("it serves: %v, %s", s.Serving, s.Reason)
		}
		return nil
	})
	if value, code := c.reads(p, "day"); code != protocol.ErrNotServing.Code {
		t.Errorf("got %q, %s, want %s", value, code, protocol.ErrNotServing.Code)
	}
	c.eventually("the leader lists the passive", func() error {
		for _, name := range actives {
			for _, a := range c.members[name].Status().Ahead {
				if a.ID == p.ID() && a.Name == "p1" && a.Holds == held && strings.Contains(a.Text, "starling recover") {
					return nil
				}
			}
		}
		return errors.New("nobody does")
	})
	if !said.has("level=ERROR msg=ahead") {
		t.Errorf("no error of an active says so: %s", said.tail(20))
	}
	c.put(c.client(c.members["a2"]), "day", "wednesday")
	for _, name := range actives {
		if value, code := c.reads(c.members[name], "day"); !bytes.Contains(value, []byte("wednesday")) {
			t.Errorf("%s reads %q, %s, want wednesday", name, value, code)
		}
	}
	if s := p.Status(); s.AgeKnown || s.Applied != held || s.First > held {
		t.Errorf("the passive: age known %v, applied %d, first %d; want no age, and what it had up to %d", s.AgeKnown, s.Applied, s.First, held)
	}
}

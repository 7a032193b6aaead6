//go:build linux

package fieldtest

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// mixturesVariable says how many mixtures are tried, of 32; default: one of each
// number of actives whose directory is the newest.
const mixturesVariable = "STARLING_MIXTURES"

// keysEach is how many keys are written before the directories are copied, and
// after it, and what they are prefixed with.
const (
	keysEach = 20
	before   = "before"
	after    = "after"
)

// mixed is a cluster whose members' directories exist twice: as they were, and as
// they became when more had been acknowledged.
type mixed struct {
	*cluster
	random   *rand.Rand
	old, all *book
	photos   string // under it: old/NAME and new/NAME
}

// mixture is, for each member, whether it begins with its newest directory.
type mixture uint

func (x mixture) newest(i int) bool { return x>>i&1 == 1 }

// voters returns how many actives begin with their newest directory.
func (x mixture) voters() int { return bits.OnesCount(uint(x & 7)) }

func (x mixture) String() string {
	var names []string
	for i, name := range []string{"a1", "a2", "a3", "p1", "p2"} {
		if !x.newest(i) {
			name += "(old)"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// All members are stopped, their directories copied, and they go on. Later each
// starts with the older or the newer one. While most actives have the newer one
// nothing is lost; whoever has it never answers from the older one; and with most
// on the older one nobody leads and all say why, unless all actives are: then
// that history goes on, and passives with the newer one serve nothing of it.
func TestMixturesOfOldAndNewDirectories(t *testing.T) {
	several(t)
	t.Parallel()
	need(t, "cp")
	outer := t
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	x := &mixed{cluster: newCluster(t), random: rand.New(rand.NewPCG(seed, 0)), old: newBook(), all: newBook(), photos: t.TempDir()}
	for _, name := range []string{"a1", "a2", "a3", "p1", "p2"} {
		role := protocol.RoleActive
		if name[0] == 'p' {
			role = protocol.RolePassive
		}
		x.add(name, role, nil)
	}
	x.begin()
	x.photograph(before, x.old, x.all)
	x.startAll()
	x.photograph(after, x.all)
	for _, m := range x.mixtures() {
		t.Run(m.String(), func(t *testing.T) {
			x.is(t)
			defer x.is(outer)
			x.try(m)
		})
	}
}

// is makes a test that of the cluster and all its members.
func (x *mixed) is(t *testing.T) {
	x.cluster.t = t
	for _, m := range x.members {
		m.t = t
	}
}

// mixtures draws those that are tried.
func (x *mixed) mixtures() []mixture {
	x.t.Helper()
	n := number(x.t, mixturesVariable)
	var list []mixture
	for _, m := range x.random.Perm(32) {
		first := true
		for _, other := range list {
			first = first && other.voters() != mixture(m).voters()
		}
		if len(list) < n || n == 0 && first {
			list = append(list, mixture(m))
		}
	}
	return list
}

// photograph writes keys, stops all members and copies their directories.
func (x *mixed) photograph(prefix string, books ...*book) {
	x.t.Helper()
	for i := range keysEach {
		key := fmt.Sprintf("%s%d", prefix, i)
		x.eventually(func() error {
			client, err := x.client(x.members[0])
			if err != nil {
				return err
			}
			return starling.NewMap[string, string](client, mapName).Put(x.t.Context(), key, key)
		})
		for _, b := range books {
			b.note(key, key)
		}
	}
	x.settled()
	x.eventually(x.remembered)
	x.stopAll()
	for _, m := range x.members {
		x.copyDirectory(filepath.Join(m.dir, "data"), filepath.Join(x.photos, prefix+"-"+m.name))
	}
}

// remembered returns an error until each active has written down that it has seen the
// present start of every other one: what nobody remembers nobody can refuse.
func (x *mixed) remembered() error {
	for _, m := range x.members[:3] {
		list, err := witness.Read(vfs.OS(), filepath.Join(m.dir, "data"))
		if err != nil {
			return err
		}
		for _, other := range x.members[:3] {
			id, err := wal.ReadIdentity(vfs.OS(), filepath.Join(other.dir, "data"))
			if err != nil {
				return err
			}
			if other != m && !slices.ContainsFunc(list, func(s witness.Watermark) bool { return s.Member == id.Member && s.Starts == id.Starts }) {
				return fmt.Errorf("%s has not written down start %d of %s", m.name, id.Starts, other.name)
			}
		}
	}
	return nil
}

// stopAll ends all members, in any order, by their leave or without.
func (x *mixed) stopAll() {
	x.t.Helper()
	for _, i := range x.random.Perm(len(x.members)) {
		m := x.members[i]
		if x.random.IntN(2) == 0 && m.running() {
			m.signal(syscall.SIGINT)
			x.eventually(func() error {
				if m.running() {
					return fmt.Errorf("%s does not stop", m.name)
				}
				return nil
			})
		}
	}
	x.end()
}

// end kills all members, and forgets the clients that have seen this run of them.
func (x *mixed) end() {
	x.kill()
	for _, client := range x.clients {
		_ = client.Close() // nobody is left to hear it
	}
	clear(x.clients)
}

func (x *mixed) startAll() {
	for _, i := range x.random.Perm(len(x.members)) {
		x.members[i].start()
	}
}

// try starts a mixture, reads at every member all the time, and judges what has
// become of it.
func (x *mixed) try(m mixture) {
	x.t.Helper()
	for i, member := range x.members {
		data, from := filepath.Join(member.dir, "data"), before
		if m.newest(i) {
			from = after
		}
		x.copyDirectory(filepath.Join(x.photos, from+"-"+member.name), data)
		member.log = new(syncBuffer)
	}
	defer func() {
		x.end()
		if x.t.Failed() {
			for _, member := range x.members {
				x.t.Logf("%s said at last:\n%s", member.name, tail(member.log.String(), 20))
			}
		}
	}()
	x.startAll()
	ctx, cancel := context.WithCancel(x.t.Context())
	var readers sync.WaitGroup
	defer func() { cancel(); readers.Wait() }() // they end first, whatever comes
	for i, member := range x.members {
		readers.Go(func() {
			for wait(ctx, 20*time.Millisecond) && x.readAt(ctx, m, i, member) {
			}
		})
	}
	began := time.Now()
	x.eventually(func() error { return x.verdict(m) })
	x.t.Logf("as it should be after %v", time.Since(began).Round(time.Millisecond))
}

// readAt reads at every level at one member, which may refuse, and reports whether
// what it answers is right.
func (x *mixed) readAt(ctx context.Context, m mixture, i int, member *member) (right bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	caller, err := x.pinned(member)
	if err != nil {
		return true
	}
	defer caller.Close()
	right = true
	want := x.old
	if m.newest(i) || m.voters() >= 2 {
		want = x.all
	}
	read := func(level string, demand *book, opts ...starling.ReadOption) bool {
		there := map[string]string{}
		for e, err := range starling.NewMap[string, string](caller, mapName).Scan(ctx, starling.Range[string]{}, opts...) {
			if err != nil {
				return false
			}
			there[e.Key] = e.Value
		}
		for key, value := range there { // order does not matter: each by itself
			if key != value {
				right = false
				x.t.Errorf("%v: a %s read at %s: %s is %q", m, level, member.name, key, value)
			}
		}
		if demand == nil {
			return true
		}
		if missing := demand.lacks(there); len(missing) > 0 {
			right = false
			x.t.Errorf("%v: a %s read at %s lacks %d of %d acknowledged writes", m, level, member.name, len(missing), demand.len())
		}
		return true
	}
	read("local", nil, starling.Locally)
	// What was acknowledged was so before all of them were stopped.
	read("stale", want, starling.MaxStale(time.Second))
	if read("linearizable", want) {
		read("session", want, starling.OwnWrites)
	}
	return right
}

// verdict returns an error while a mixture is not as it should be in the end.
func (x *mixed) verdict(m mixture) error {
	for i, member := range x.members {
		if m.newest(i) && m.voters() > 0 && !member.running() {
			x.t.Fatalf("%v: %s has the newest directory and has ended: %s", m, member.name, tail(member.log.String(), 3))
		}
	}
	switch m.voters() {
	case 0:
		return x.oldGoesOn(m)
	case 1:
		return x.nobodyLeads(m)
	}
	return x.newGoesOn(m)
}

// explained returns an error unless a member that does not take part says why, in
// one of some words: in what it said at last, or in its status.
func (x *mixed) explained(member *member, words ...string) error {
	text := tail(member.log.String(), 3)
	if member.running() {
		s, err := x.status(member)
		if err != nil {
			return err
		}
		text = s.Reason
	}
	for _, word := range words {
		if strings.Contains(text, word) {
			return nil
		}
	}
	return fmt.Errorf("%s, running: %t, says %q, none of %q", member.name, member.running(), text, words)
}

// newGoesOn: a majority has the newest history. Members with an older directory
// have caught up, or say why not.
func (x *mixed) newGoesOn(m mixture) error {
	for i, member := range x.members {
		err := x.takesPart(member, x.all)
		if err != nil && !m.newest(i) {
			err = x.explained(member, "older")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// oldGoesOn: all actives have the older history. Passives with the newer one
// serve nothing, and say that they differ; so may another passive that was told
// of the newer one by them before it heard a leader.
func (x *mixed) oldGoesOn(m mixture) error {
	for i, member := range x.members {
		err := x.takesPart(member, x.old)
		switch {
		case i < 3 || !m.newest(3) && !m.newest(4):
		case err == nil && m.newest(i):
			err = fmt.Errorf("%s holds what the others do not, and serves", member.name)
		case err != nil:
			err = x.explained(member, "differs", "diverged", "history")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nobodyLeads: no majority has the newest history. Actives with the older one say
// so, and from then on vote for nobody; the others know no leader and say that.
func (x *mixed) nobodyLeads(m mixture) error {
	for i, member := range x.members[:3] {
		if m.newest(i) {
			continue
		}
		if err := x.explained(member, "older"); err != nil {
			return err
		}
	}
	for _, member := range x.members {
		if !member.running() {
			continue
		}
		s, err := x.status(member)
		if err == nil && (s.Leader != "" || s.Reason == "") {
			err = fmt.Errorf("%s says that %q leads, and %q", member.name, s.Leader, s.Reason)
		}
		if err == nil && x.takesPart(member, x.old) == nil {
			err = fmt.Errorf("%s takes writes", member.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takesPart returns an error unless a member serves, takes a write, and has that
// and all of a book.
func (x *mixed) takesPart(member *member, b *book) error {
	s, err := x.status(member)
	if err != nil {
		return err
	}
	if !s.Serving || s.Leader == "" {
		return fmt.Errorf("%s does not serve, or knows no leader: %s", member.name, s.Reason)
	}
	caller, err := x.pinned(member)
	if err != nil {
		return err
	}
	defer caller.Close()
	ctx, cancel := context.WithTimeout(x.t.Context(), 2*time.Second)
	defer cancel()
	written := starling.NewMap[string, string](caller, mapName)
	key := "now-" + member.name
	if err := written.Put(ctx, key, key); err != nil {
		return err
	}
	there := map[string]string{}
	for e, err := range written.Scan(ctx, starling.Range[string]{}) {
		if err != nil {
			return err
		}
		there[e.Key] = e.Value
	}
	if missing := b.lacks(there); len(missing) > 0 || there[key] != key {
		x.t.Errorf("%s takes writes and lacks %d of %d that were acknowledged; what was written to it is %q", member.name, len(missing), b.len(), there[key])
	}
	return nil
}

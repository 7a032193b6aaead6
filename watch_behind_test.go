package starling_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Entries of so many keys each, of which there are more than a member has changes of in memory.
const (
	behindEntries = 160
	behindKeys    = 1000
)

// fillBehind writes more than the changes in memory, and returns the index before.
func fillBehind(t *testing.T, ctx context.Context, c starling.Caller) starling.Index {
	t.Helper()
	var first protocol.Index
	for n := range behindEntries {
		var pairs kvmap.Pairs
		value, _ := resources.AppendValue(nil, n)
		for k := range behindKeys {
			pairs = append(pairs, kvmap.Pair{Key: kvmap.AppendKey(nil, k), Value: value})
		}
		i, err := kvmap.PutAll.Do(ctx, c, "m", pairs)
		if err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = i
		}
	}
	return first - 1
}

// A watch that begins further behind than what a member has in memory is told everything from its file, in one process
// and over a connection; and the newest of each key only, if it asks for that. A loop that stood still
// meanwhile goes on.
func TestAWatchFarBehindIsToldFromTheFile(t *testing.T) {
	dir := t.TempDir()
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Dir: dir, Bind: freeport.Addresses(t, 1)[0], DiskLow: 1, DiskHigh: 1})
	slow := starling.NewMap[int, int](cluster.Client, "m").Watch(ctx, starling.WatchOptions{})
	after := fillBehind(t, ctx, cluster.Client)
	for there := false; !there && ctx.Err() == nil; { // it is written meanwhile
		info, err := os.Stat(filepath.Join(dir, "a1", "changes"))
		there = err == nil && info.Size() > 0
	}
	isAll := func(what string, events func(func(starling.MapEvent[int, int], error) bool)) {
		n := 0
		for e, err := range events {
			if err != nil {
				t.Fatalf("%s: %v after %d events", what, err, n)
			}
			if e.Key != n%behindKeys || e.Value != n/behindKeys || e.Last != (n%behindKeys == behindKeys-1) {
				t.Fatalf("%s: event %d is of %d, %d, last: %t", what, n, e.Key, e.Value, e.Last)
			}
			if n++; n == behindEntries*behindKeys {
				return
			}
		}
	}
	isAll("a loop that stood still", slow)
	for name, c := range callers(cluster) {
		m := starling.NewMap[int, int](c, "m")
		isAll(name, m.Watch(ctx, starling.WatchOptions{After: after}))
		n := 0
		for e, err := range m.Watch(ctx, starling.WatchOptions{After: after, Latest: true}) {
			if err != nil || e.Value != behindEntries-1 {
				t.Fatalf("%s, the newest: event %d is %d, %v", name, n, e.Value, err)
			}
			if n++; n == behindKeys {
				break
			}
		}
	}
}

// A member that is to have no file has none: then such a watch is told that what it asks for is gone.
func TestAWatchFarBehindWithoutAFileEnds(t *testing.T) {
	dir := t.TempDir()
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Dir: dir, Bind: freeport.Addresses(t, 1)[0], Member: func(c *starling.Config) { c.ChangesBytes = -1 }})
	after := fillBehind(t, ctx, cluster.Client)
	for name, c := range callers(cluster) {
		for _, err := range starling.NewMap[int, int](c, "m").Watch(ctx, starling.WatchOptions{After: after}) {
			if !errors.Is(err, starling.ErrCompacted) {
				t.Errorf("%s: got %v, want compacted", name, err)
			}
			break
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a1", "changes")); !os.IsNotExist(err) {
		t.Errorf("there is a file of changes: %v", err)
	}
}

// A disk without room for the file costs it, and neither writes nor watches that need it not. What another run
// has left there is gone at the start.
func TestAFullDiskCostsTheFileOfChangesAlone(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("it takes a device that is full: ", err)
	}
	dir := t.TempDir()
	name, config := filepath.Join(dir, "a1", "changes"), starling.LocalConfig{Actives: 1, Dir: dir, Bind: freeport.Addresses(t, 1)[0], DiskLow: 1, DiskHigh: 1}
	_, before := open(t, config)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cluster := open(t, config)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what another run has left is there: %v", err)
	}
	if err := os.Symlink("/dev/full", name); err != nil {
		t.Fatal(err)
	}
	after := fillBehind(t, ctx, cluster.Client)
	for there := true; there && ctx.Err() == nil; { // it is given up meanwhile
		_, err := os.Lstat(name)
		there = err == nil
	}
	m := starling.NewMap[int, int](cluster.Client, "m")
	for e, err := range m.Watch(ctx, starling.WatchOptions{After: after}) {
		if !errors.Is(err, starling.ErrCompacted) {
			t.Errorf("got %d, %v, want compacted", e.Key, err)
		}
		break
	}
	for _, err := range m.Watch(ctx, starling.WatchOptions{After: after + behindEntries - 1}) {
		if err != nil {
			t.Errorf("what is in memory: %v", err)
		}
		break
	}
}

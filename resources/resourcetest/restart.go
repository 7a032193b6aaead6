package resourcetest

import (
	"bytes"
	"fmt"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
)

// checkpoint is what a member would have on its disk: the items of the last
// snapshot, kept up to date with what changed since the one before.
type checkpoint struct {
	index protocol.Index // 0: none yet
	items map[place]machine.CheckpointItem
}

// place names an item.
type place struct{ space, key string }

// restart writes a checkpoint of the caller's state, and gives the caller
// another machine that is made of nothing else.
func (c *checkpoint) restart(caller *Caller) error {
	snapshot := caller.machine.Snapshot()
	defer snapshot.Close()
	if err := c.take(snapshot); err != nil {
		return fmt.Errorf("checkpoint at %d: %w", snapshot.Index(), err)
	}
	next := caller.newMachine(caller.machine.Registry())
	l := next.NewLoader()
	for item := range snapshot.All() {
		if err := l.Add(item); err != nil {
			return fmt.Errorf("restart at %d: %w", snapshot.Index(), err)
		}
	}
	got, err := l.Finish(snapshot.Index())
	if err != nil {
		return fmt.Errorf("restart at %d: %w", snapshot.Index(), err)
	}
	if want := snapshot.Digest(); got != want {
		return fmt.Errorf("restart at %d: got digest %v, want %v", snapshot.Index(), got, want)
	}
	next.Install(l)
	caller.machine.Close()
	caller.machine = next
	return nil
}

// take brings the checkpoint to the snapshot, and compares it with all of it.
func (c *checkpoint) take(s *machine.Snapshot) error {
	changes, known := s.Changed(c.index)
	if !known {
		c.items = map[place]machine.CheckpointItem{}
		for item := range s.All() {
			c.items[place{item.Space, string(item.Key)}] = item
		}
		c.index = s.Index()
		return nil
	}
	for item := range changes {
		if at := (place{item.Space, string(item.Key)}); item.Deleted {
			delete(c.items, at)
		} else {
			c.items[at] = item
		}
	}
	c.index = s.Index()
	n := 0
	for item := range s.All() {
		n++
		got, ok := c.items[place{item.Space, string(item.Key)}]
		if !ok || got.Index != item.Index || !bytes.Equal(got.Value, item.Value) {
			return fmt.Errorf("what was said to have changed does not add up: key %q of %q", item.Key, item.Space)
		}
	}
	if n != len(c.items) {
		return fmt.Errorf("what was said to have changed does not add up: %d keys, want %d", len(c.items), n)
	}
	return nil
}

package replica

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// pinBytes is the default of Config.PinBytes.
const pinBytes = 1 << 30

// pins are the checkpoints that others fetch, and that this member keeps for them
// although it has taken two newer ones.
//
// [S] They are bounded: gossip bounds for how long one is wanted, and how many are;
// here their bytes are, except that one may have any size. A disk that is nearly
// full keeps none.
type pins struct {
	// given are the ones that the store has given up, and still has because they
	// are pinned, newest first.
	given []storage.Manifest
	// asked is what the store was asked to pin last, newest first, and spoiled
	// what it could not pin, or not read.
	asked, spoiled []protocol.Index
}

// Pin asks the store to have these checkpoints pinned and no others
// (storage.CheckpointStore.Pin). It is answered by Pinned.
type Pin struct {
	Indexes []protocol.Index // newest first
}

// Pinned answers a Pin with those of its checkpoints that are pinned now.
func (r *Replica) Pinned(now protocol.Instant, p Pin, held []protocol.Index) {
	r.checkpoints.pinned(now, p.Indexes, held)
	r.pump(now)
}

// pinned notes which of those that were asked for could not be pinned.
func (c *checkpoints) pinned(now protocol.Instant, asked, held []protocol.Index) {
	x := &c.pins
	if slices.Equal(asked, x.asked) {
		for _, i := range asked {
			if !slices.Contains(held, i) {
				c.spoil(now, i)
			}
		}
	}
}

// spoil notes that a checkpoint cannot be read by others.
func (c *checkpoints) spoil(now protocol.Instant, i protocol.Index) {
	x := &c.pins
	if slices.Contains(x.spoiled, i) {
		return
	}
	x.spoiled = append(x.spoiled, i)
	before := len(x.given)
	x.given = slices.DeleteFunc(x.given, func(d storage.Manifest) bool { return d.Index == i })
	if len(x.given) < before {
		c.offer(now)
	}
}

// setKept takes what the store keeps. What is not kept any more, and pinned, is
// still there.
func (c *checkpoints) setKept(kept []storage.Manifest) {
	x := &c.pins
	isKept := func(i protocol.Index) bool {
		return slices.ContainsFunc(kept, func(d storage.Manifest) bool { return d.Index == i })
	}
	var given []storage.Manifest
	for _, list := range [][]storage.Manifest{c.kept, x.given} {
		for _, d := range list {
			if !isKept(d.Index) && slices.Contains(x.asked, d.Index) && !slices.Contains(x.spoiled, d.Index) {
				given = append(given, d)
			}
		}
	}
	c.kept, x.given = kept, given
	x.spoiled = slices.DeleteFunc(x.spoiled, func(i protocol.Index) bool { return !isKept(i) })
}

// pinWanted asks for pins when what others fetch has changed.
func (c *checkpoints) pinWanted(now protocol.Instant) {
	x := &c.pins
	want := c.wantedPins(now)
	if slices.Equal(want, x.asked) {
		return
	}
	x.asked = want
	c.out.Pin = &Pin{Indexes: want}
	before := len(x.given)
	x.given = slices.DeleteFunc(x.given, func(d storage.Manifest) bool { return !slices.Contains(want, d.Index) })
	if len(x.given) < before {
		c.offer(now)
	}
}

// wantedPins returns which checkpoints are to be pinned, newest first. Where not all
// find room, those that were begun first are.
func (c *checkpoints) wantedPins(now protocol.Instant) []protocol.Index {
	if len(c.kept)+len(c.pins.given) == 0 || !c.standing.may(mayGive) {
		return nil
	}
	wanted := c.gossip.Pinned(now)
	if len(wanted) == 0 {
		return nil
	}
	var out []protocol.Index
	bytes, some := uint64(0), false
	for _, i := range slices.Backward(wanted) {
		if slices.Contains(c.pins.spoiled, i) {
			continue
		}
		if k := slices.IndexFunc(c.pins.given, func(d storage.Manifest) bool { return d.Index == i }); k >= 0 {
			if bytes += c.pins.given[k].Bytes; c.room.full() || some && bytes > uint64(c.cfg.PinBytes) {
				continue
			}
			some = true
		}
		out = append(out, i)
	}
	slices.Reverse(out)
	return out
}

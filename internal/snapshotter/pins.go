package snapshotter

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Pins holds the pins of a store that a replica asks for (replica.Pin). It belongs
// to one goroutine, which need not be the one that works on the store; the zero
// value has none.
type Pins struct {
	held []pin
}

type pin struct {
	index   protocol.Index
	release func()
}

// Set pins these checkpoints and releases all others, and returns which are pinned
// now, in the order of want: those that the store still had.
func (p *Pins) Set(store storage.CheckpointStore, want []protocol.Index) (held []protocol.Index) {
	var next []pin
	for _, i := range want {
		k := slices.IndexFunc(p.held, func(x pin) bool { return x.index == i })
		if k >= 0 {
			next = append(next, p.held[k])
			continue
		}
		if release, err := store.Pin(i); err == nil {
			next = append(next, pin{i, release})
		}
	}
	old := p.held
	p.held = next
	for _, x := range old {
		if !slices.ContainsFunc(next, func(y pin) bool { return y.index == x.index }) {
			x.release()
		}
	}
	for _, x := range next {
		held = append(held, x.index)
	}
	return held
}

package member

import "sync"

// gate stands before the answers that come of a state. The owner of the replica moves it,
// whoever applies passes it: two goroutines, or one in a simulation. The zero value is shut
// until it is set.
//
// [S] Its lock is held for as long as answers pass. So when set or shut has returned, no
// answer of another epoch leaves any more, and what the owner does next, say to the
// others that the state is wrong, is done after the last of them.
type gate struct {
	mu    sync.Mutex
	epoch uint64 // of the state that may answer; 0: none may
	over  bool
}

// set lets the answers of an epoch pass, and no others.
func (g *gate) set(epoch uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.epoch = epoch
	}
}

// shut lets nothing pass from now on, whatever is set.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.epoch, g.over = 0, true
}

// pass gives the answers of an epoch, if they may pass.
func (g *gate) pass(epoch uint64, give func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch != 0 && g.epoch == epoch {
		give()
	}
}

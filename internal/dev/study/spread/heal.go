package spread

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// healMax is how long a flock may take to be equal after a cut.
const healMax = 60 * time.Second

// Healed is what a run with a cut gives.
type Healed struct {
	Setting Setting
	Cut     time.Duration
	Behind  int // entries that the far half lacked when the cut ended
	// Took is how long after the cut all held everything that was committed
	// then; -1 if that did not come within a minute.
	Took time.Duration
	// Bytes is what all sent meanwhile, FromActives the share of the actives.
	Bytes       int64
	FromActives float64
}

// String returns the figures, for people.
func (h *Healed) String() string {
	return fmt.Sprintf("%s: %s; half the flock cut off for %s s\n\nentries behind            %s\nall equal after           %s\nsent meanwhile            %.1f MB\nof that by passives       %s\n",
		h.Setting.Mode, h.Setting.String(), number(h.Cut.Seconds()), grouped(h.Behind), spell(h.Took), float64(h.Bytes)/1e6, percent(1-h.FromActives))
}

// Heal cuts every second passive off from the rest for a while, under load, and
// measures how the flock becomes one again. The mode is one of package
// gossip's.
func Heal(set Setting, long time.Duration, progress Progress) (Healed, error) {
	n := newNet(&set, false)
	total := float64(treeWarm + long)
	each := func() error { return progress(float64(n.now) / total) }
	if err := n.load(treeWarm, max(set.Rate, treeRate), each); err != nil {
		return Healed{}, err
	}
	for i := Actives; i < len(n.ids); i++ {
		n.network.Side[i] = i % 2
	}
	if err := n.load(long, set.Rate, each); err != nil {
		return Healed{}, err
	}
	h := Healed{Setting: set, Cut: long, Took: -1}
	least := protocol.Index(len(n.history))
	for i, a := range n.actors {
		least = min(least, protocol.Index(a.held()))
		n.network.Side[i] = 0
	}
	h.Behind = len(n.history) - int(least)
	n.tally.on = true
	n.tally.start = len(n.history) // only bytes are counted
	for begin := n.now; n.now < begin.Add(healMax); n.run(n.now.Add(step)) {
		if n.equal() {
			h.Took = n.now.Sub(begin)
			break
		}
	}
	h.Bytes = n.tally.allBytes
	if h.Bytes > 0 {
		h.FromActives = float64(n.tally.activeBytes) / float64(h.Bytes)
	}
	return h, nil
}

// equal reports whether all members hold the whole history.
func (n *net) equal() bool {
	for _, a := range n.actors {
		if a.held() < len(n.history) {
			return false
		}
	}
	return true
}

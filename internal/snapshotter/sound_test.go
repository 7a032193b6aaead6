package snapshotter_test

import (
	"context"
	"testing"

	"github.com/starlinghq/starling/internal/snapshotter"
)

// A log that is repaired may give up entries for a checkpoint of this member. One
// whose content is another state than it says must not be offered for that.
func TestSoundLeavesOutACheckpointOfAnotherState(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(3, 330, 2)
		h.grow(all)
		h.forge(all, 320)
		h.wantKept(320, 300)
		machine := newMachine(t)
		got, err := snapshotter.Sound(context.Background(), h.store, machine, snapshotter.Options{})
		h.must(err)
		if len(got) != 1 || got[0].Index != 300 || got[0].Sum != all[299].Sum || got[0].Configuration.Index == 0 {
			t.Errorf("got %+v, want where a log begins after 300", got)
		}
		h.wantKept(300)
		if machine.Applied() != 0 {
			t.Errorf("the machine is at %d now", machine.Applied())
		}
	})
}

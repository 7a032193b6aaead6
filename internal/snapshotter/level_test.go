package snapshotter_test

import (
	"testing"

	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
)

// [S] Counterexample: a member is put back to the release before, and reads what it knows of
// a state whose items it does not know. Nothing of it is read, nor given up: the release
// that has written it is there again some day.
func TestACheckpointOfALaterLevelIsNeitherReadNorGivenUp(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.level, h.starts.Level = 2, 2
		all := history(1, 430, 3)
		all[0].Data = protocol.EncodeConfiguration(h.inForce().Configuration)
		protocol.EncodeEntries(all)
		protocol.SumEntries(protocol.LogSum{}, all)
		h.grow(all)
		h.starts.Level = 1
		h.startAgain()
		h.wantKept(400, 350)
		if h.restored.Applied != 0 || h.machine.Applied() != 0 {
			t.Errorf("restored to %d, the machine is at %d, want nothing", h.restored.Applied, h.machine.Applied())
		}
		if got := h.rec.Configurations.LevelAt(h.rec.State.Commit); got != 2 {
			t.Errorf("the log is at level %d, want 2", got)
		}
		sound, err := snapshotter.Sound(ctx, h.store, newMachine(t), h.starts)
		if err != nil || len(sound) > 0 {
			t.Errorf("got %+v, %v, want none that is known to be sound", sound, err)
		}
		h.starts.Level = 2
		h.startAgain()
		h.wantKept(400, 350)
		h.replay()
		h.wantState(all)
	})
}

package snapshotter

import (
	"context"
	"errors"
	"fmt"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Sound reads all kept checkpoints and returns where a log begins after each of
// those whose state is the one of its digest; the others are given up, aloud. A
// log that is repaired may give up entries for one of them, so that more than its
// manifest must be good. The machine is not changed.
func Sound(ctx context.Context, store storage.CheckpointStore, m *machine.Machine, o Options) ([]storage.Begin, error) {
	s := &starting{store: store, machine: m, o: o.withDefaults()}
	var out []storage.Begin
	for _, d := range store.Kept() {
		if !s.o.reads(&d) {
			continue // nobody can say here whether it is good
		}
		_, err := s.load(ctx, &d)
		if errors.Is(err, protocol.ErrCorrupt) {
			if err := s.giveUp(&d, err); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the checkpoint at %d: %w", d.Index, err)
		}
		out = append(out, storage.BeginAfter(&d))
	}
	return out, nil
}

package snapshotter

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// scanBytes is how much of the log is read at a time.
const scanBytes = 1 << 20

// markOlder marks the older of two checkpoints as confirmed if the log says so below the newer one, which the state is
// that of.
//
// [S] The mark follows the confirmation by one step on the store, and that may have been busy with the newer
// checkpoint when the run before ended. Nobody applies the confirmation again. So without this the last checkpoint that is
// known to be right would be given to nobody, and give way to the next one. What cannot be read, or marked for want of room,
// costs no more than that.
func (s *starting) markOlder(ctx context.Context) error {
	kept := s.store.Kept()
	if len(kept) < 2 || kept[0].Confirmed || kept[1].Confirmed {
		return nil
	}
	older, newer := &kept[1], kept[0].Index
	for i := max(older.Index+1, s.rec.LogTerms.FirstIndex()); i <= newer; {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := s.log.Read(i, newer, scanBytes)
		if err != nil || len(entries) == 0 {
			return nil
		}
		for k := range entries {
			if confirms(&entries[k], older) {
				return s.mark(older)
			}
		}
		i += protocol.Index(len(entries))
	}
	return nil
}

func confirms(e *protocol.Entry, d *storage.Manifest) bool {
	if !e.Kind.Confirms() {
		return false
	}
	m, err := protocol.DecodeConfirmation(e.Data)
	return err == nil && m == protocol.Confirmation{Index: d.Index, Digest: d.Digest}
}

func (s *starting) mark(d *storage.Manifest) error {
	err := s.store.SetConfirmed(d.Index, true)
	if errors.Is(err, protocol.ErrNoSpace) || errors.Is(err, protocol.ErrDirectory) {
		return nil
	}
	return err
}

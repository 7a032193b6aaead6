package runtime

import (
	"errors"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// loadWatermarks reads what an earlier run remembered, so that this one also knows a
// restored copy. A damaged file is no reason not to start: it is a second line of
// defence, and begun anew.
func (d *directories) loadWatermarks() error {
	if d.m.cfg.Dir == "" {
		return nil
	}
	err := d.seen.Recall(vfs.OS(), d.m.cfg.Dir)
	if errors.Is(err, protocol.ErrCorrupt) {
		d.m.logger.Warn("forgetting what was seen of the others' directories", "err", err)
		return nil
	}
	return err
}

// noteWatermarks writes what was seen, now and then: not on the way of anything.
func (d *directories) noteWatermarks() {
	if d.seen.Wanted(d.m.clock.Now()) {
		d.saveWatermarks()
	}
}

// saveWatermarks writes what was seen.
func (d *directories) saveWatermarks() {
	if d.m.cfg.Dir == "" {
		return
	}
	d.m.remembered.kept(d.m, "what was seen of the others' directories", d.seen.Keep(d.m.cfg.logDisk, d.m.cfg.Dir, d.m.clock.Now))
}

package runtime

import (
	"math"
	"path/filepath"
	"time"

	"github.com/starlinghq/starling/internal/changefile"
)

// changesName is the file of changes in a member's directory.
const changesName = "changes"

// openChanges has the changes that leave memory kept in a file, if there is a directory and
// it may be. A file of another run is removed in any case.
func (m opening) openChanges() *changefile.File {
	if m.cfg.Dir == "" {
		return nil
	}
	f := changefile.New(m.cfg.logDisk, filepath.Join(m.cfg.Dir, changesName), changefile.Options{
		Bytes: int64(m.cfg.ChangesBytes), Spare: func() int64 { return spareOf(m.Member) }, Logger: m.logger,
	})
	if m.cfg.ChangesBytes > 0 {
		m.changes = f
	}
	return m.changes
}

// writeChanges writes them, until the member ends. Then the file is gone.
func writeChanges(m *Member) {
	if m.changes == nil {
		return
	}
	defer m.changes.Close()
	ticker := time.NewTicker(changefile.LookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			m.changes.Look()
		case <-m.changes.News():
		}
		for m.changes.Step() {
			select {
			case <-m.stop:
				return
			default:
			}
		}
	}
}

// spareOf is how much of the disk is free beyond what has to be for writes to be taken: the file
// of changes is never why they are not.
func spareOf(m *Member) int64 {
	space, err := m.log.Space()
	if err != nil || space.High == 0 {
		return math.MaxInt64 // a disk that fails says so in a write
	}
	return int64(min(space.Free, math.MaxInt64)) - int64(space.High)
}

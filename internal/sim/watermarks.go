package sim

import (
	"errors"

	"github.com/starlinghq/starling/internal/handshake"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// What a member remembers of the others' directories is in its own, and so is that
// it was refused.

// begins begins a run that has met nobody. What it remembers is on its disk: a file that
// has rotted is as good as none.
func (x *greeter) begins() {
	x.starts++
	x.runID, x.seen, x.told = protocol.RunID(x.s.random.members.Uint64()), make([]bool, len(x.s.members)), nil
	x.watermarks = &driver.Watermarks{}
	_ = x.watermarks.Recall(x.disk.fs, directory)
	x.holders, x.refusals, x.barred, x.unheard = handshake.Holders{}, replica.Refusals{}, false, ""
}

// saveWatermarks writes what is remembered, as far as there is room.
func (x *greeter) saveWatermarks() {
	if x.watermarks.Wanted(x.now()) {
		x.mustKeep("what it has seen", x.watermarks.Keep(x.disk.fs, directory, x.now))
	}
}

// bar writes into the directory that it was refused.
func (x *greeter) bar(by *host, err error) {
	code, _ := protocol.CodeOf(err)
	x.mustKeep("that it was refused", wal.WriteRefusal(x.disk.fs, directory, wal.Refusal{Code: code, By: by.id, Address: by.address, Text: err.Error()}))
}

// mustKeep checks that there is a reason why something was not kept.
func (h *host) mustKeep(what string, err error) {
	if err != nil && !errors.Is(err, vfs.ErrNoSpace) && !h.disk.stopped() && !h.disk.ails() {
		h.s.fail(violated(RuleDurable, "%s cannot keep %s: %v", h.name, what, err))
	}
}

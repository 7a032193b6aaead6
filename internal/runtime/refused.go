package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// bar is that this member's directory was refused, by whose word counts. [S] From
// then on nothing of Raft leaves this member or enters it, in this run and in any
// later one.
type bar struct{ err error }

// hearRefusal weighs what another member says of this one's directory. It returns an
// error if the member has to stop. The loop calls it, or that of the repair.
func (d *directories) hearRefusal(by protocol.MemberID, address string, refusal error) (stop error) {
	conf := d.m.configuration()
	before := d.refusals.Err()
	if !d.refusals.Hear(conf, by, address, refusal) {
		d.m.observer.Add(observe.Unheard, 1)
		if d.refusalsSaid.news(by, refusal.Error()) {
			d.m.logger.Warn("a refusal of this member's directory does not count: it does not come from a voter at its configured address",
				"by", d.m.nameOf(by), "address", address, "err", refusal)
		}
		return nil
	}
	if d.refusals.Err() != before {
		why := fmt.Sprintf("member %s refuses this member's directory: %v", d.m.nameOf(by), refusal)
		if err := d.barBy(why, refusal, wal.Refusal{By: by, Address: address}); err != nil {
			return err
		}
		if d.m.replica != nil { // while the log is repaired there is none
			d.m.replica.Bar(d.m.clock.Now())
		}
	}
	if d.refusals.Ends(conf) {
		return d.barred.Load().err
	}
	return nil
}

// forgotten notes that this member's own log shows that its directory was put back. [S] No later
// start uses it either: it would be as far behind, and meet others who say less.
func (d *directories) forgotten(why error) error {
	_, text := protocol.CodeOf(why)
	return errors.Join(why, d.barBy(text, why, wal.Refusal{}))
}

// barBy keeps this member from voting and acknowledging, and writes that down. It
// returns an error if it cannot: then the member has to stop, since the next start
// would not know. r names who says so.
func (d *directories) barBy(text string, refusal error, r wal.Refusal) error {
	code, _ := protocol.CodeOf(refusal)
	err := error(&protocol.Error{Code: code, Text: text, Cause: refusal})
	serving := error(protocol.ErrNotServing.With(text))
	d.barred.Store(&bar{err})
	d.m.suspended.Store(&serving)
	defer d.m.changed.tell()
	d.m.logger.Error("this member's directory is refused: it neither votes nor acknowledges any more", "err", err)
	if d.m.cfg.Dir == "" {
		return nil
	}
	r.Code, r.When, r.Text = code, time.Now(), refusal.Error()
	if written := wal.WriteRefusal(vfs.OS(), d.m.cfg.Dir, r); written != nil {
		return errors.Join(err, protocol.ErrDiskFailed.With("and that cannot be written down").Because(written))
	}
	return nil
}

// checkRefused refuses to start with a directory that was refused in an earlier run.
func (d *directories) checkRefused() error {
	r, err := wal.ReadRefusal(vfs.OS(), d.m.cfg.Dir)
	if r == nil || err != nil {
		return err
	}
	by := "its own member, whose log lacks what it had stored,"
	if !r.By.IsZero() {
		by = fmt.Sprintf("member %s at %s", r.By.Short(), cmp.Or(r.Address, "an unknown address"))
	}
	text := fmt.Sprintf("%s was refused by %s on %s, and may not be used: %s", d.m.cfg.Dir, by, r.When.Format(time.RFC3339), r.Text)
	switch out := protocol.WayOut(d.m.cfg.Name); {
	case errors.Is(r.Err(), protocol.ErrTwin):
		text += ". If the other one is lost, give its seat up with `starling remove " + d.m.cfg.Name + "` at a running member, and start with an empty directory"
	case !strings.Contains(text, out): // it cannot be read any more
		text += ". " + out
	}
	return protocol.NewError(r.Code, text)
}

// isBarred reports whether a message may neither leave nor enter, because the
// directory was refused.
func (d *directories) isBarred(msg protocol.Message) bool {
	return !msg.Kind().OfFlock() && d.barred.Load() != nil
}

package sim

// boundary is a place between two effects of a member at which it may die.
type boundary uint8

const (
	beforeWrite boundary = iota
	amidWrite            // some of its operations on the disk are done
	beforeSync           // written, not synced
	afterSync            // synced, the replica does not know yet
	beforeSend
	amidSend // some messages have left, some have not
	afterSend
	beforeApply
	afterApply // applied, the replica does not know yet
	amidCheckpoint
	amidRepairing // of a running log
	boundaries
)

var boundaryNames = [boundaries]string{
	"before a write", "in the middle of a write", "between write and sync", "after a sync", "before sending",
	"in the middle of sending", "after sending", "before applying", "after applying", "in the middle of a checkpoint",
	"while a running log is repaired",
}

// crashPoint is a crash that waits for a boundary.
type crashPoint struct {
	armed bool
	at    boundary
	power bool
	// skip passes that many boundaries of the kind first.
	skip int
}

// atCrashPoint reports whether the member is to die in the middle of what it begins
// now, and takes the crash point.
func (p *process) atCrashPoint(b boundary) bool {
	if !p.crashPoint.armed || p.crashPoint.at != b {
		return false
	}
	if p.crashPoint.skip > 0 {
		p.crashPoint.skip--
		return false
	}
	p.torn, p.crashPoint.armed = p.crashPoint.power, false
	p.s.counts.add(countBoundary+tally(b), 1)
	return true
}

// survives says that a member has come to a boundary, and reports whether it
// lives on.
func (p *process) survives(b boundary) bool {
	dies := p.atCrashPoint(b)
	if dies {
		p.dies(p.torn, boundaryNames[b])
	}
	return !dies
}

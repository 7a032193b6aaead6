package protocol

import (
	"fmt"
	"time"
)

// Autopilot is what the policy goes by that decides who is active. It is part
// of the configuration, so that every leader goes by the same. The zero value
// is a policy that is switched on and has its defaults.
type Autopilot struct {
	// Off switches the policy off: seats change by hand only.
	Off bool
	// Stable is how long a member must have been alive, and the same, before
	// the policy gives it a seat or believes that it wants none any more; 0:
	// AutopilotStableDefault. Whole nanoseconds, at most AutopilotTimeMax.
	Stable time.Duration
	// FailedAfter is how long a voter must have failed before its seat goes to
	// another member; 0: AutopilotFailedDefault. At least AutopilotFailedMin,
	// at most AutopilotTimeMax.
	FailedAfter time.Duration
	// Floor is how many voters the policy leaves and aims at at least, whatever
	// the target says; 0: the target alone counts. Whoever changes seats by
	// hand may go below it.
	Floor int
	// Passives is how many passives the policy wants alive: while there are
	// fewer for FailedAfter, it asks reserves to follow. At most
	// AutopilotPassivesMax; 0: reserves are asked only when a seat needs one.
	Passives int
	// HoldLevel keeps the format level where it is, although all members know the
	// next one: until it is raised they can be put back to the release before.
	HoldLevel bool
}

// The times that a policy goes by when nothing else was said.
const (
	AutopilotStableDefault = time.Second
	AutopilotFailedDefault = 30 * time.Second
)

// Validate reports the first value that is out of its limits.
func (a Autopilot) Validate() error {
	switch {
	case a.Stable < 0 || a.Stable > AutopilotTimeMax:
		return fmt.Errorf("a member is stable after a time between 0 and %v, not %v", AutopilotTimeMax, a.Stable)
	case a.FailedAfter != 0 && (a.FailedAfter < AutopilotFailedMin || a.FailedAfter > AutopilotTimeMax):
		return fmt.Errorf("a voter has failed after a time between %v and %v, not %v", AutopilotFailedMin, AutopilotTimeMax, a.FailedAfter)
	case a.Floor < 0 || a.Floor > ActivesMax:
		return fmt.Errorf("the floor is between 0 and %d voters, not %d", ActivesMax, a.Floor)
	case a.Passives < 0 || a.Passives > AutopilotPassivesMax:
		return fmt.Errorf("the policy wants between 0 and %d passives, not %d", AutopilotPassivesMax, a.Passives)
	}
	return nil
}

// AutopilotReport is what a leader says of its policy.
type AutopilotReport struct {
	// Configuration is in force, with what the policy goes by. A change must be
	// meant for its version.
	Configuration ConfigurationAt
	// LeaderID is the member that says this, Leader its name, if it has one.
	LeaderID MemberID
	Leader   string
	// Reason is what the policy said last: what it does, or why it does nothing.
	Reason string
	// InFlight says that Configuration is not committed yet, or that another one
	// completes it: it may come to nothing.
	InFlight bool
	// Names are the labels of the members that the leader hears or has given a seat.
	Names []NameInUse
}

// append writes a policy's settings. The passives and whether the level is held stand at
// the end, and only if somebody wants some, or has held it: logs from before there were
// such things stay what they were.
func (a Autopilot) append(dst []byte) []byte {
	parts := 4
	switch {
	case a.HoldLevel:
		parts = 6
	case a.Passives != 0:
		parts = 5
	}
	dst = appendArray(dst, parts)
	dst = appendBool(dst, a.Off)
	dst = appendUint(dst, uint64(a.Stable))
	dst = appendUint(dst, uint64(a.FailedAfter))
	dst = appendUint(dst, uint64(a.Floor))
	if parts > 4 {
		dst = appendUint(dst, uint64(a.Passives))
	}
	if a.HoldLevel {
		dst = appendBool(dst, true)
	}
	return dst
}

func (r *reader) autopilot() (a Autopilot) {
	parts := r.arrayTo(6, 1)
	if parts < 4 {
		r.fail("settings of the policy in fewer than four parts")
	}
	a.Off = r.bool()
	a.Stable, a.FailedAfter = time.Duration(r.uintTo(uint64(AutopilotTimeMax))), time.Duration(r.uintTo(uint64(AutopilotTimeMax)))
	a.Floor = int(r.uintTo(ActivesMax))
	if parts > 4 {
		if a.Passives = int(r.uintTo(AutopilotPassivesMax)); parts == 5 && a.Passives == 0 {
			r.fail("settings of the policy that want no passives and say so")
		}
	}
	if parts == 6 {
		if a.HoldLevel = r.bool(); r.err == nil && !a.HoldLevel {
			r.fail("settings of the policy that hold no level and say so")
		}
	}
	return a
}

func (p *AutopilotReport) append(dst []byte) []byte {
	dst = appendArray(dst, 7)
	dst = appendUint(dst, uint64(p.Configuration.Index))
	dst = AppendConfiguration(dst, p.Configuration.Configuration)
	dst = appendID(dst, p.LeaderID)
	dst = appendString(dst, p.Leader)
	dst = appendText(dst, p.Reason)
	dst = appendBool(dst, p.InFlight)
	return appendAll(dst, p.Names, (*NameInUse).append)
}

func (r *reader) autopilotReport() *AutopilotReport {
	more := r.grows(7)
	a := &AutopilotReport{
		Configuration: ConfigurationAt{Index: r.index(), Configuration: r.configuration()}, LeaderID: r.member(), Leader: r.name(), Reason: r.text(),
		InFlight: r.bool(), Names: readNames(r),
	}
	r.skip(more)
	return a
}

package swim

import "time"

// Timing is the pace of failure detection. Larger is cheaper and slower to
// notice a death.
type Timing struct {
	// ProbeInterval is between two probes by a member, ProbeTimeout how long
	// an answer may take.
	ProbeInterval, ProbeTimeout time.Duration
	// SuspicionMult times log10(members) probe intervals, at least one, is how
	// long a suspect may defend itself.
	SuspicionMult int
	// GossipInterval is between two packets of membership news.
	GossipInterval time.Duration
	// PushPullInterval is between two exchanges of all that two members know.
	PushPullInterval time.Duration
	// StreamTimeout bounds each exchange over a stream.
	StreamTimeout time.Duration
	// DeadTime is how long the dead are told the news, and remembered by
	// memberlist at least.
	DeadTime time.Duration
	// TryInterval is between two tries of members that are not heard. Half of a
	// flock that was cut off is found within about two of it; a stream that is not
	// there within two of it is given up.
	TryInterval time.Duration
}

// LAN notices a death within about 5 to 10 s. The default.
func LAN() Timing {
	return Timing{
		ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond, SuspicionMult: 4,
		GossipInterval: 200 * time.Millisecond, PushPullInterval: 30 * time.Second, StreamTimeout: 10 * time.Second,
		DeadTime: 30 * time.Second, TryInterval: 500 * time.Millisecond,
	}
}

// Local is for members in one process or on one machine: a death is noticed
// within about 2 s.
func Local() Timing {
	return Timing{
		ProbeInterval: 300 * time.Millisecond, ProbeTimeout: 150 * time.Millisecond, SuspicionMult: 3,
		GossipInterval: 30 * time.Millisecond, PushPullInterval: 15 * time.Second, StreamTimeout: time.Second,
		DeadTime: 30 * time.Second, TryInterval: 300 * time.Millisecond,
	}
}

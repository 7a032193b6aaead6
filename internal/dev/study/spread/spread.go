// Package spread measures, in virtual time, how committed entries reach the
// passives: with the real core of package gossip in both of its modes, and with
// models of two ways that others use. It has no clock and no goroutine; a seed
// decides everything.
package spread

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Mode is a way in which entries reach the passives.
type Mode uint8

const (
	// Hybrid and Flood are the modes of package gossip.
	Hybrid Mode = iota
	Flood
	// Pull is a baseline: every passive pulls straight from an active, which
	// answers as soon as it has something. A model.
	Pull
	// Broadcast is a baseline: memberlist's queue of broadcasts, with its
	// settings for a local network. A model of the algorithm that it documents.
	Broadcast
)

// Modes returns all of them.
func Modes() []Mode { return []Mode{Hybrid, Flood, Pull, Broadcast} }

// String returns the mode's name, as ParseMode takes it.
func (m Mode) String() string {
	return [...]string{"hybrid", "flood", "pull", "broadcast"}[m]
}

// ParseMode returns the mode of a name.
func ParseMode(name string) (Mode, error) {
	for _, m := range Modes() {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("hybrid, flood, pull or broadcast, not %q", name)
}

// core says whether the mode is one of package gossip.
func (m Mode) core() bool { return m == Hybrid || m == Flood }

// What is the same in all runs.
const (
	// Actives is how many actives there are beside the passives.
	Actives = 3
	// SlowBy is what each message from or to a slow member takes in addition.
	SlowBy = 50 * time.Millisecond
	// SendCost is what a message costs its sender, who sends one after another:
	// a system call and a copy. Without it, an active that sends ten thousand
	// copies would be as fast as one that sends three.
	SendCost = 5 * time.Microsecond
	// heartbeat is the leader's, of the preset for local networks.
	heartbeat = 100 * time.Millisecond
	// knownMax is how many passives each passive knows in larger flocks; the
	// cores need no more, and all of them would not fit into memory.
	knownMax   = 100
	knownAllTo = 1000
)

// Limits of a setting.
const (
	MembersMax = 20_000
	// ArrivalsMax bounds members x entries of a run, and so its memory.
	ArrivalsMax = 30_000_000
	bytesMax    = 1 << 20
)

// Setting is what a run is made with.
type Setting struct {
	Mode    Mode
	Members int     // passives
	Loss    float64 // share of the datagrams that is lost
	// Delay is how long a message takes, one way, if nothing else is said; a
	// random fifth of it comes on top.
	Delay time.Duration
	// Dead and Slow are shares of the passives: the dead ones are so from the
	// end of the warm-up on, and nobody notices; messages from and to slow ones
	// take SlowBy longer. Figures are of the others.
	Dead, Slow float64
	// Zones is how many zones the members are dealt out to. Between zones a
	// message takes ZoneDelay longer.
	Zones     int
	ZoneDelay time.Duration
	Rate      float64 // entries per second
	Bytes     int     // of an entry's data
	// For is how long entries are written, after a warm-up.
	For  time.Duration
	Seed uint64
	// Fanout and Probability are those of Flood; zero for their defaults.
	Fanout      int
	Probability float64
}

// Validate reports all that is wrong.
func (s *Setting) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Members >= 2 && s.Members <= MembersMax, "members from 2 to %d, not %d", MembersMax, s.Members)
	check(s.Loss >= 0 && s.Loss <= 0.9, "loss from 0 to 0.9, not %v", s.Loss)
	check(s.Delay >= 10*time.Microsecond && s.Delay <= time.Second, "delay from 10us to 1s, not %v", s.Delay)
	check(s.Dead >= 0 && s.Slow >= 0 && s.Dead+s.Slow <= 0.9, "dead and slow are shares that leave a tenth of the members well, not %v and %v", s.Dead, s.Slow)
	check(s.Zones >= 1 && s.Zones <= 16, "zones from 1 to 16, not %d", s.Zones)
	check(s.ZoneDelay >= 0 && s.ZoneDelay <= time.Second, "zone delay from 0s to 1s, not %v", s.ZoneDelay)
	check(s.Rate >= 0.1 && s.Rate <= 100_000, "rate from 0.1 to 100000 entries per second, not %v", s.Rate)
	check(s.Bytes >= 1 && s.Bytes <= bytesMax, "bytes from 1 to %d, not %d", bytesMax, s.Bytes)
	check(s.For >= 100*time.Millisecond && s.For <= time.Hour, "from 100ms to 1h of writing, not %v", s.For)
	check(s.Fanout >= 0 && s.Fanout <= 64, "fanout from 1 to 64, not %d", s.Fanout)
	check(s.Probability >= 0 && s.Probability <= 1, "probability above 0 and at most 1, not %v", s.Probability)
	if len(errs) == 0 {
		check(s.Rate*s.For.Seconds() >= 1, "at this rate not one entry is written in %v", s.For)
		arrivals := float64(s.Members) * s.Rate * s.For.Seconds()
		check(arrivals <= ArrivalsMax, "%.0f arrivals are more than %d: fewer members, a lower rate or less time", arrivals, ArrivalsMax)
	}
	return errors.Join(errs...)
}

// String says what is measured.
func (s *Setting) String() string {
	text := fmt.Sprintf("%s passives, %d actives; loss %s %%, %s ms one way; %s entries/s of %d B for %s s; seed %d",
		grouped(s.Members), Actives, number(100*s.Loss), number(milliseconds(s.Delay)), number(s.Rate), s.Bytes, number(s.For.Seconds()), s.Seed)
	if s.Dead > 0 {
		text += fmt.Sprintf("; %s %% dead and not noticed", number(100*s.Dead))
	}
	if s.Slow > 0 {
		text += fmt.Sprintf("; %s %% slow by %s ms", number(100*s.Slow), number(milliseconds(SlowBy)))
	}
	if s.Zones > 1 {
		text += fmt.Sprintf("; %d zones %s ms apart", s.Zones, number(milliseconds(s.ZoneDelay)))
	}
	return text
}

// degree is how many links a member of a flock has in mode Hybrid.
func degree(members int) int {
	return min(max(int(math.Floor(1.5*math.Log10(float64(members))+3)), 4), 8)
}

// Bound returns the shortest time to all members that a tree allows in which
// the actives feed nine and each member all but one of its links.
func (s *Setting) Bound() time.Duration {
	hops := 1.0
	if s.Members > 9 {
		hops += math.Ceil(math.Log(float64(s.Members)/9) / math.Log(float64(degree(s.Members)-1)))
	}
	return time.Duration(hops * float64(s.Delay))
}

// Theory returns the share of the members that push alone reaches in mode
// Flood: with c copies made by each, a share s = e^(-c(1-s) - k/N) is missed,
// where the actives make k copies.
func (s *Setting) Theory() float64 {
	fanout, probability := s.Fanout, s.Probability
	if fanout == 0 {
		fanout = 4
	}
	if probability == 0 {
		probability = 0.75
	}
	copies := float64(fanout) * probability * (1 - s.Loss)
	missed := 0.0
	for range 300 {
		missed = math.Exp(-copies*(1-missed) - Actives*copies/float64(s.Members))
	}
	return 1 - missed
}

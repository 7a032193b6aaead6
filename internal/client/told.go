package client

import (
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// watchIdle is how long a watch says nothing, at most, while no member tells it anything.
const watchIdle = time.Second

// ager is a stream whose source says how old its state is. The Index of the result is one that this
// state has come to.
type ager interface{ StateAge() protocol.Result }

// told bounds how old all is that a watch has told. A member's word on the age of its state counts
// when the watch has come to the index of that word.
type told struct {
	come, waits stated
}

// stated is a member's word, of a moment.
type stated struct {
	protocol.Result
	when time.Time
}

func (s *stated) age(now time.Time) time.Duration { return time.Duration(s.Age) + passed(s.when, now) }

// sample takes the word of the member that tells the stream, if none waits.
func (t *told) sample(stream resources.WatchStream, now time.Time) {
	if from, ok := stream.(ager); ok && !t.waits.AgeKnown {
		t.waits = stated{from.StateAge(), now}
	}
}

// reach takes note of what is told, and says how old that is.
func (t *told) reach(c protocol.Changes, now time.Time) protocol.Changes {
	if t.waits.AgeKnown && t.waits.Index <= c.Index {
		if !t.come.AgeKnown || t.waits.age(now) < t.come.age(now) {
			t.come = t.waits
		}
		t.waits = stated{}
	}
	if t.come.AgeKnown {
		c.AgeKnown, c.Age = true, int64(t.come.age(now))
	}
	return c
}

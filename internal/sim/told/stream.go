package told

import "time"

// Kind says what a stream has told.
type Kind uint8

// What a stream tells. Reset and Listed are of a copy only.
const (
	Put Kind = 1 + iota
	Delete
	Bookmark
	Reset
	Listed
	// Moved is not told: the client of the stream goes on at another member, or at the same
	// one again, behind Index.
	Moved
)

// Event is one step of a stream.
type Event struct {
	Kind  Kind
	Index uint64
	Key   string
	Value string
	// Previous is what the key was before, if the stream has asked.
	Previous Previous
	// Last says that no other change of the index follows.
	Last bool
	// Age, if AgeKnown, is how old all that was told is at most, as the stream says.
	Age      time.Duration
	AgeKnown bool
	// Asked is when the loop began to wait for the event, and Came when it had it, both by the clock by which
	// a Truth says when what was acknowledged.
	Asked, Came time.Duration
	// Where the stream goes on, of a Moved: for sentences.
	Where string
}

// Stream is one loop over a watch, or over a copy, from its beginning to its end.
type Stream struct {
	Name   string // for sentences
	Prefix string
	// After is the index that was asked for; 0: from now on. Nothing up to Seen is told then:
	// the client has seen it.
	After, Seen uint64
	// Resumes is the stream of the same program from which After comes, or nil.
	Resumes *Stream
	// Copy says that it is kept by the rule of Follow.
	Copy bool
	// Previous says that it has asked for what each key was before: all of it must be known.
	Previous bool
	// Exact says that ages are of when their event came. Else they may be of any moment since
	// the loop began to wait for it.
	Exact bool
	// Quiet is how long the stream may leave its loop without an event; 0: that is not judged.
	Quiet time.Duration
	// Must is the index up to which all must have been told at the end; 0: none.
	Must   uint64
	Events []Event
	// Waiting is since when the loop waits, and Ended when it gave that up; 0 and 0: it did not wait.
	Waiting, Ended time.Duration
}

// Resume returns what to go on behind, by the rule of MapEvent.Resume: behind what was told last, or, in
// the middle of an entry, before that.
func (s *Stream) Resume() uint64 {
	at := s.After
	for i := range s.Events {
		switch e := &s.Events[i]; {
		case e.Kind == Moved:
		case e.Kind == Reset:
			at = 0
		case (e.Kind == Put || e.Kind == Delete) && !e.Last:
			at = max(at, e.Index-1)
		default:
			at = max(at, e.Index)
		}
	}
	return at
}

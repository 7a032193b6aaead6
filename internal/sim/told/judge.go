package told

import (
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// Fault is a kind of what may be wrong with a stream.
type Fault string

// What may be wrong.
const (
	Dropped  Fault = "dropped"  // a change is missing between others
	Doubled  Fault = "doubled"  // a change was told twice, or is from before where the stream begins
	Swapped  Fault = "swapped"  // a change, or a bookmark, comes after what is later
	Changed  Fault = "changed"  // a change has another kind, value or index than the log gives it
	Invented Fault = "invented" // no entry made such a change
	Torn     Fault = "torn"     // a part of an entry is missing, or it is said to end where it does not
	Ahead    Fault = "ahead"    // a bookmark promises more than was told
	Skipped  Fault = "skipped"  // a stream goes on behind what was not told
	Listing  Fault = "listing"  // a listing is not the map at its index
	// WrongPrevious: a key was something else before its change, or that is said not to be known.
	WrongPrevious Fault = "wrong previous"
	TooYoung      Fault = "too young"
	Silent        Fault = "silent"
)

// Finding is something wrong with a stream.
type Finding struct {
	Fault Fault
	Text  string // a sentence that names stream, index and key
}

// Error returns the fault and the sentence.
func (f Finding) Error() string { return string(f.Fault) + ": " + f.Text }

// findingsMax is how many findings of one stream are reported: the first says most.
const findingsMax = 8

// Judge returns what is wrong with a stream.
func Judge(t *Truth, s *Stream) []Finding {
	j := &judge{stream: s, list: t.of(s.Prefix), listing: s.Copy}
	j.reckonOldest()
	j.reckonPrevious()
	j.begin(s.After)
	j.resumed()
	for i := range s.Events {
		j.event(&s.Events[i])
	}
	j.end()
	return j.found
}

// judge goes through a stream and through what it must tell side by side.
type judge struct {
	stream *Stream
	list   []fact     // what it must tell, in order
	before []Previous // what the key of each fact was
	oldest []int      // of each fact and all that follow it: the one that was acknowledged first; -1: none

	start   int          // of the list: what is before it is not asked for
	next    int          // the first that is still to be told
	told    map[int]bool // places in the list
	missed  []int        // passed over so far
	upTo    uint64       // of what was told, or said to be
	begun   bool         // it is known where the stream begins
	ahead   int          // up to where a bookmark has promised in vain; that is said once
	listing bool         // a copy that is not complete so far
	copied  map[string]Change

	found []Finding
}

func (j *judge) add(f Fault, format string, args ...any) {
	if len(j.found) < findingsMax {
		j.found = append(j.found, Finding{f, j.stream.Name + ": " + fmt.Sprintf(format, args...)})
	}
}

func (j *judge) reckonOldest() {
	j.oldest = make([]int, len(j.list)+1)
	j.oldest[len(j.list)] = -1
	for i := len(j.list) - 1; i >= 0; i-- {
		j.oldest[i] = j.oldest[i+1]
		if k := j.oldest[i]; j.list[i].known != Unknown && (k < 0 || j.list[i].known <= j.list[k].known) {
			j.oldest[i] = i
		}
	}
}

func (j *judge) reckonPrevious() {
	j.before = make([]Previous, len(j.list))
	now := map[string]Previous{}
	for i, f := range j.list {
		if j.before[i] = now[f.Key]; j.before[i].Kind == protocol.PreviousUnknown {
			j.before[i].Kind = protocol.PreviousNone
		}
		now[f.Key] = Previous{protocol.PreviousValue, f.Value}
		if f.Kind == protocol.ChangeDelete {
			delete(now, f.Key)
		}
	}
}

// begin has the stream begin behind an index; 0: it will say where.
func (j *judge) begin(after uint64) {
	j.told, j.missed, j.ahead = map[int]bool{}, nil, 0
	j.upTo, j.begun = after, after != 0
	j.start = above(j.list, after)
	j.next = j.start
}

// resumed holds where a stream begins against what the one before it has told.
func (j *judge) resumed() {
	before := j.stream.Resumes
	if before == nil || j.stream.After == 0 {
		return
	}
	if place := before.Resume(); place < j.stream.After {
		if i := above(j.list, place); i < j.start {
			j.add(Skipped, "begins behind %d, and %s, from which it goes on, had come to %d: %s is told by neither", j.stream.After, before.Name, place, j.list[i])
		}
	}
}

func (j *judge) event(e *Event) {
	if quiet := j.stream.Quiet; quiet > 0 && e.Kind != Moved && e.Came-e.Asked > quiet {
		j.add(Silent, "said nothing for %v, %v is the bound, before index %d %s", e.Came-e.Asked, quiet, e.Index, e.Key)
	}
	switch e.Kind {
	case Reset:
		if !j.stream.Copy {
			j.add(Invented, "a watch begins a listing, behind %d", j.upTo)
		}
		j.listing, j.copied = true, map[string]Change{}
		return
	case Moved:
		j.moved(e)
		return
	}
	if j.listing {
		j.listed(e)
		return
	}
	if !j.begun {
		j.beginAt(e)
	}
	switch e.Kind {
	case Put, Delete:
		j.change(e)
	case Bookmark:
		j.bookmark(e)
	case Listed:
		j.add(Invented, "ends a listing at %d that it has not begun", e.Index)
	}
	j.age(e)
}

// beginAt has a stream from now on begin where it says.
func (j *judge) beginAt(e *Event) {
	at := e.Index
	if e.Kind != Bookmark {
		at--
	}
	if at < j.stream.Seen {
		j.add(Doubled, "begins now, at %d, and its client has seen %d", at, j.stream.Seen)
	}
	j.begin(at)
	j.begun = true
}

// moved holds where a client goes on against what it was told.
func (j *judge) moved(e *Event) {
	if !j.listing && j.begun && j.next < len(j.list) && j.list[j.next].Index <= e.Index {
		j.add(Skipped, "goes on at %s behind %d, and %s was not told", e.Where, e.Index, j.list[j.next])
	}
}

// change takes a put or a delete.
func (j *judge) change(e *Event) {
	at, ok := j.lookUp(e)
	if !ok {
		return
	}
	want := Previous{}
	if j.stream.Previous {
		want = j.before[at]
	}
	if e.Previous != want {
		j.add(WrongPrevious, "%s is told, and that the key was %v before: it was %v", j.list[at], e.Previous, want)
	}
	switch {
	case j.told[at]:
		j.add(Doubled, "%s is told a second time, after %d", j.list[at], j.upTo)
		return
	case at < j.start:
		j.add(Doubled, "%s is told, and the stream begins behind %d", j.list[at], j.list[j.start-1].Index)
		return
	case at < j.next:
		j.add(Swapped, "%s is told after %s", j.list[at], j.list[j.next-1])
	}
	j.told[at] = true
	for ; j.next < at; j.next++ {
		j.missed = append(j.missed, j.next)
	}
	j.next = max(j.next, at+1)
	last := at+1 == len(j.list) || j.list[at+1].Index != e.Index
	switch {
	case e.Last && !last:
		j.add(Torn, "%s is said to be the last of its entry, and %s follows", j.list[at], j.list[at+1])
	case !e.Last && last:
		j.add(Torn, "%s is not said to be the last of its entry, and nothing of that follows", j.list[at])
	}
	j.upTo = max(j.upTo, e.Index)
}

// kinds are those of changes.
var kinds = map[Kind]protocol.ChangeKind{Put: protocol.ChangePut, Delete: protocol.ChangeDelete}

// lookUp returns the fact that an event tells of. Without one it says what is wrong.
func (j *judge) lookUp(e *Event) (at int, ok bool) {
	got := Change{Index: e.Index, Key: e.Key, Kind: kinds[e.Kind], Value: e.Value}
	if !strings.HasPrefix(e.Key, j.stream.Prefix) {
		j.add(Invented, "%s is told, and only keys that begin with %q were asked for", got, j.stream.Prefix)
		return 0, false
	}
	if at = find(j.list, e.Index, e.Key); at < 0 {
		for _, f := range j.list {
			if f.Key == e.Key && f.Kind == got.Kind && f.Value == got.Value && got.Kind == protocol.ChangePut {
				j.add(Changed, "%s is told, and the log has it as %s", got, f)
				return 0, false
			}
		}
		j.add(Invented, "%s is told, and no entry did that", got)
		return 0, false
	}
	if j.list[at].Change != got {
		j.add(Changed, "%s is told, and the log has it as %s", got, j.list[at])
	}
	return at, true
}

// bookmark takes a word on how far everything was told.
func (j *judge) bookmark(e *Event) {
	if e.Index < j.upTo {
		j.add(Swapped, "a bookmark at %d comes after %d", e.Index, j.upTo)
	}
	if j.next < len(j.list) && j.list[j.next].Index <= e.Index && j.next >= j.ahead {
		j.add(Ahead, "a bookmark at %d promises more than was told: %s was not", e.Index, j.list[j.next])
		j.ahead = above(j.list, e.Index)
	}
	j.upTo = max(j.upTo, e.Index)
}

// age holds an age against what is missing. What is left of the entry that is being told is not.
func (j *judge) age(e *Event) {
	if !e.AgeKnown {
		return
	}
	k := j.oldest[max(j.next, above(j.list, e.Index))]
	if k < 0 {
		return
	}
	asOf := e.Asked
	if j.stream.Exact {
		asOf = e.Came
	}
	if age := asOf - j.list[k].known; age > e.Age {
		j.add(TooYoung, "says at index %d %s that what it has told is %v old at most; %s, which is missing, was acknowledged %v before", e.Index, e.Key, e.Age, j.list[k], age)
	}
}

// end takes the end of the stream.
func (j *judge) end() {
	for _, at := range j.missed {
		if !j.told[at] {
			j.lost(at)
		}
	}
	if must := j.stream.Must; must > 0 {
		switch {
		case j.listing || !j.begun:
			j.add(Silent, "has begun nowhere at the end, index %d should have been told", must)
		case j.next < len(j.list) && j.list[j.next].Index <= must:
			j.add(Dropped, "%s was not told by the end, which was at %d", j.list[j.next], must)
		}
	}
	if quiet := j.stream.Quiet; quiet > 0 && j.stream.Ended-j.stream.Waiting > quiet {
		j.add(Silent, "said nothing for %v, %v is the bound, after index %d", j.stream.Ended-j.stream.Waiting, quiet, j.upTo)
	}
}

// lost says that a change was passed over, alone or as a part of an entry.
func (j *judge) lost(at int) {
	index := j.list[at].Index
	for i := above(j.list, index-1); i < len(j.list) && j.list[i].Index == index; i++ {
		if j.told[i] {
			j.add(Torn, "%s was not told, and %s, of the same entry, was", j.list[at], j.list[i])
			return
		}
	}
	j.add(Dropped, "%s was not told, and what follows it was", j.list[at])
}

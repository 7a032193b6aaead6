package told

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// history is a map to which a few entries were written, one each second from 10 s on, one of
// them three keys at once.
func history() *Truth {
	put := func(index uint64, key, value string) Change {
		return Change{Index: index, Key: key, Kind: protocol.ChangePut, Value: value}
	}
	t := &Truth{}
	t.Entry(13*time.Second, put(17, "a", "3")) // in no order
	t.Entry(10*time.Second, put(10, "a", "1"))
	t.Entry(11*time.Second, put(12, "a", "2"), put(12, "b", "1"), put(12, "c", "1"))
	t.Entry(12*time.Second, Change{Index: 15, Key: "b", Kind: protocol.ChangeDelete})
	t.Entry(14*time.Second, put(20, "d", "1"))
	return t
}

// right is all of it as a watch tells it.
func right() []Event {
	list := []Event{
		{Kind: Bookmark, Index: 5, Last: true},
		{Kind: Put, Index: 10, Key: "a", Value: "1", Last: true},
		{Kind: Put, Index: 12, Key: "a", Value: "2"},
		{Kind: Put, Index: 12, Key: "b", Value: "1"},
		{Kind: Put, Index: 12, Key: "c", Value: "1", Last: true},
		{Kind: Delete, Index: 15, Key: "b", Last: true},
		{Kind: Bookmark, Index: 16, Last: true},
		{Kind: Moved, Index: 16, Where: "p1"},
		{Kind: Put, Index: 17, Key: "a", Value: "3", Last: true},
		{Kind: Put, Index: 20, Key: "d", Value: "1", Last: true},
		{Kind: Bookmark, Index: 25, Last: true},
	}
	for i := range list {
		list[i].Came = time.Duration(10+i) * time.Second
		list[i].Asked = list[i].Came - time.Second
		list[i].Age, list[i].AgeKnown = 5*time.Second, true
	}
	return list
}

// copyOf is a copy of the map: two pages, read at 12 and 16, with what was written between them.
func copyOf() []Event {
	return []Event{
		{Kind: Reset},
		{Kind: Put, Index: 12, Key: "a", Value: "2"},
		{Kind: Put, Index: 12, Key: "b", Value: "1"},
		{Kind: Put, Index: 12, Key: "c", Value: "1"},
		{Kind: Delete, Index: 15, Key: "b"},
		{Kind: Listed, Index: 16},
		{Kind: Put, Index: 17, Key: "a", Value: "3", Last: true},
		{Kind: Put, Index: 20, Key: "d", Value: "1", Last: true},
		{Kind: Bookmark, Index: 20, Last: true},
	}
}

func watch() *Stream {
	return &Stream{Name: "w1", After: 5, Exact: true, Quiet: 2 * time.Second, Must: 20, Events: right()}
}

func TestARightHistoryPasses(t *testing.T) {
	all := watch()
	now := watch()
	now.After, now.Seen = 0, 5
	some := &Stream{Name: "w2", Prefix: "b", After: 10, Events: []Event{
		{Kind: Put, Index: 12, Key: "b", Value: "1", Last: true}, {Kind: Delete, Index: 15, Key: "b", Last: true}, {Kind: Bookmark, Index: 20, Last: true},
	}}
	torn := watch() // the loop ended in the middle of an entry, and another one goes on
	torn.Events, torn.Must = torn.Events[:4], 0
	on := watch()
	on.Resumes, on.After, on.Events = torn, torn.Resume(), on.Events[2:]
	copied := &Stream{Name: "f1", Copy: true, Must: 20, Events: copyOf()}
	again := &Stream{Name: "f2", Copy: true, Must: 20, Events: slices.Concat(copyOf()[:7], copyOf())}
	for _, s := range []*Stream{all, before(), now, some, torn, on, copied, again} {
		for _, f := range Judge(history(), s) {
			t.Errorf("%v", f)
		}
	}
	if got, want := torn.Resume(), uint64(11); got != want {
		t.Errorf("got %d to go on behind, want %d: the entry was not told to its end", got, want)
	}
}

// before is all of it as a watch tells it that has asked for previous values.
func before() *Stream {
	s := watch()
	none, was := Previous{Kind: protocol.PreviousNone}, func(v string) Previous { return Previous{protocol.PreviousValue, v} }
	for i, p := range map[int]Previous{1: none, 2: was("1"), 3: none, 4: none, 5: was("1"), 8: was("2"), 9: none} {
		s.Events[i].Previous = p
	}
	s.Previous = true
	return s
}

// planted are histories with something wrong, with the fault and what its sentence must name.
var planted = []struct {
	name  string
	spoil func(*Stream)
	fault Fault
	names []string
}{
	{"a change is missing", drop(5), Dropped, []string{"w1", "15", "b"}},
	{"the last change is missing", drop(9), Ahead, []string{"w1", "25", "20", "d"}},
	{"all is missing from somewhere on", func(s *Stream) { s.Events = s.Events[:6] }, Dropped, []string{"w1", "17", "a"}},
	{"a change comes twice", func(s *Stream) { s.Events = slices.Insert(s.Events, 6, s.Events[5]) }, Doubled, []string{"w1", "15", "b"}},
	{"a change from before the beginning", func(s *Stream) { s.After = 10; s.Events[0].Index = 10 }, Doubled, []string{"w1", "10", "a"}},
	{"now is before what was seen", func(s *Stream) { s.After, s.Seen = 0, 7 }, Doubled, []string{"w1", "5", "7"}},
	{"two entries change places", func(s *Stream) { s.Events[1], s.Events[5] = s.Events[5], s.Events[1] }, Swapped, []string{"w1", "10", "a"}},
	{"two changes of an entry change places", func(s *Stream) { s.Events[2], s.Events[3] = s.Events[3], s.Events[2] }, Swapped, []string{"w1", "12", "a"}},
	{"a bookmark goes back", func(s *Stream) { s.Events[6].Index = 13 }, Swapped, []string{"w1", "13", "15"}},
	{"another value", func(s *Stream) { s.Events[3].Value = "2" }, Changed, []string{"w1", "12", "b=2", "b=1"}},
	{"another kind", func(s *Stream) { s.Events[5].Kind = Put }, Changed, []string{"w1", "15", "b"}},
	{"another index", func(s *Stream) { s.Events[8].Index = 18 }, Changed, []string{"w1", "18", "17", "a"}},
	{"a change that nobody made", func(s *Stream) {
		s.Events = slices.Insert(s.Events, 1, Event{Kind: Put, Index: 8, Key: "e", Value: "1", Last: true})
	}, Invented, []string{"w1", "8", "e"}},
	{"a key that was not asked for", func(s *Stream) { s.Prefix, s.Must = "a", 0 }, Invented, []string{"w1", "12", "b"}},
	{"a part of an entry is missing", drop(3), Torn, []string{"w1", "12", "b"}},
	{"the end of an entry is missing", drop(4), Torn, []string{"w1", "12", "c"}},
	{"an entry ends early", func(s *Stream) { s.Events[2].Last = true }, Torn, []string{"w1", "12", "a", "b"}},
	{"an entry does not end", func(s *Stream) { s.Events[4].Last = false }, Torn, []string{"w1", "12", "c"}},
	{"a bookmark is ahead", func(s *Stream) { s.Events[6].Index = 18 }, Ahead, []string{"w1", "18", "17", "a"}},
	{"a bookmark in the middle of an entry", func(s *Stream) {
		s.Events = slices.Insert(s.Events, 4, Event{Kind: Bookmark, Index: 12, Last: true, Came: s.Events[3].Came, Asked: s.Events[3].Asked})
	}, Ahead, []string{"w1", "12", "c"}},
	{"the client goes on behind what was not told", func(s *Stream) { s.Events[7].Index = 17 }, Skipped, []string{"w1", "17", "a", "p1"}},
	{"the program goes on behind what was not told", func(s *Stream) {
		before := watch()
		before.Events = before.Events[:4] // in the middle of 12
		s.Resumes, s.After, s.Events = before, 12, s.Events[5:]
	}, Skipped, []string{"w1", "12", "a"}},
	{"an age is too low", func(s *Stream) { s.Events[7].Age, s.Events[6].Age = 0, time.Second }, TooYoung, []string{"w1", "16", "17", "a"}},
	{"an age is too low while nothing is told", func(s *Stream) {
		s.Events, s.Must = s.Events[:1], 0
		s.Events[0].Came, s.Events[0].Age = 14*time.Second, 3*time.Second
		s.Quiet = 0
	}, TooYoung, []string{"w1", "5", "10", "a"}},
	{"silence", func(s *Stream) { s.Events[8].Asked -= 2 * time.Second }, Silent, []string{"w1", "17", "a"}},
	{"silence at the end", func(s *Stream) { s.Waiting, s.Ended = 20*time.Second, 23*time.Second }, Silent, []string{"w1", "25"}},
	{"nothing at all", func(s *Stream) { s.Events, s.After = nil, 0 }, Silent, []string{"w1", "20"}},
	{"a listing lacks a key", copied(1), Listing, []string{"f1", "16", "a"}},
	{"a listing has a key that was deleted", copied(4), Listing, []string{"f1", "16", "b"}},
	{"a listing is of another index", func(s *Stream) { copied()(s); s.Events[5].Index = 18 }, Listing, []string{"f1", "18", "a"}},
	{"a listing has what nobody wrote", func(s *Stream) { copied()(s); s.Events[3].Value = "7" }, Changed, []string{"f1", "12", "c"}},
	{"a copy lacks a change", copied(6), Dropped, []string{"f1", "17", "a"}},
	{"a copy is told again what its listing has", func(s *Stream) {
		copied()(s)
		s.Events = slices.Insert(s.Events, 6, Event{Kind: Delete, Index: 15, Key: "b", Last: true})
	}, Doubled, []string{"f1", "15", "b"}},
	{"a copy never is complete", copied(5), Silent, []string{"f1", "20"}},
	{"another previous value", asked(2, Previous{protocol.PreviousValue, "0"}), WrongPrevious, []string{"w1", "12", "a=2", `"0"`, `"1"`}},
	{"the value before the previous one", asked(8, Previous{protocol.PreviousValue, "1"}), WrongPrevious, []string{"w1", "17", "a=3", `"1"`, `"2"`}},
	{"a previous value of a new key", asked(3, Previous{protocol.PreviousValue, "1"}), WrongPrevious, []string{"w1", "12", "b=1", "no such key"}},
	{"none, where there was one", asked(5, Previous{Kind: protocol.PreviousNone}), WrongPrevious, []string{"w1", "15", "delete b", "no such key", `"1"`}},
	{"a previous value that is known is said not to be", asked(8, Previous{}), WrongPrevious, []string{"w1", "17", "a=3", "not known", `"2"`}},
	{"a previous value that nobody has asked for", func(s *Stream) { s.Events[2].Previous = before().Events[2].Previous }, WrongPrevious, []string{"w1", "12", "a=2"}},
}

// asked is a stream that has asked for previous values, and is told another one.
func asked(at int, p Previous) func(*Stream) {
	return func(s *Stream) {
		*s = *before()
		s.Events[at].Previous = p
	}
}

func drop(at int) func(*Stream) {
	return func(s *Stream) { s.Events = slices.Delete(s.Events, at, at+1) }
}

// copied makes the stream a copy without some of its events.
func copied(without ...int) func(*Stream) {
	return func(s *Stream) {
		*s = Stream{Name: "f1", Copy: true, Must: 20, Events: copyOf()}
		for _, at := range without {
			drop(at)(s)
		}
	}
}

func TestWhatIsPlantedIsFound(t *testing.T) {
	faults := map[Fault]bool{}
	for _, c := range planted {
		t.Run(c.name, func(t *testing.T) {
			s := watch()
			c.spoil(s)
			found := Judge(history(), s)
			faults[c.fault] = true
			for _, f := range found {
				if f.Fault != c.fault {
					continue
				}
				named := true
				for _, name := range c.names {
					named = named && strings.Contains(f.Text, name)
				}
				if named {
					return
				}
			}
			t.Errorf("got %v, want %s and a sentence with %q", found, c.fault, c.names)
		})
	}
	for _, f := range []Fault{Dropped, Doubled, Swapped, Changed, Invented, Torn, Ahead, Skipped, Listing, WrongPrevious, TooYoung, Silent} {
		if !faults[f] {
			t.Errorf("nothing is planted that is %s", f)
		}
	}
}

package active

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// The core explored: every order in which messages, timeouts, proposals, disks,
// crashes and restarts can happen to three members, within bounds. In each
// state the five invariants of the paper's figure 3 hold. It is the real core;
// what is left out is said here:
//   - Time stands still. A member campaigns whenever it is not leading, as after
//     a TimeoutNow, and a leader steps down whenever it likes: more than clocks
//     could do, and no pre-vote is needed for it. So no rule can lean on a clock.
//   - A message that is lost is one that is never delivered. One that can change
//     nothing any more is taken off the wire.
//   - Rounds are not answered: they serve reads, of which there are none.
//   - Two states that differ by the members' names only are one.

// bounds limit what is explored. The space within them is finite.
type bounds struct {
	name        string
	logs        [3][]int // the terms of what each log begins with
	term        int      // that all are in at the start
	terms       int      // the highest term
	proposals   int
	crashes     int
	duplicates  int
	compactions int
	waits       int // for room, by all disks
	wire        int // messages under way at most; of more, any are lost
}

// within are the spaces of the small run.
func within() []bounds {
	return []bounds{
		{name: "one term", terms: 1, proposals: 1, wire: 2},
		{name: "one crash", terms: 1, crashes: 1, wire: 1},
		{name: "two terms", terms: 2, proposals: 1, wire: 1},
		{name: "a checkpoint in place of another log", logs: [3][]int{{1, 1}, {1, 1}, {1, 2}}, term: 2, terms: 4, compactions: 1, wire: 1},
		{name: "two compactions", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 3, compactions: 2, wire: 1},
		{name: "compaction and a crash", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 2, compactions: 1, crashes: 1, wire: 1},
		{name: "compaction and late messages", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 2, compactions: 1, wire: 2},
		{name: "an election without room", terms: 1, waits: 2, crashes: 1, wire: 1},
		{name: "two disks without room", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 2, waits: 2, wire: 1},
		{name: "a crash without room", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 2, waits: 1, crashes: 1, wire: 1},
		{name: "figure 8", logs: [3][]int{{1}, {2}, {}}, term: 2, terms: 4, wire: 1},
	}
}

// wide are the spaces of the large run, each seen to its share of the limit. Of one whose
// end is not reached the walk sees the depths first: disks that wait have a space where
// they lie on the way.
func wide() []bounds {
	return []bounds{
		{name: "two terms, two entries", terms: 2, proposals: 2, crashes: 2, duplicates: 1, wire: 6},
		{name: "two terms without room", logs: [3][]int{{1}, {1}, {}}, term: 1, terms: 3, proposals: 1, waits: 2, crashes: 1, wire: 2},
	}
}

// TestExploreAllInterleavings walks the small spaces to their ends.
// STARLING_EXPLORE=10000000 walks the wide ones until it has seen as many states,
// or all of them.
func TestExploreAllInterleavings(t *testing.T) {
	if text := os.Getenv("STARLING_EXPLORE"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("STARLING_EXPLORE is a number of states, not %q", text)
		}
		for _, b := range wide() {
			explored(t, b, limit/len(wide()))
		}
		return
	}
	for _, b := range within() {
		if !explored(t, b, 600_000) && !t.Failed() {
			t.Errorf("%s: the space is not closed", b.name)
		}
	}
}

// explored walks one space and reports whether it was closed.
func explored(t *testing.T, b bounds, limit int) (closed bool) {
	began := time.Now()
	e := &explorer{bounds: b, limit: limit, seen: newFingerprints()}
	closed = e.run()
	if e.violation != "" {
		t.Errorf("%s: %s", b.name, e.violation)
	}
	t.Logf("%s: %d distinct states, %d steps, closed: %t, leaders in %d of them, commits in %d, a head dropped in %d, %d installs, %d votes ahead, %d states with a leader whose disk waits, depth %d, %v",
		b.name, e.seen.len(), e.steps, closed, e.withLeader, e.withCommit, e.withBegin, e.installs, e.ahead, e.ledWaiting, e.deepest, time.Since(began).Round(time.Millisecond))
	if e.violation == "" && (e.withLeader == 0 || e.withCommit == 0) {
		t.Errorf("%s: no state has a leader and a commit: nothing was proved", b.name)
	}
	if b.compactions > 0 && e.violation == "" && e.installs == 0 {
		t.Errorf("%s: no checkpoint was installed: nothing was proved of them", b.name)
	}
	if b.waits > 0 && e.violation == "" && (e.ahead == 0 || e.ledWaiting == 0) {
		t.Errorf("%s: no vote went ahead of what waits, or none elected a leader: nothing was proved of them", b.name)
	}
	return closed
}

// explorer walks depth first, which keeps only the way to the present state and
// what branches off it.
type explorer struct {
	bounds
	limit      int
	seen       *fingerprints
	steps      int
	withLeader int
	withCommit int
	withBegin  int // states in which a log begins above index 1
	installs   int // steps to a new state
	ahead      int // the same, with a vote that is durable ahead of what waits
	ledWaiting int // states in which a leader's disk waits
	deepest    int
	violation  string
}

func (e *explorer) run() (closed bool) {
	first := newWorld(&e.bounds)
	e.seen.add(first.fingerprint())
	stack := []*world{first}
	for len(stack) > 0 && e.violation == "" {
		if e.seen.len() >= e.limit {
			return false
		}
		w := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		w.each(&e.bounds, func(a action) {
			if e.violation != "" {
				return
			}
			e.steps++
			next := e.step(w, a)
			if e.violation != "" || !e.seen.add(next.fingerprint()) {
				return
			}
			e.count(next)
			stack = append(stack, next)
		})
	}
	return e.violation == ""
}

func (e *explorer) count(w *world) {
	e.deepest = max(e.deepest, w.depth)
	if w.by.kind == actInstall {
		e.installs++
	}
	if w.by.kind == actAhead {
		e.ahead++
	}
	if slices.ContainsFunc(w.nodes[:], func(n *host) bool { return n.m.state == StateLeader && n.m.disk.waits }) {
		e.ledWaiting++
	}
	if len(w.done) > 0 {
		e.withCommit++
	}
	if slices.ContainsFunc(w.nodes[:], func(n *host) bool { return n.durable.begin > 0 }) {
		e.withBegin++
	}
	for _, n := range w.nodes {
		if n.m.state == StateLeader {
			e.withLeader++
			return
		}
	}
}

// step makes one action, and tells the way to it if an invariant breaks.
func (e *explorer) step(w *world, a action) (next *world) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case invariant.Violation:
			e.violation = fmt.Sprintf("%v\n%s", v, w.way(a))
		default:
			panic(v)
		}
	}()
	return w.after(&e.bounds, a)
}

// fingerprints is a set of 64-bit numbers in one array: eight bytes and a half
// of air for each.
type fingerprints struct {
	slots []uint64 // 0: free
	n     int
}

func newFingerprints() *fingerprints { return &fingerprints{slots: make([]uint64, 1<<12)} }

func (f *fingerprints) len() int { return f.n }

// add reports whether v is new.
func (f *fingerprints) add(v uint64) bool {
	v |= 1
	if 4*f.n >= 3*len(f.slots) {
		old := f.slots
		f.slots, f.n = make([]uint64, 2*len(old)), 0
		for _, v := range old {
			if v != 0 {
				f.add(v)
			}
		}
	}
	mask := uint64(len(f.slots) - 1)
	for i := (v >> 7) & mask; ; i = (i + 1) & mask {
		switch f.slots[i] {
		case v:
			return false
		case 0:
			f.slots[i] = v
			f.n++
			return true
		}
	}
}

// TestExplorerKnowsEveryField fails when the core has a field that the explorer
// neither copies deeply nor puts into the fingerprint: states that differ would
// be taken for one, or would share memory. Teach explore_state_test.go, then
// this list.
func TestExplorerKnowsEveryField(t *testing.T) {
	for _, c := range []struct {
		of    any
		known string
	}{
		{Member{}, "cfg log rng now WallAhead state hard leader logTerms configs lastTime current quorum voter named heardNamed asked deposed deposedAt unheeded toldAt installing unfit unreadable stopped committedElsewhere listening led electionAt ballots lead disk ready handed due values"},
		{leadership{}, "noop time progress heartbeatAt round rounds reads leased leaseFrom transfer handedOver passAt batches bytes"},
		{progress{}, "id suffrage voter state passive match next run putBack owed sentCommit probing probeAt flying heard answered pulsed round unfit room told takes"},
		{listening{}, "heard streamed pulse rounds tokens"}, // without a secret there are no tokens, and no pulses
		{disk{}, "lastID written cut stable durable taking flight waits ahead held pace"},
		{flight{}, "id state last since waited held"},
		{ahead{}, "id term vote since"},
		{held{}, "to term msg"},
	} {
		known := strings.Fields(c.known)
		typ := reflect.TypeOf(c.of)
		for i := range typ.NumField() {
			if name := typ.Field(i).Name; !slices.Contains(known, name) {
				t.Errorf("the explorer does not know %s.%s", typ.Name(), name)
			}
		}
	}
}

// TestExplorerCopies fails if a step changes the state that it started from.
func TestExplorerCopies(t *testing.T) {
	b := bounds{terms: 2, proposals: 1, crashes: 1, waits: 2, wire: 4}
	w := newWorld(&b)
	for range 200 {
		var all []action
		w.each(&b, func(a action) { all = append(all, a) })
		if len(all) == 0 {
			break
		}
		before := w.rehashed()
		var next *world
		for i, a := range all {
			n := w.after(&b, a)
			if next == nil || i == int(before%uint64(len(all))) {
				next = n
			}
			if got := w.rehashed(); got != before {
				t.Fatalf("%s changes the state before it", a)
			}
		}
		w = next
	}
	if w.depth < 10 {
		t.Errorf("got a walk of %d steps, want at least 10", w.depth)
	}
}

// TestExplorerSeesThroughNames checks that a state and the same with other names
// have one fingerprint, and that others do not.
func TestExplorerSeesThroughNames(t *testing.T) {
	b := bounds{terms: 2, wire: 6}
	w := newWorld(&b)
	a, c := w.after(&b, action{kind: actCampaign, node: 0}), w.after(&b, action{kind: actCampaign, node: 2})
	if a.fingerprint() != c.fingerprint() {
		t.Error("two members campaign: two fingerprints, want one")
	}
	if p := a.after(&b, action{kind: actPersist, node: 0}); p.fingerprint() == a.fingerprint() {
		t.Error("a vote that is durable has the fingerprint of one that is not")
	}
}

// A way to a violation is told as the actions from the start.
func (w *world) way(last action) string {
	var lines []string
	for at := w; at.before != nil; at = at.before {
		lines = append(lines, at.by.String())
	}
	slices.Reverse(lines)
	return strings.Join(append(lines, last.String()), "\n")
}

type actionKind uint8

const (
	actCampaign actionKind = iota
	actStepDown
	actPropose
	actPersist
	actCrash     // what is in flight to the disk is lost
	actCrashLate // what is in flight has reached the disk, unanswered
	actDeliver
	actDuplicate // delivered, and still under way
	actLose
	actCompact    // drop the log's head, up to the commit index
	actFetch      // take up the offer of a checkpoint
	actInstall    // have it in place
	actWait       // what the disk was given has no room
	actRoom       // there is room
	actAhead      // the vote ahead of what waits is durable
	actCrashVoted // the vote ahead has reached the disk, unanswered
)

type action struct {
	kind    actionKind
	node    int
	message *letter
}

func (a action) String() string {
	name := string(rune('a' + a.node))
	switch a.kind {
	case actCampaign:
		return name + " campaigns"
	case actStepDown:
		return name + " steps down"
	case actPropose:
		return name + " proposes"
	case actPersist:
		return name + "'s disk answers"
	case actCrash:
		return name + " crashes and restarts"
	case actCrashLate:
		return name + " crashes and restarts, its write is on disk"
	case actCompact:
		return name + " drops its log up to the commit index"
	case actFetch:
		return name + " fetches the checkpoint that it is offered"
	case actInstall:
		return name + " installs it"
	case actWait:
		return name + "'s disk has no room"
	case actRoom:
		return name + "'s disk has room"
	case actAhead:
		return name + "'s vote goes ahead"
	case actCrashVoted:
		return name + " crashes and restarts, its vote is on disk"
	}
	text := fmt.Sprintf("%s->%s %s", nameOf(a.message.From), name, describe(a.message.Message))
	switch a.kind {
	case actDuplicate:
		text += " (a copy)"
	case actLose:
		text += " is lost"
	}
	return text
}

// each calls visit for all that can happen next.
func (w *world) each(b *bounds, visit func(action)) {
	if len(w.wire) > b.wire {
		for _, l := range w.wire {
			visit(action{kind: actLose, node: indexOf(l.To), message: l})
		}
		return
	}
	for i, n := range w.nodes {
		m := n.m
		if m.state != StateLeader && int(m.hard.Term) < b.terms && m.mayCampaign() {
			visit(action{kind: actCampaign, node: i})
		}
		if m.state == StateLeader {
			if w.proposals < b.proposals {
				visit(action{kind: actPropose, node: i})
			}
			if int(m.hard.Term) < b.terms {
				visit(action{kind: actStepDown, node: i})
			}
		}
		w.eachOfDisk(b, i, visit)
		if w.compactions < b.compactions && n.compactable() > n.durable.begin {
			visit(action{kind: actCompact, node: i})
		}
		if n.offered > 0 {
			visit(action{kind: actFetch, node: i})
		}
		if n.installing > 0 && n.write == nil {
			visit(action{kind: actInstall, node: i})
		}
	}
	for _, l := range w.wire {
		to := indexOf(l.To)
		visit(action{kind: actDeliver, node: to, message: l})
		if w.duplicates < b.duplicates {
			visit(action{kind: actDuplicate, node: to, message: l})
		}
	}
}

// eachOfDisk calls visit for all that a member's disk can do next. A write lands or waits
// whole; its vote, once that is under way, may land before it or after it.
func (w *world) eachOfDisk(b *bounds, i int, visit func(action)) {
	n := w.nodes[i]
	if n.write != nil {
		visit(action{kind: actPersist, node: i})
		if !n.m.disk.waits && w.waits < b.waits {
			visit(action{kind: actWait, node: i})
		}
	}
	if n.m.disk.waits {
		visit(action{kind: actRoom, node: i})
	}
	if n.ahead != nil {
		visit(action{kind: actAhead, node: i})
	}
	if w.crashes >= b.crashes {
		return
	}
	visit(action{kind: actCrash, node: i})
	if n.write != nil {
		visit(action{kind: actCrashLate, node: i})
	}
	if n.ahead != nil {
		visit(action{kind: actCrashVoted, node: i})
	}
}

// indexOf returns a member's number; 3 is nobody.
func indexOf(id protocol.MemberID) int {
	if id.IsZero() {
		return 3
	}
	return int(id[0] - 'a')
}

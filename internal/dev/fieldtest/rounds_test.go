//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

const (
	// roundsVariable says how many rounds each fault has. With it, running clients
	// must go on as soon as measured by withLeader.
	roundsVariable = "STARLING_ROUNDS"
	// timingVariable is the members' --timing; default: theirs, in the long form.
	timingVariable = "STARLING_TIMING"
)

// withLeader is how long the next write of a running client may take, for a new
// leader that committed first after so long.
func withLeader(committed time.Duration) time.Duration {
	return committed*13/10 + 50*time.Millisecond
}

// fault strikes a leader and returns when it did. What heals it returns when
// that began.
type fault struct {
	name   string
	strike func(n *networked, leader *member) time.Time
	heal   func(n *networked, leader *member)
}

var faults = []fault{
	{
		"killed",
		func(_ *networked, leader *member) time.Time {
			defer leader.kill()
			return time.Now()
		},
		func(_ *networked, leader *member) { leader.start() },
	}, {
		"stopped",
		func(_ *networked, leader *member) time.Time {
			defer leader.signal(syscall.SIGSTOP)
			return time.Now()
		},
		func(_ *networked, leader *member) { leader.signal(syscall.SIGCONT) },
	}, {
		"cut off from members and clients",
		func(n *networked, leader *member) time.Time {
			n.part([]*member{leader}, append(n.without(leader), n.bridge))
			return time.Now()
		},
		func(n *networked, leader *member) { n.join([]*member{leader}, append(n.without(leader), n.bridge)) },
	}, {
		"cut off from members",
		func(n *networked, leader *member) time.Time {
			n.part([]*member{leader}, n.without(leader))
			return time.Now()
		},
		func(n *networked, leader *member) { n.join([]*member{leader}, n.without(leader)) },
	},
}

// without returns the members beside some.
func (n *networked) without(some ...*member) []*member {
	var rest []*member
	for _, m := range n.members {
		if !slices.Contains(some, m) {
			rest = append(rest, m)
		}
	}
	return rest
}

// layNine makes five actives and four passives, none of which is started. They have the
// command's times where those are measured.
func layNine(t *testing.T, measured bool) *networked {
	t.Helper()
	n := layNetwork(t, []string{"a1", "a2", "a3", "a4", "a5", "p1", "p2", "p3", "p4"})
	timing := os.Getenv(timingVariable)
	if timing == "" && !measured {
		timing = "fast" // there is less to wait for
	}
	if timing != "" {
		for _, m := range n.members {
			m.extra = []string{"--timing", timing}
		}
	}
	return n
}

// The leader is killed, or stopped, or cut off, while clients at actives and
// passives write and read on. None of them sees anything that one copy of the
// state would not show, and the writes of most go on about when the next leader
// has committed something.
func TestRunningClientsGoOnWithTheNextLeader(t *testing.T) {
	rounds := number(t, roundsVariable)
	if testing.Short() && rounds == 0 {
		t.Skip("-short: nine processes lose their leader four times")
	}
	beside(t, roundsVariable)
	n := layNine(t, rounds > 0)
	n.begin()
	runners := n.runners(0, n.members...)
	for i, f := range faults {
		var all []round
		for k := range max(rounds, 1) {
			r := n.round(f, fmt.Sprintf("leader-%d-%d", i, k), runners)
			if longest := withLeader(r.committed); rounds > 0 && r.median() > longest {
				t.Errorf("round %d, leader %s: the median of the clients' next writes took %v, want %v at most", k, f.name, r.median(), longest)
			}
			all = append(all, r)
		}
		t.Logf("leader %s\n%s", f.name, table(all))
	}
}

// round is what was measured of one fault, from when it struck.
type round struct {
	change             string        // of leaders
	elected, committed time.Duration // of the next leader
	next               []waited      // in the order of their lengths
}

// waited is the first write of a running client that another leader has
// acknowledged.
type waited struct {
	length time.Duration
	who    string
	cause  string // what the client said that it waits for when the leader had committed
}

func (r round) median() time.Duration { return r.next[len(r.next)/2].length }

// round strikes the leader once, waits until all go on, heals and judges.
func (n *networked) round(f fault, name string, runners []*runner) round {
	n.t.Helper()
	h, old, term := n.open(name, runners)
	at := f.strike(n, old)
	next := n.succession(term, n.without(old))
	causes := h.ask(next.committed)
	h.goOn(n, next.committed, 1)
	out := round{change: old.name + " > " + next.who.name, elected: next.elected.Sub(at), committed: next.committed.Sub(at)}
	for i, r := range runners {
		// What another one acknowledged came after that began to lead.
		a, _ := r.next(next.elected)
		role := r.home.role.String()
		if r.home == old {
			role = "the old leader"
		} else if r.home == next.who {
			role = "the new leader"
		}
		cause := causes[i]
		if a.began.After(at) {
			cause += fmt.Sprintf("; it was begun %v after the fault", a.began.Sub(at).Round(time.Millisecond))
		}
		out.next = append(out.next, waited{a.ended.Sub(at), "the client of " + r.home.name + ", " + role, cause})
	}
	slices.SortFunc(out.next, func(a, b waited) int { return int(a.length - b.length) })
	f.heal(n, old)
	n.close(h)
	return out
}

// open begins a history with a cluster that is well, and returns who leads it, in which term.
func (n *networked) open(name string, runners []*runner) (h *history, leader *member, term uint64) {
	n.t.Helper()
	n.settled()
	leader = n.leader(n.members...)
	s, err := n.status(leader)
	if err != nil {
		n.t.Fatal(err)
	}
	h = n.record(name, runners)
	h.goOn(n, h.began, 10)
	return h, leader, s.Term
}

// close has all go on when nothing is wrong any more, and judges the history.
func (n *networked) close(h *history) {
	n.t.Helper()
	h.goOn(n, time.Now(), 10)
	h.end()
	n.hear(len(n.members)-1, n.members)
	n.settled()
	h.check(n)
}

// ask has each runner that has had nothing acknowledged since an instant say
// what it waits for, which is in the error of a write that ends too early. That
// write adds nothing, and is shorter than the time after which a client asks
// around.
func (h *history) ask(since time.Time) []string {
	causes := make([]string, len(h.runners))
	var all sync.WaitGroup
	for i, r := range h.runners {
		if _, ok := r.next(since); ok {
			causes[i] = "nothing: it had gone on by then"
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			causes[i] = "nothing: it went on within 50 ms"
			if _, err := starling.NewCounter(r.client, h.name).Add(ctx, 0); err != nil {
				causes[i] = err.Error()
			}
		})
	}
	all.Wait()
	return causes
}

// succession is how the next leader came.
type succession struct {
	who                *member
	elected, committed time.Time
}

// becameLeader is the line in a member's log.
var becameLeader = regexp.MustCompile(`time=(\S+) level=INFO msg=became-leader (?:member=\S+ )?term=(\d+) index=(\d+)`)

// led returns when a member began to lead after a term, by its log, in which
// term, and the last index before what it appended as the leader.
func (m *member) led(after uint64) (at time.Time, term, index uint64, err error) {
	err = errors.New(m.name + " has not said that it leads")
	for _, line := range becameLeader.FindAllStringSubmatch(m.log.String(), -1) {
		t, _ := strconv.ParseUint(line[2], 10, 64) // digits
		if t <= after {
			continue
		}
		term = t
		if index, err = strconv.ParseUint(line[3], 10, 64); err == nil {
			at, err = time.Parse(time.RFC3339, line[1])
		}
	}
	return at, term, index, err
}

// succession waits until one of some members has committed as the leader of a
// term after one. Its log says when it began to lead, its status, which is asked
// for again and again, that it has committed.
func (n *networked) succession(after uint64, among []*member) succession {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found := make(chan succession, len(among))
	var all sync.WaitGroup
	for _, m := range among {
		if m.name[0] != 'a' {
			continue
		}
		all.Go(func() {
			for wait(ctx, 2*time.Millisecond) {
				s, err := n.status(m)
				if err != nil || s.RaftRole != "leader" || s.Term <= after {
					continue
				}
				seen := time.Now()
				elected, term, index, err := m.led(after)
				if err == nil && term == s.Term && s.Commit > starling.Index(index) {
					found <- succession{m, elected, seen}
					cancel()
				}
			}
		})
	}
	all.Wait()
	select {
	case s := <-found:
		return s
	default:
		n.t.Fatalf("nobody has led and committed after %v", patience)
		return succession{}
	}
}

// table prints rounds, and what they have in common.
func table(rounds []round) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5s  %7s %8s %9s %8s %6s  %s\n", "round", "leaders", "elected", "committed", "median", "ratio", "next writes of the clients (ms)")
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	var committed, medians []time.Duration
	var ratios []float64
	longest, which := waited{}, 0
	for k, r := range rounds {
		var each []string
		for _, w := range r.next {
			each = append(each, ms(w.length))
		}
		ratio := float64(r.median()) / float64(r.committed)
		fmt.Fprintf(&b, "%5d  %7s %8s %9s %8s %6.2f  %s\n", k, r.change, ms(r.elected), ms(r.committed), ms(r.median()), ratio, strings.Join(each, " "))
		committed, medians, ratios = append(committed, r.committed), append(medians, r.median()), append(ratios, ratio)
		if last := r.next[len(r.next)-1]; last.length > longest.length {
			longest, which = last, k
		}
	}
	slices.Sort(committed)
	slices.Sort(medians)
	slices.Sort(ratios)
	middle := len(rounds) / 2
	fmt.Fprintf(&b, "the medians of the rounds: the leader's first commit %s ms, the clients' next write %s ms, ratio %.2f\n",
		ms(committed[middle]), ms(medians[middle]), ratios[middle])
	fmt.Fprintf(&b, "the longest: %s ms, in round %d, %s; it waited for: %s", ms(longest.length), which, longest.who, longest.cause)
	return b.String()
}

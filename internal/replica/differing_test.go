package replica

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// madeOf is what another member answers a question for what its state is made of.
func (p *patient) madeOf(of protocol.MemberID, q *protocol.PartsQuestion) *protocol.PartsAnswer {
	other := differences{}
	for by, t := range p.tallies {
		if id(by) == of {
			other.tallies = []*Tally{t}
		}
	}
	return other.answer(q)
}

// made is a state with a digest at an index, and n resources of which some are others.
func made(i protocol.Index, digest byte, n int, others ...string) *Tally {
	var list []protocol.ResourceDigest
	for k := range n {
		name := fmt.Sprintf("r%06d", k)
		what := name
		if len(others) == n || slices.Contains(others, name) {
			what += fmt.Sprint(digest)
		}
		sum := sha256.Sum256([]byte(what))
		list = append(list, protocol.ResourceDigest{Name: name, Type: "map", Digest: [16]byte(sum[:])})
	}
	return NewTally(i, [16]byte{digest}, list)
}

// counts tells a patient what its own state is made of.
func (p *patient) counts(t *Tally) {
	p.t.Helper()
	Counted(p.r, p.now, t)
	p.serve()
}

// wait lets the time pass that a passive leaves to the actives.
func (p *patient) wait() {
	p.t.Helper()
	p.now = p.now.Add(digestPause)
	p.r.Tick(p.now)
	p.serve()
}

func (p *patient) refuses(what string, resources ...string) {
	p.t.Helper()
	for _, name := range []string{"r000001", "r000002", "r000003", ""} {
		err := SituationOf(p.r).Differs.Refuses(name)
		if want := slices.Contains(resources, name); want != errors.Is(err, protocol.ErrDisputed) || want != (err != nil) {
			p.t.Errorf("%s: %q is refused with %v, want %t", what, name, err, want)
		}
	}
}

// Counterexample: three actives, three states. Each member answered what it had, for ever.
func TestReadsOfWhatDiffersAreRefusedUntilAMajorityAgrees(t *testing.T) {
	for _, self := range []byte{1, 9} { // an active, a passive
		p := patientOf(t, self, marked([]byte{1, 2, 3}, 2, 2), always(1))
		p.tallies = map[byte]*Tally{2: made(10, 2, 5, "r000002"), 3: made(10, 3, 5, "r000003")}
		p.says(2, 10, 2)
		p.refuses("not counted yet")
		p.counts(made(10, 1, 5))
		p.refuses("one differs, one is silent", "r000002")
		p.says(3, 10, 3)
		if self == 9 {
			p.wait()
		}
		p.refuses("two differ, each in its own way", "r000002", "r000003")
		p.says(1, 10, 1)
		s := p.r.Status(p.now)
		for _, want := range []string{"nobody acts", `map "r000002"`, `map "r000003"`} {
			if !strings.Contains(s.Disputed, want) {
				t.Errorf("it says nothing of %s: %s", want, s.Disputed)
			}
		}
		p.wants("no majority", false)
		p.says(3, 10, 1) // one of them was healed
		if self == 9 {
			p.says(1, 10, 1)
		}
		p.refuses("a majority agrees with it")
		if s := p.r.Status(p.now); s.Disputed != "" || s.Differs != nil {
			t.Errorf("it still says %q", s.Disputed)
		}
	}
}

// Counterexample: a leader whose memory was damaged knows for fifty milliseconds that one of the others differs, and not
// that both do. Writes failed meanwhile, and nobody retried: there was said to be no majority.
func TestWhatDiffersIsAskedForBeforeItIsInDispute(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{2: made(10, 2, 5, "r000002"), 3: made(10, 3, 5, "r000002")}
	code := func() protocol.Code {
		code, _ := protocol.CodeOf(SituationOf(p.r).Differs.Refuses("r000002"))
		return code
	}
	p.counts(made(10, 1, 5))
	p.says(2, 10, 2)
	if got := code(); got != protocol.ErrUnavailable.Code || got.Meaning().Retry == 0 {
		t.Errorf("the other one was not heard: got %q, want one that is retried", got)
	}
	p.says(3, 10, 3)
	if got := code(); got != protocol.ErrDisputed.Code {
		t.Errorf("no majority agrees: got %q", got)
	}
	p.says(3, 10, 1)
	if got := code(); got != protocol.OK {
		t.Errorf("a majority agrees: got %q", got)
	}
}

// That a member is as the leader was, at a later checkpoint entry, ends nothing: the others may differ still.
func TestALeaderThatAgreesEndsNoDispute(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 7, 1), always(1)) // as the leader was at 10, not at 5
	p.tallies = map[byte]*Tally{2: made(5, 2, 5, "r000002"), 3: made(5, 3, 5, "r000003")}
	p.counts(made(5, 1, 5))
	p.asks(2, 5, 2)
	p.asks(3, 5, 3)
	p.refuses("all differ", "r000002", "r000003")
	p.r.audit.compare(p.now, 2, 10, [16]byte{1})
	p.r.pump(p.now)
	p.serve()
	p.refuses("the leader agrees", "r000002", "r000003")
	p.says(2, 10, 1)
	p.refuses("a majority agrees")
}

// A majority that convicts a member hears from it what is wrong, and so does the convicted one.
func TestTheConvictedSaysWhatDiffers(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 7, 7), always(1))
	p.tallies = map[byte]*Tally{2: made(10, 7, 5, "r000002"), 3: made(10, 7, 5, "r000002")}
	p.counts(made(10, 1, 5))
	p.says(2, 10, 7)
	p.says(3, 10, 7)
	p.wants("a majority differs", true)
	if s := p.r.Status(p.now); !strings.HasSuffix(s.Quarantine, `what differed: map "r000002"`) || s.Differs != nil {
		t.Errorf("it says %q and refuses %v", s.Quarantine, s.Differs)
	}
	if !strings.Contains(p.events, `differs from that of this active in map "r000002"`) {
		t.Errorf("it does not say what differs:\n%s", p.events)
	}
	q := &protocol.PartsQuestion{Index: 10, Digest: [16]byte{1}, Sums: true}
	p.r.audit.differences.onQuestion(p.now, id(2), q)
	if sent := p.r.out.Send; len(sent) == 0 || !sent[len(sent)-1].Message.(*protocol.PartsAnswer).Known {
		t.Error("in quarantine it does not say what its state was made of")
	}
	q.Digest = [16]byte{9}
	p.r.audit.differences.onQuestion(p.now, id(2), q)
	if sent := p.r.out.Send; sent[len(sent)-1].Message.(*protocol.PartsAnswer).Known {
		t.Error("it answers for another state than the one in question")
	}
}

// 100,000 resources are narrowed down in a few messages of bounded size.
func TestWhatDiffersIsFoundAmongManyResources(t *testing.T) {
	const n = 100_000
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{2: made(10, 2, n, "r000002", "r077777")}
	p.counts(made(10, 1, n))
	p.says(2, 10, 2)
	p.refuses("two of many differ", "r000002")
	if got := len(p.compared); got > 5 {
		t.Errorf("%d questions were asked", got)
	}
	for _, q := range p.compared {
		if size := len(protocol.AppendMessage(nil, p.madeOf(id(2), q))); size > protocol.DigestPageBytesMax+1024 {
			t.Errorf("an answer has %d bytes", size)
		}
	}
	// If all differ, some are named, and nothing is answered.
	var all []string
	for k := range 5000 {
		all = append(all, fmt.Sprintf("r%06d", k))
	}
	p = patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{2: made(10, 2, 5000, all...)}
	p.counts(made(10, 1, 5000))
	p.says(2, 10, 2)
	for _, name := range all {
		if SituationOf(p.r).Differs.Refuses(name) == nil {
			t.Fatalf("%s is served", name)
		}
	}
	if got := len(p.compared); got > 10 {
		t.Errorf("%d questions were asked", got)
	}
}

// A bucket with more resources than one answer names is gone through by pages, and what only
// one of the two has is found.
func TestABucketIsGoneThroughByPages(t *testing.T) {
	var mine, theirs []protocol.ResourceDigest
	var lacking string
	for k := 0; len(theirs) < 3*protocol.DigestPageMax; k++ {
		x := protocol.ResourceDigest{Name: fmt.Sprintf("r%07d", k), Type: "map", Digest: [16]byte{1}}
		if protocol.DigestBucket(x.Name) != 5 {
			continue
		}
		if theirs = append(theirs, x); len(theirs) == protocol.DigestPageMax { // the last of a page
			lacking = x.Name
		} else {
			mine = append(mine, x)
		}
	}
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{2: NewTally(10, [16]byte{2}, theirs)}
	p.counts(NewTally(10, [16]byte{1}, mine))
	p.says(2, 10, 2)
	if d := SituationOf(p.r).Differs; d == nil || len(d.named) != 1 || !d.named[lacking] || len(p.compared) != 4 {
		t.Errorf("%d questions, found %+v, want %s", len(p.compared), d, lacking)
	}
}

// A member that cannot say what its state was made of, or of an earlier release, is asked for
// a while, and nothing is refused for its sake.
func TestWhoCannotSayWhatDiffersIsAskedForAWhile(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.counts(made(10, 1, 5))
	p.says(2, 10, 2)
	p.says(3, 10, 3)
	for p.now < protocol.Instant(2*comparePatience) {
		p.now = max(p.now.Add(time.Millisecond), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	p.refuses("nobody says")
	if n := len(p.compared); n < 100 || n > 2*int(comparePatience/digestPause)+2 {
		t.Errorf("%d questions", n)
	}
}

// What is refused is not proposed: it has not happened. To delete a resource ends the difference.
func TestCommandsOnWhatDiffersAreNotProposed(t *testing.T) {
	r, now := leading(t, Config{}, marked([]byte{1}, 1, 1), OpenedState{})
	r.audit.differences.refused = &Differing{named: map[string]bool{"r": true}, text: "r differs"}
	for k, c := range []protocol.Command{
		{Resource: "r", Type: "map", Version: 1, Operation: "put", Session: 3, Sequence: 1},
		{Resource: "s", Type: "map", Version: 1, Operation: "put", Session: 3, Sequence: 2},
		{Resource: "r", Type: protocol.CatalogueType, Version: protocol.CatalogueVersion, Operation: "delete", Session: 3, Sequence: 3},
	} {
		before := r.log.tail.last()
		r.Submit(*now, Submission{Request: uint64(k + 1), Command: protocol.EncodeCommand(&c), Checked: true, Session: c.Session, Sequence: c.Sequence})
		var code protocol.Code
		for _, a := range r.Effects().Answers {
			code = a.Result.Code
		}
		if refused := code == protocol.ErrDisputed.Code; refused != (k == 0) || (r.log.tail.last() == before) != refused {
			t.Errorf("%s of %s: answered %q, the log goes from %d to %d", c.Operation, c.Resource, code, before, r.log.tail.last())
		}
	}
}

// Counterexample: a passive is as its leader is, so it asks nobody, and answers what other members refuse.
func TestAPassiveHearsOfADisputeWhenItAsksForAReadIndex(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.r.audit.warn(p.now, id(9))
	if got := p.r.Effects().Send; len(got) != 0 {
		t.Errorf("without a dispute it says %+v", got)
	}
	p.tallies = map[byte]*Tally{2: made(10, 2, 5, "r000002")}
	p.counts(made(10, 1, 5))
	p.says(2, 10, 2)
	p.r.audit.warn(p.now, id(2))
	p.r.audit.warn(p.now, id(9))
	sent := p.r.Effects().Send
	if len(sent) != 1 || sent[0].To != id(9) {
		t.Fatalf("got %+v, want one word to the passive", sent)
	}
	passive := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	passive.tallies = p.tallies
	passive.counts(made(10, 1, 5))
	passive.r.Receive(passive.now, id(8), sent[0].Message) // which has no say
	if passive.serve(); len(passive.asked) != 0 {
		t.Error("it takes the word of a passive")
	}
	passive.r.Receive(passive.now, id(1), sent[0].Message)
	if passive.serve(); len(passive.asked) != 3 {
		t.Errorf("it asks %v, want the actives", passive.asked)
	}
	passive.says(2, 10, 2)
	passive.wait()
	passive.refuses("an active differs from the leader and the passive", "r000002")
}

// A flock of passives that differ from a leader that is convicted within the second asks nobody for what
// its state was made of, nor does one that goes on asking get all answers.
func TestPassivesDoNotAskWhenItIsKnownWhoIsRight(t *testing.T) {
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{1: made(10, 2, 5, "r000002"), 2: made(10, 1, 5), 3: made(10, 1, 5)}
	p.counts(made(10, 1, 5))
	p.says(1, 10, 2)
	p.says(2, 10, 1)
	p.says(3, 10, 1)
	p.wait()
	p.refuses("a majority agrees")
	if len(p.compared) != 0 {
		t.Errorf("it asks %d times what differs", len(p.compared))
	}
	active := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	active.counts(made(10, 1, 5))
	for range 3 * toPassivesPerSecond {
		active.r.Receive(active.now, id(9), &protocol.PartsQuestion{Index: 10, Digest: [16]byte{1}, Sums: true})
	}
	if n := len(active.r.Effects().Send); n != toPassivesPerSecond {
		t.Errorf("got %d answers in one second, want %d", n, toPassivesPerSecond)
	}
}

// [S] What is refused stays so while comparisons come that refuse nothing so far, and when the active
// says another digest, until the new one is summed.
func TestARefusalIsNotPushedOut(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.tallies = map[byte]*Tally{2: made(10, 2, 5, "r000002"), 3: made(10, 2, 5, "r000003")}
	p.counts(made(10, 1, 5))
	p.says(2, 10, 2)
	d := &p.r.audit.differences
	for i := range protocol.Index(2 * comparisonsMax) {
		d.begin(p.now, 100+i, [16]byte{1}, digestReport{id(3), [16]byte{2}})
	}
	p.refuses("others are compared", "r000002")
	d.begin(p.now, 10, [16]byte{1}, digestReport{id(2), [16]byte{5}})
	p.refuses("it says another digest", "r000002")
	if len(d.list) > comparisonsMax {
		t.Errorf("%d comparisons, want %d at most", len(d.list), comparisonsMax)
	}
}

// Counterexample: what differed was deleted, nothing else is written, and the entry that would show that
// all are alike never came: reads were refused for ever.
func TestADisputeEndsThoughNothingIsWritten(t *testing.T) {
	r, now := leading(t, Config{CheckpointEvery: -1, CheckpointBytes: 1 << 30}, marked([]byte{1}, 1, 1), OpenedState{})
	x := &r.checkpoints
	newest := func() protocol.Index {
		for end := now.Add(2 * doubtEvery); *now < end; {
			*now = max(now.Add(time.Millisecond), r.Deadline())
			r.Tick(*now)
			serve(t, r)
		}
		return x.entryAt
	}
	last := r.log.applied
	x.entryAt, x.since, x.at, x.owed = last, 0, *now, true // something was written before it
	if got := newest(); got != last {
		t.Errorf("without a dispute there is a checkpoint entry at %d, and nothing to write it for", got)
	}
	r.audit.differences.refused = &Differing{named: map[string]bool{"r": true}, text: "r differs"}
	first := newest()
	if first == last {
		t.Error("the digest of the last state is in no entry")
	}
	if got := newest(); got != first {
		t.Errorf("there is one more at %d, and nothing to write it for", got)
	}
}

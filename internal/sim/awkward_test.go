package sim

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
)

// TestDigestsStayEqualOverManyCommands gives clusters, whose members crash, are
// restarted from checkpoints and join late, and some of which encode other
// things between two commands, tens of commands at a time, of all types: every
// index of every member must have the one digest. STARLING_COMMANDS=100000 makes
// as many.
func TestDigestsStayEqualOverManyCommands(t *testing.T) {
	want := uint64(10_000)
	if text := os.Getenv("STARLING_COMMANDS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		want = n
	}
	profiles := []string{"crashes", "churn", "power"}
	var counts Counts
	for seed := uint64(1); counts[countAcknowledged] < want && !t.Failed(); seed++ {
		s := newSimulation(seed, Options{Duration: 5 * time.Second, Profile: profiles[seed%3]})
		s.plan.clients, s.plan.depth, s.plan.think = 8, 4, 5*time.Millisecond
		s.plan.checkpoint, s.plan.retain, s.plan.every = 16<<10, 8, s.plan.every/4
		r := s.watched(hangMax)
		if r.Violation != nil {
			t.Errorf("seed %d (%s) at %v: %v\n%s", seed, r.Profile, time.Duration(r.At), r.Violation, r.Stack)
		}
		counts.Add(&r.Counts)
	}
	t.Logf("%d commands answered, %d entries applied, %d restarts, %d starts from a checkpoint, %d installed, %d states read back",
		counts[countAcknowledged], counts[countApplied], counts[countRestarts], counts[countFromCheckpoint], counts[countInstalls], counts[countLinearizable])
	for _, kind := range []tally{countRestarts, countFromCheckpoint, countInstalls} {
		if counts[kind] == 0 {
			t.Errorf("%s: none: the test is not worth much", kind.name())
		}
	}
}

// The specification of awkward values knows the commands that stop in their
// middle, and a value that has not come back as it was written is no answer.
func TestAwkwardValuesAreChecked(t *testing.T) {
	stops := int64(1)
	for !awkward.Stops(stops) {
		stops++
	}
	first := mapKeys + counters + queues
	before := cell{found: true, number: 3}
	for _, c := range []struct {
		o    op
		want output
		then int64
	}{
		{op{kind: opExchange, object: first, number: 4}, output{found: true, number: 3}, 4},
		{op{kind: opExchange, object: first, number: stops}, output{failed: true}, 3},
		{op{kind: opExchange, object: objects - 1, number: stops}, output{found: true, number: 3}, stops},
		{op{kind: opRecall, object: first}, output{found: true, number: 3}, 3},
	} {
		got, after := c.o.step(before)
		if got != c.want || after.number != c.then {
			t.Errorf("%s: got %+v and %d, want %+v and %d", &c.o, got, after.number, c.want, c.then)
		}
	}
	changed := awkward.Make(3)
	changed.Part.Low++
	if changed.Check() == nil || awkward.Make(3).Check() != nil {
		t.Error("a record that has changed is taken for the one that was written")
	}
	flags := awkward.MakeFlags(3)
	flags.Text += "x"
	if flags.Check() == nil || awkward.MakeFlags(3).Check() != nil {
		t.Error("flags that have changed are taken for those that were written")
	}
	o := op{kind: opExchange, object: first, number: stops}
	if out, err := o.decode(protocol.Failed(protocol.ErrInvalid)); err != nil || !out.failed {
		t.Errorf("a value that stops in its middle is read as %+v, %v", out, err)
	}
	o.number++
	if _, err := o.decode(protocol.Failed(protocol.ErrInvalid)); err == nil {
		t.Error("a value that is refused without a reason passes")
	}
}

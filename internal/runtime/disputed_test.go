package runtime

import (
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Counterexample: two of three actives are wrong, each in its own way. Nobody acts, and whoever
// reads is told one thing here and another there, for ever. That it is only one resource of all, nobody says.
func TestWhatDiffersIsRefusedUntilTheDifferenceEnds(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*flock, *client.Client){"deleted": deletes, "one voter's state is right": leavesOneVoter, "an operator imposes it": imposes} {
		t.Run(how, func(t *testing.T) {
			f := newFlock(t)
			caller := f.writer()
			f.disputes(caller)
			end(f, caller)
			f.eventually("it is served again", func() error {
				f.mark(caller)
				for _, m := range f.members {
					if m.sight().Differs != nil {
						return errors.New(m.Name() + " refuses it")
					}
				}
				return nil
			})
			f.command(caller)
			f.equal()
			for name := range f.journals {
				at := f.client(f.members[name])
				f.eventually(name+" has what is right", func() error { // a quarantine may be about to end
					if got, err := f.ask.Do(f.ctx, at, "f", struct{}{}); err != nil || got != "right" {
						return fmt.Errorf("it answers %q, %w", got, err)
					}
					return nil
				})
			}
		})
	}
}

// deletes gives up what differs.
func deletes(f *flock, caller *client.Client) {
	f.t.Helper()
	if _, err := resources.Delete(f.ctx, caller, "f", ""); err != nil {
		f.t.Fatal(err)
	}
}

// leavesOneVoter makes the state of the leader, which is right, that of a majority.
func leavesOneVoter(f *flock, _ *client.Client) {
	f.t.Helper()
	f.eventually("one voter is left", func() error {
		leader, err := f.leader()
		if err != nil {
			return err
		}
		report, err := f.client(leader).Autopilot(f.ctx)
		if err != nil {
			return err
		}
		change := protocol.MembershipChange{Version: report.Configuration.Index, Autopilot: &protocol.Autopilot{Off: true}}
		for _, id := range report.Configuration.Configuration.Voters() {
			if id != leader.ID() {
				change.Demote = append(change.Demote, id)
			}
		}
		_, err = f.client(leader).ChangeMembership(f.ctx, change)
		return err
	})
}

// imposes makes the state of the leader, which is right, everybody's.
func imposes(f *flock, _ *client.Client) {
	f.t.Helper()
	f.eventually("the state is imposed", func() error {
		leader, err := f.leader()
		if err != nil {
			return err
		}
		_, err = f.client(leader).ChangeMembership(f.ctx, protocol.MembershipChange{Impose: leader.ID()})
		return err
	})
}

// disputes has the three actives come to three states of one resource, and tries what they say of it.
func (f *flock) disputes(caller *client.Client) {
	t := f.t
	t.Helper()
	f.marks(caller, 3)
	f.command(caller)
	f.equal() // nobody is still to apply that one
	var watches []resources.WatchStream
	for _, name := range []string{"a1", "a2", "a3"} {
		w, err := f.members[name].Watch(f.ctx, &protocol.Watch{Resource: "f", Type: "fickle"})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		watches = append(watches, w)
	}
	_, others := f.followers()
	for _, name := range others {
		f.bad[name].Store(true)
	}
	f.command(caller)
	for _, name := range others {
		f.equalApplied(name, "p2")
		f.bad[name].Store(false)
	}
	actives := []string{"a1", "a2", "a3"}
	f.eventually("all actives refuse it, and say what differs", func() error {
		f.mark(caller)
		for _, name := range actives {
			if m := f.members[name]; m.sight().Differs.Refuses("f") == nil || !f.journals[name].has("from that of this active in fickle") {
				return fmt.Errorf("%s does not: %s", name, m.Status().Reason)
			}
		}
		return nil
	})
	for k, w := range watches { // each has told what its member had until it knew
		err := error(nil)
		for err == nil {
			_, err = w.Next(f.ctx)
		}
		if !errors.Is(err, protocol.ErrCompacted) {
			t.Errorf("%s: a watch that runs ends with %v", actives[k], err)
		}
	}
	for _, name := range actives {
		at := f.client(f.members[name])
		for _, level := range []resources.ReadOption{resources.Linearizable, resources.Local} {
			if _, err := f.ask.Do(f.ctx, at, "f", struct{}{}, level); !errors.Is(err, protocol.ErrDisputed) {
				t.Errorf("%s answers a read of it with %v", name, err)
			}
		}
		if _, err := f.members[name].Watch(f.ctx, &protocol.Watch{Resource: "f", Type: "fickle"}); !errors.Is(err, protocol.ErrDisputed) {
			t.Errorf("%s answers a watch of it with %v", name, err)
		}
		if _, err := f.set.Do(f.ctx, at, "f", "right"); !errors.Is(err, protocol.ErrDisputed) {
			t.Errorf("%s answers a command on it with %v", name, err)
		}
		if f.get(at, "one key") == "" {
			t.Errorf("%s does not answer what does not differ", name)
		}
	}
}

// mark writes enough for a checkpoint entry when all actives have taken the last one: what a
// state is made of is counted when a checkpoint of it is taken, and one that comes while another
// is being written is passed over.
func (f *flock) mark(caller *client.Client) {
	f.t.Helper()
	f.eventually("the last checkpoint is taken", func() error {
		for _, name := range []string{"a1", "a2", "a3"} {
			if s := f.members[name].Status(); f.members[name].driver.Taking() || s.Applied < s.Commit || s.Checkpoint == 0 {
				return errors.New(name + " is at it")
			}
		}
		return nil
	})
	f.marks(caller, 1)
}
